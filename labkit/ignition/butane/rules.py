"""What Butane demands of its own notation, before it translates anything.

Source: base/v0_*/validate.go and config/fcos/v1_*/validate.go of Butane 0.29.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..correlate import find_unused
from ..report import Entry, Findings, Path
from ..spec import rules_v3
from ..spec.schema import Struct
from ..spec.v3 import Dialect, ignition
from ..yaml import json_tree
from .local_trees import template_of
from .modes import looks_decimal

Value = dict[str, Any]
DECIMAL = "unreasonable mode would be reasonable if specified in octal; remember to add a leading zero"
TOO_MANY = "only one of the following can be set: inline, local, source"
BOOT_DISK = "/dev/disk/by-id/coreos-boot-disk"


def validate(config: Value, dialect: Dialect) -> list[Entry]:
    """Every remark about a decoded Butane config (a dict with YAML names)."""
    found = Findings()
    _walk(config, dialect.source, (), dialect, found)
    return found.entries


def _walk(value: Value, struct: Struct, path: Path, dialect: Dialect, found: Findings) -> None:
    if rule := _RULES.get(struct.name):
        rule(value, path, dialect, found)
    for field in struct.fields:
        below = value.get(field.yaml)
        if not below:
            continue
        if field.type.struct is not None:
            _walk(below, field.type.struct, (*path, field.yaml), dialect, found)
        elif field.type.item is not None and field.type.item.struct is not None:
            for index, item in enumerate(below):
                _walk(item, field.type.item.struct, (*path, field.yaml, index), dialect, found)


def _resource(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    given = [name for name in ("local", "inline", "source") if value.get(name) is not None]
    if len(given) > 1:
        last = "inline" if dialect.minor == 0 else given[-1]
        found.error((*path, last), TOO_MANY)
    elif given == ["inline"] and path[:2] == ("ignition", "config"):
        _child(value["inline"], path, dialect, found)


def _child(text: str, path: Path, dialect: Dialect, found: Findings) -> None:
    """A config to merge, written in place, is held against the same version of the spec."""
    try:
        root = json_tree.parse(text.encode("utf-8", "surrogateescape"))
        typed = json_tree.TypedJson()
        config = typed.decode(root, ignition(dialect.ignition))
        config.setdefault("ignition", {})  # a child without it lacks a version
        if root.kind != "map" and root.tag != "!!null" and typed.problem is None:
            config = {}
        if typed.problem is not None:
            raise json_tree.JsonError(typed.problem[0], 0)
    except json_tree.JsonError as error:
        found.error((), str(error))
        found.error((*path, "inline"), "config is not valid")
        return
    entries = rules_v3.validate(config, dialect.ignition)
    if any(entry.message == "unsupported config version" for entry in entries):
        found.warn(
            (*path, "version"),
            "skipping validation for the merge/replace ignition config due to an unkown version",
        )
        return
    found.extend(entries)
    find_unused(root, config, ignition(dialect.ignition), "json", found)


def _filesystem(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if not value.get("with_mount_unit"):
        return
    if not value.get("format"):
        found.error((*path, "format"), "format is required if with_mount_unit is true")
    if not value.get("path") and (dialect.minor < 3 or value.get("format") not in ("swap", None, "")):
        words = "path is required if with_mount_unit is true and format is not swap"
        found.error((*path, "path"), words)


def _directory(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if looks_decimal(value.get("mode", 0), directory=True):
        found.warn((*path, "mode"), DECIMAL)


def _file(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if looks_decimal(value.get("mode", 0), directory=False):
        found.warn((*path, "mode"), DECIMAL)


def _tree(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if not value.get("local"):
        found.error(path, "local is required")


def _unit(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if value.get("contents") is not None and value.get("contents_local") is not None:
        found.error((*path, "contents_local"), "only one of the following can be set: contents, contents_local")


QUADLETS = (".container", ".volume", ".network", ".kube", ".image", ".build", ".pod", ".artifact")


def _quadlet(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    name = value.get("name", "")
    if not name.endswith(QUADLETS):
        words = ", ".join(QUADLETS[:-1])
        found.error((*path, "name"), f"unsupported file extension for quadlet: must be one of {words}, or .artifact")
    elif template_of(name):
        for each in ("contents", "contents_local"):
            if value.get(each) is not None:
                found.error((*path, each), "template instances cannot have contents or contents_local")
    else:
        _unit(value, path, dialect, found)


def _config(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if not dialect.is_fcos(6):
        return
    storage = value.get("storage", {})
    mirrored = value.get("boot_device", {}).get("mirror", {}).get("devices", ())
    for index, disk in enumerate(storage.get("disks", ())):
        device = disk.get("device", "")
        if device == BOOT_DISK or disk.get("wipe_table") or device in mirrored:
            continue
        for at, partition in enumerate(disk.get("partitions", ())):
            if not partition.get("number") and partition.get("label") is not None:
                found.warn(
                    ("storage", "disks", index, "partitions", at, "number"),
                    "partitions cannot be reused by label; number must be specified except on boot disk "
                    f"({BOOT_DISK}) or when wipe_table is true",
                )
    for index, filesystem in enumerate(storage.get("filesystems", ())):
        mount = filesystem.get("path")
        if mount is not None and filesystem.get("with_mount_unit") and not re.match("/(etc|var)(/|$)", mount):
            found.error(
                ("storage", "filesystems", index, "path"), "path must be under /etc or /var if with_mount_unit is true"
            )


_LAYOUTS = ("aarch64", "ppc64le", "x86_64")
_S390X = {"s390x-eckd": "/dev/dasd[a-z]$", "s390x-zfcp": "/dev/sd[a-z]$", "s390x-virt": ""}


def _boot_device(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    layout, luks = value.get("layout"), value.get("luks", {})
    mirror = value.get("mirror", {}).get("devices", ())
    if mirror and layout is None:
        kind = found.error if dialect.is_fcos(7) else found.warn
        kind((*path, "mirror"), "boot_device.layout should be specified when boot_device.mirror is specified")
    if layout is not None and not dialect.is_fcos(6):
        if layout not in _LAYOUTS:
            found.error((*path, "layout"), "layout must be one of: aarch64, ppc64le, x86_64")
    elif layout is not None:
        found.error((*path, "layout"), _check_layout(layout, luks.get("device")))
        if layout.startswith("s390x") and mirror:
            found.error((*path, "layout"), "mirroring not supported on layouts: s390x-eckd, s390x-zfcp, s390x-virt")
    if luks.get("cex", {}).get("enabled"):
        mismatch = "when using cex the targeted architecture must match s390x"
        if layout is None:
            found.error((*path, "luks", "cex"), mismatch)
        elif not layout.startswith("s390x"):
            found.error((*path, "layout"), mismatch)
        if luks.get("tang") or luks.get("tpm2"):
            found.error((*path, "luks"), "cannot use cex with clevis")
    _mirror(value.get("mirror", {}), (*path, "mirror"), dialect, found)  # Butane reports it here and again below


def _check_layout(layout: str, device: str | None) -> str | None:
    if layout in _LAYOUTS or layout == "s390x-virt":
        return None
    if layout not in _S390X:
        return "layout must be one of: aarch64, ppc64le, s390x-eckd, s390x-virt, s390x-zfcp, x86_64"
    if not device:
        return "device is required for layouts: s390x-eckd, s390x-zfcp"
    if not re.search(_S390X[layout].replace("$", r"\Z"), device):
        return "device name must start with /dev/dasd on s390x-eckd layout or /dev/sd on s390x-zfcp layout"
    return None


def _boot_luks(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if not dialect.is_fcos(7) or not value.get("device"):
        return
    if not (any(value.get("tang", ())) or value.get("tpm2") or value.get("cex", {}).get("enabled")):
        found.error((*path, "luks"), "no method specified for luks")


def _mirror(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    if len(value.get("devices", ())) == 1:
        found.error((*path, "devices"), "mirroring requires at least two devices")


def _grub_user(value: Value, path: Path, dialect: Dialect, found: Findings) -> None:
    for name in ("name", "password_hash"):
        if not value.get(name):
            found.error((*path, name), f'field "{name}" is required')


_RULES: dict[str, Callable[[Value, Path, Dialect, Findings], None]] = {
    "Config": _config,
    "Resource": _resource,
    "FileContents": _resource,
    "Filesystem": _filesystem,
    "Directory": _directory,
    "File": _file,
    "Tree": _tree,
    "Unit": _unit,
    "Dropin": _unit,
    "Quadlet": _quadlet,
    "BootDevice": _boot_device,
    "BootDeviceLuks": _boot_luks,
    "BootDeviceMirror": _mirror,
    "GrubUser": _grub_user,
}
