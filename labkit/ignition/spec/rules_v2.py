"""What Ignition spec 2 demands of a config beyond its shape.

Source: config/v2_3/types/*.go of flatcar/ignition 0.36. Spec 2 looks for fewer things than spec 3: no duplicates,
paths need only be absolute, and `oem://` is a scheme like others.
"""

from __future__ import annotations

from typing import Any

from .. import data_url, unit_file
from ..golang import urls
from ..golang.quote import quote
from ..report import Entry
from ..yaml.tree import Node
from .rules_v3 import check_hash, has_install, no_install
from .rules_v3_storage import GUID, LABEL_MAX_B, RAID_LEVELS, length_b
from .v2 import ignition
from .walk import FieldRule, Remark, StructRule, Walk

Value = dict[str, Any]


def validate(config: Value, version: str) -> list[Entry]:
    """Every remark about a typed config, by its paths."""
    return walk(config, version, None, str)


def walk(config: Value, version: str, root: Node | None, rename: Any) -> list[Entry]:
    """Every remark, placed in a tree whose keys ``rename`` turns into the JSON's."""
    fields = FIELDS if version in ("2.3.0", "2.4.0") else {k: v for k, v in FIELDS.items() if k not in _SINCE_2_3}
    return Walk(STRUCTS, fields, names="json", rename=rename).struct(config, ignition(version), root)


def _error(message: str | None) -> list[Remark]:
    return [("error", message)] if message else []


def _config(value: Value) -> list[Remark]:
    remarks: list[Remark] = []
    storage = value.get("storage", {})
    known = {"root"} | {filesystem.get("name", "") for filesystem in storage.get("filesystems", ())}
    for kind, title in (("files", "File"), ("links", "Link"), ("directories", "Directory")):
        for node in storage.get(kind, ()):
            name = node.get("filesystem", "")
            if name and name not in known:
                text = f"{title} {quote(node.get('path', ''))} references nonexistent filesystem {quote(name)}."
                remarks.append(("warning", f"{text} (This is ok if it is defined in a referenced config)"))
    seen = {"root"}
    for filesystem in storage.get("filesystems", ()):
        name = filesystem.get("name", "")
        if name in seen:
            remarks.append(("warning", f"Filesystem {quote(name)} shadows exising filesystem definition"))
        seen.add(name)
    return remarks


def check_url(text: str) -> str | None:
    """What spec 2 has against a source; an empty one is an empty file."""
    if not text:
        return None
    url = urls.parse(text)
    if url is None:
        return "unable to parse url"
    if url.scheme in ("http", "https", "oem", "tftp"):
        return None
    if url.scheme == "s3":
        return "invalid S3 object VersionId" if urls.version_id_is_empty(url) else None
    return data_url.check(text) if url.scheme == "data" else "invalid url scheme"


def _source(value: Value) -> list[Remark]:
    return _error(check_url(value.get("source", "")))


def _contents_source(value: Value) -> list[Remark]:
    problem = check_url(value.get("source", ""))
    return _error(problem and f"invalid url {quote(value.get('source', ''))}: {problem}")


def _compression(value: Value) -> list[Remark]:
    return _error(None if value.get("compression", "") in ("", "gzip") else "invalid compression method")


def _verification(value: Value) -> list[Remark]:
    text = value.get("hash")
    return _error(check_hash(text, ("sha512",)) if text is not None else None)


def _file(value: Value) -> list[Remark]:
    both = value.get("overwrite") and value.get("append")
    return _error("cannot set both append and overwrite to true" if both else None)


def _mode(value: Value) -> list[Remark]:
    mode = value.get("mode")
    if mode is None:
        return [("warning", "permissions unset, defaulting to 0000")]
    return _error(None if 0 <= mode <= 0o7777 else "illegal file mode")


def _node_path(value: Value) -> list[Remark]:
    return _error(_absolute(value.get("path", "")))


def _absolute(path: str) -> str | None:
    return None if path.startswith("/") else "path not absolute"


def _node_filesystem(value: Value) -> list[Remark]:
    return _error(None if value.get("filesystem") else "no filesystem specified")


def _owner(value: Value) -> list[Remark]:
    both = value.get("id") is not None and value.get("name")
    return _error("cannot set both id and name" if both else None)


def _filesystem(value: Value) -> list[Remark]:
    mount, path = value.get("mount"), value.get("path")
    remarks: list[Remark] = []
    if mount is None and path is None:
        remarks.append(("error", "filesystem is missing mount or path"))
    if mount is not None:
        if path is not None:
            remarks.append(("error", "filesystem has both mount and path defined"))
        if mount.get("create") is not None:
            if mount.get("wipeFilesystem"):
                remarks.append(("error", "cannot use both create object and wipeFilesystem field"))
            if mount.get("options"):
                remarks.append(("error", "cannot use both create object and mount-level options field"))
            remarks.append(("warning", "the create object has been deprecated in favor of mount-level options"))
    return remarks


def _filesystem_path(value: Value) -> list[Remark]:
    path = value.get("path")
    if path is None or path.startswith("/"):
        return []
    return _error(f"filesystem {quote(value.get('name', ''))}: path not absolute")


def _mount(value: Value) -> list[Remark]:
    return _error(None if value.get("format") in LABEL_MAX_B else "invalid filesystem format")


def _mount_device(value: Value) -> list[Remark]:
    return _error(_absolute(value.get("device", "")))


def _mount_label(value: Value) -> list[Remark]:
    label, form = value.get("label"), value.get("format", "")
    most = LABEL_MAX_B.get(form)
    if label is None or most is None or length_b(label) <= most:
        return []
    return _error(f"filesystem labels cannot be longer than {most} characters when using {form}")


def _disk_device(value: Value) -> list[Remark]:
    device = value.get("device", "")
    return _error(_absolute(device) if device else "disk device is required")


def _partitions(value: Value) -> list[Remark]:
    partitions = value.get("partitions", ())
    numbers = [part["number"] for part in partitions if part.get("number")]
    checks = {
        "partition numbers collide": len(set(numbers)) < len(numbers),
        "partitions overlap": _overlap(partitions),
        "partitions misaligned": any((part.get("start") or 0) & 2047 for part in partitions),
        "shouldExist is false for a partition and other partition(s) has start or size 0": (
            any(part.get("shouldExist") is False for part in partitions)
            and any(not part.get("number") for part in partitions)
        ),
        "cannot mix MBs and sectors within a disk": (
            any(part.get("size") is not None or part.get("start") is not None for part in partitions)
            and any(part.get("sizeMiB") is not None or part.get("startMiB") is not None for part in partitions)
        ),
    }
    return [("error", message) for message, wrong in checks.items() if wrong]


def _overlap(partitions: Any) -> bool:
    placed = [
        (part["start"], part["start"] + max(part["size"] - 1, 0))
        for part in partitions
        if part.get("start") and part.get("size") is not None
    ]
    return any(
        low <= start <= high or low <= end <= high or (start < low and end > high)
        for index, (start, end) in enumerate(placed)
        for other, (low, high) in enumerate(placed)
        if index != other
    )


def _partition(value: Value) -> list[Remark]:
    remarks: list[Remark] = []
    in_sectors = value.get("size") is not None or value.get("start") is not None
    if in_sectors and (value.get("sizeMiB") is not None or value.get("startMiB") is not None):
        remarks.append(("error", "cannot mix MBs and sectors within a disk"))
    described = value.get("label") is not None or value.get("typeGuid") or value.get("guid") or in_sectors
    if value.get("shouldExist") is False and described:
        remarks.append(("error", "shouldExist specified false with other options also specified"))
    return remarks


def _partition_label(value: Value) -> list[Remark]:
    label = value.get("label") or ""
    remarks = _error("partition labels may not exceed 36 characters" if length_b(label) > 36 else None)
    if ":" in label:
        remarks.append(("warning", "partition label will be truncated to text before the colon"))
    return remarks


def _guid(name: str) -> FieldRule:
    words = 'doesn\'t match the form "01234567-89AB-CDEF-EDCB-A98765432101"'
    return lambda value: _error(None if GUID.fullmatch(value.get(name) or "") else words)


def _deprecated(name: str) -> FieldRule:
    words = f"{name} is deprecated; use {name}MB instead"
    return lambda value: [("warning", words)] if value.get(name) is not None else []


_CREATE_CLASHES = (
    "gecos",
    "groups",
    "homeDir",
    "noCreateHome",
    "noLogInit",
    "noUserGroup",
    "primaryGroup",
    "shell",
    "system",
    "uid",
)


def _user(value: Value) -> list[Remark]:
    if value.get("create") is None:
        return []
    clashes = [name for name in _CREATE_CLASHES if value.get(name) or (name == "uid" and value.get(name) is not None)]
    return [
        ("warning", "the create object has been deprecated in favor of user-level options"),
        *(("error", f"cannot use both the create object and the user-level {name} field") for name in clashes),
    ]


def _raid_level(value: Value) -> list[Remark]:
    level = value.get("level", "")
    if level not in RAID_LEVELS:
        return _error("unrecognized raid level")
    spared = level in ("linear", "raid0", "0", "stripe") and value.get("spares")
    return _error("spares unsupported for arrays with a level greater than 0" if spared else None)


def _raid_devices(value: Value) -> list[Remark]:
    return [("error", "path not absolute") for device in value.get("devices") or () if not device.startswith("/")]


def _unit_contents(value: Value) -> list[Remark]:
    text = value.get("contents", "")
    options, problem = unit_file.parse(text, shows_bytes=True)
    if problem:
        return _error(f"invalid unit content: {problem}")
    if options and (value.get("enable") or value.get("enabled")) and not has_install(options):
        return [("warning", no_install(value.get("name", "")))]
    return []


def _unit_name(value: Value) -> list[Remark]:
    known = unit_file.suffix(value.get("name", "")) in unit_file.UNIT_SUFFIXES
    return _error(None if known else "invalid systemd unit extension")


def _part(suffixes: tuple[str, ...], complaint: str) -> StructRule:
    def rule(value: Value) -> list[Remark]:
        problem = unit_file.parse(value.get("contents", ""), shows_bytes=True)[1]
        remarks = _error(problem and f"invalid unit content: {problem}")
        return remarks + _error(None if unit_file.suffix(value.get("name", "")) in suffixes else complaint)

    return rule


def _header(value: Value) -> list[Remark]:
    return _error(None if value.get("name") else "HTTP header name can't be empty")


_SINCE_2_3 = frozenset((("Partition", "size"), ("Partition", "start")))

STRUCTS: dict[str, StructRule] = {
    "Config": _config,
    "File": _file,
    "Verification": _verification,
    "NodeUser": _owner,
    "NodeGroup": _owner,
    "Filesystem": _filesystem,
    "Mount": _mount,
    "Partition": _partition,
    "PasswdUser": _user,
    "SystemdDropin": _part((".conf",), "invalid systemd drop-in extension"),
    "Networkdunit": _part((".link", ".netdev", ".network"), "invalid networkd unit extension"),
    "NetworkdDropin": _part((".conf",), "invalid networkd drop-in extension"),
    "HTTPHeader": _header,
}
FIELDS: dict[tuple[str, str], FieldRule] = {
    ("ConfigReference", "source"): _source,
    ("CaReference", "source"): _source,
    ("FileContents", "source"): _contents_source,
    ("FileContents", "compression"): _compression,
    ("File", "mode"): _mode,
    ("Directory", "mode"): _mode,
    **{(kind, "path"): _node_path for kind in ("File", "Directory", "Link")},
    **{(kind, "filesystem"): _node_filesystem for kind in ("File", "Directory", "Link")},
    ("Filesystem", "path"): _filesystem_path,
    ("Mount", "device"): _mount_device,
    ("Mount", "label"): _mount_label,
    ("Disk", "device"): _disk_device,
    ("Disk", "partitions"): _partitions,
    ("Partition", "label"): _partition_label,
    ("Partition", "guid"): _guid("guid"),
    ("Partition", "typeGuid"): _guid("typeGuid"),
    ("Partition", "size"): _deprecated("size"),
    ("Partition", "start"): _deprecated("start"),
    ("Raid", "level"): _raid_level,
    ("Raid", "devices"): _raid_devices,
    ("Unit", "contents"): _unit_contents,
    ("Unit", "name"): _unit_name,
}
