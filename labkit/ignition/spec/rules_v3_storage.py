"""Ignition spec 3's rules for disks, filesystems and what lies on them. See `rules_v3`."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import Any

from ..golang import urls
from ..golang.paths import check_absolute, clean, join
from ..report import Findings, Path

Value = dict[str, Any]

MANY = 1000  # partitions of a disk, beyond which pairs are no longer tried; GPT has room for 128
GUID = re.compile(r"(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12})?")
RAID_LEVELS = frozenset(
    ("linear", "raid0", "0", "stripe", "raid1", "1", "mirror", "raid4", "4", "raid5", "5", "raid6", "6", "raid10", "10")
)
LABEL_MAX_B = {"ext4": 16, "btrfs": 256, "xfs": 12, "swap": 15, "vfat": 11}


def length_b(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _storage(value: Value, path: Path, minor: int, found: Findings) -> None:
    links = value.get("links", ())
    through = Counter(link.get("path", "") for link in links)
    for kind, message in (("directories", "directory"), ("files", "file"), ("links", "link")):
        for index, node in enumerate(value.get(kind, ())):
            parts = node.get("path", "").split("/")
            for count in range(1, len(parts)):
                for _ in range(through["/".join(parts[:count])]):
                    found.error((*path, kind, index), f"{message} path includes link in config")
    directories = {node.get("path", "") for node in value.get("directories", ())}
    for index, link in enumerate(links):
        _link_target(link, directories, (*path, "links", index), minor, found)
    disks = {disk.get("device", ""): disk for disk in value.get("disks", ())}
    for index, filesystem in enumerate(value.get("filesystems", ())):
        disk = disks.get(filesystem.get("device", ""))
        where = (*path, "filesystems", index, "device")
        if disk and disk.get("partitions"):
            found.warn(where, "filesystem overwrites partitioned device")
        elif disk and not filesystem.get("wipeFilesystem") and disk.get("wipeTable"):
            found.warn(where, "device matches disk with wipeTable enabled; filesystem will be wiped")


def _link_target(link: Value, directories: set[str], path: Path, minor: int, found: Findings) -> None:
    text = link.get("target") or ""
    if minor >= 3 and not text:
        found.error((*path, "target"), "link target is required")
        return
    if not link.get("hard"):
        return
    target = clean(text) if text.startswith("/") else join(link.get("path", ""), text)
    if target in directories:
        found.error(path, "hard link target is a directory")
    for owner in ("user", "group"):
        for name in ("id", "name"):
            if link.get(owner, {}).get(name) is not None:
                found.warn((*path, owner, name), "user/group ignored for hard link")


def _node(value: Value, path: Path, minor: int, found: Findings) -> None:
    found.error((*path, "path"), check_absolute(value.get("path", "")))


def _directory(value: Value, path: Path, minor: int, found: Findings) -> None:
    _node(value, path, minor, found)
    mode = value.get("mode")
    if mode is None:
        return
    if not 0 <= mode <= 0o7777:
        found.error((*path, "mode"), "illegal file mode")
    if minor < 6 and mode & 0o7000:
        found.warn(
            (*path, "mode"),
            "setuid/setgid/sticky bits are not supported or functional in spec versions older than 3.6.0",
        )


def _file(value: Value, path: Path, minor: int, found: Findings) -> None:
    _directory(value, path, minor, found)
    if value.get("overwrite") and value.get("contents", {}).get("source") is None:
        found.error((*path, "overwrite"), "overwrite must be false if source is unspecified")


def _owner(value: Value, path: Path, minor: int, found: Findings) -> None:
    if value.get("id") is not None and value.get("name"):
        found.error(path, "cannot set both id and name")


def _disk(value: Value, path: Path, minor: int, found: Findings) -> None:
    if not value.get("device"):
        found.error((*path, "device"), "disk device is required")
        return
    found.error((*path, "device"), check_absolute(value["device"]))
    partitions = value.get("partitions", ())
    at = _repeated([part.get("number") or None for part in partitions])
    if at is not None:
        found.error((*path, "partitions", at), "partition numbers collide")
    at = _overlapping(partitions)
    if at is not None:
        found.error((*path, "partitions", at), "partitions overlap")
    if any(part.get("shouldExist") is False for part in partitions) and any(
        not part.get("number") for part in partitions
    ):
        found.error(
            (*path, "partitions"), "shouldExist is false for a partition and other partition(s) has start or size 0"
        )
    at = _repeated([part.get("label") for part in partitions])
    if at is not None:
        found.error((*path, "partitions", at), "cannot use the same partition label twice")


def _repeated(keys: list[Any]) -> int | None:
    """The index of the first key that was there before; None keys do not count."""
    seen = set()
    for index, key in enumerate(keys):
        if key is not None and key in seen:
            return index
        seen.add(key)
    return None


def _overlapping(partitions: list[Value] | tuple[()]) -> int | None:
    placed = [
        (
            index,
            part["startMiB"],
            part["startMiB"] + max(part["sizeMiB"] - 1, 0) if part["sizeMiB"] else part["startMiB"],
        )
        for index, part in enumerate(partitions)
        if part.get("startMiB") and part.get("sizeMiB") is not None
    ]
    if len(placed) > MANY:
        by_start = sorted(placed, key=lambda each: each[1:])
        return next((b[0] for a, b in pairwise(by_start) if b[1] <= a[2]), None)
    for index, start, end in placed:
        for other, low, high in placed:
            if other != index and (low <= start <= high or low <= end <= high or (start < low and end > high)):
                return other
    return None


def _partition(value: Value, path: Path, minor: int, found: Findings) -> None:
    label = value.get("label")
    described = label is not None or any(value.get(name) is not None for name in ("startMiB", "sizeMiB"))
    if value.get("shouldExist") is False and (described or value.get("typeGuid") or value.get("guid")):
        found.error(path, "shouldExist specified false with other options also specified")
    if not value.get("number") and label is None:
        found.error(path, "a partition number >= 1 or a label must be specified")
    if label is not None and length_b(label) > 36:
        found.error((*path, "label"), "partition labels may not exceed 36 characters")
    elif label is not None and ":" in label:
        found.error((*path, "label"), "partition label will be truncated to text before the colon")
    for name in ("guid", "typeGuid"):
        if not GUID.fullmatch(value.get(name) or ""):
            found.error((*path, name), 'doesn\'t match the form "01234567-89AB-CDEF-EDCB-A98765432101"')


def _filesystem(value: Value, path: Path, minor: int, found: Findings) -> None:
    form, label = value.get("format"), value.get("label")
    if value.get("path"):
        found.error((*path, "path"), check_absolute(value["path"]))
    found.error((*path, "device"), check_absolute(value.get("device", "")))
    others = ("path", "label", "uuid", "wipeFilesystem", "options", "mountOptions")
    if not form and any(value.get(name) for name in others):
        found.error(
            (*path, "format"),
            "format cannot be empty when path, label, uuid, wipeFilesystem, options, or mountOptions is specified",
        )
    elif form and form not in LABEL_MAX_B and not (form == "none" and minor >= 3):
        found.error((*path, "format"), "invalid filesystem format")
    if label and not form:
        found.error((*path, "label"), "filesystem must specify format if label is specified")
    elif label and form in LABEL_MAX_B and length_b(label) > LABEL_MAX_B[form]:
        most = LABEL_MAX_B[form]
        found.error((*path, "label"), f"filesystem labels cannot be longer than {most} characters when using {form}")


def _raid(value: Value, path: Path, minor: int, found: Findings) -> None:
    level = value.get("level")
    if minor >= 3 and not level:
        found.error((*path, "level"), "raid level is required")
    elif level not in RAID_LEVELS:
        found.error((*path, "level"), "unrecognized raid level")
    elif level in ("linear", "raid0", "0", "stripe") and value.get("spares"):
        found.error((*path, "level"), "spares unsupported for linear and raid0 arrays")
    if not value.get("devices"):
        found.error((*path, "devices"), "raid devices required")


def _luks(value: Value, path: Path, minor: int, found: Findings) -> None:
    clevis = value.get("clevis") or {}
    if "/" in value.get("name", ""):
        found.error((*path, "name"), "device names cannot contain slashes")
    if length_b(value.get("label") or "") > 47:
        found.error((*path, "label"), "luks device labels cannot be longer than 47 characters")
    device = value.get("device")
    found.error((*path, "device"), check_absolute(device) if device else "disk device is required")
    others = bool(clevis.get("tang") or clevis.get("tpm2") or clevis.get("threshold"))
    custom = clevis.get("custom")
    has_custom = custom is not None if minor < 3 else bool(custom and custom.get("pin"))
    if has_custom and others:
        found.error((*path, "clevis"), "cannot use custom clevis config with tpm2, tang, or threshold")
    key_source = value.get("keyFile", {}).get("source")
    if key_source and urls.check_source(key_source, minor):
        found.error((*path, "keys"), "invalid key-file source")
    if value.get("cex", {}).get("enabled"):
        if has_custom or others:
            found.error((*path, "cex"), "cannot use cex with clevis")
        if key_source:
            found.error((*path, "cex"), "cannot use key file with cex")


RULES = {
    "Storage": _storage,
    "Directory": _directory,
    "File": _file,
    "Link": _node,
    "NodeUser": _owner,
    "NodeGroup": _owner,
    "Disk": _disk,
    "Partition": _partition,
    "Filesystem": _filesystem,
    "Raid": _raid,
    "Luks": _luks,
}
