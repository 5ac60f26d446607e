"""Fedora CoreOS's own sections: the boot device (mirror, LUKS) and GRUB's users, and its remarks on partitions.

What is made up becomes the parent of what the person wrote, so that they can adjust every part of it.

Source: config/fcos/v1_*/translate.go of Butane 0.29; the layout is that of the OS image.
"""

from __future__ import annotations

from typing import Any

from .. import data_url
from ..report import Path
from ..spec.merge import Origins, note_source
from .lower import Lowering

Value = dict[str, Any]

_RESERVED = ("reserved", 1, "8DA63339-0007-60C0-C436-083AC8230908")
_BIOS = ("bios", 1, "21686148-6449-6E6F-744E-656564454649")
_PREP = ("prep", 4, "9E1A2D38-C612-4316-AA26-8B49521E5A8B")
_ESP = ("esp", 127, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
_BOOT_MIB = 384
#: the first two partitions of each layout
_FIRST = {"x86_64": (_BIOS, _ESP), "aarch64": (_RESERVED, _ESP), "ppc64le": (_PREP, _RESERVED)}
_NUMBERS = {"BIOS-BOOT": 1, "PowerPC-PReP-boot": 1, "EFI-SYSTEM": 2, "boot": 3, "root": 4}
_ROOT_MIN_MIB = 8192


def apply(lowering: Lowering) -> None:
    """Do all of it, as far as the variant and version have it."""
    if not lowering.dialect.is_fcos(0):
        return
    if lowering.dialect.is_fcos(3):
        _boot_device(lowering)
    _remark_on_partitions(lowering)
    if lowering.dialect.is_fcos(5):
        _grub(lowering)


def _boot_device(lowering: Lowering) -> None:
    boot = lowering.config.get("boot_device", {})
    luks, mirror = boot.get("luks", {}), boot.get("mirror", {}).get("devices", [])
    cex = bool(luks.get("cex", {}).get("enabled"))
    wants_luks = bool(luks.get("tpm2") or luks.get("tang") or cex)
    if not wants_luks and not mirror:
        return
    layout = boot.get("layout")
    storage: Value = {"filesystems": []}
    origins: Origins = {}
    if mirror:
        _mirror(mirror, layout or "x86_64", storage, origins)
    if wants_luks:
        _luks(luks, layout or "", bool(mirror), cex, storage, origins)
    root = {
        "device": "/dev/mapper/root" if wants_luks else "/dev/md/md-root",
        "format": "xfs",
        "label": "root",
        "wipeFilesystem": True,
    }
    came: Path = ("boot_device",)
    note_source(root, ("storage", "filesystems", len(storage["filesystems"])), came, origins)
    storage["filesystems"].append(root)
    origins["storage", "filesystems"] = origins["storage",] = came
    lowering.lay_over({"storage": storage}, origins)


def _mirror(devices: list[str], layout: str, storage: Value, origins: Origins) -> None:
    storage["disks"] = []
    came: Path = ("boot_device", "mirror")
    for index, device in enumerate(devices):
        number = index + 1
        partitions: list[Value] = [
            {"label": f"{name}-{number}", "sizeMiB": size_mib, "typeGuid": guid}
            for name, size_mib, guid in _FIRST.get(layout, (_RESERVED, _RESERVED))
        ]
        partitions += [{"label": f"boot-{number}", "sizeMiB": _BOOT_MIB}, {"label": f"root-{number}"}]
        disk = {"device": device, "partitions": partitions, "wipeTable": True}
        note_source(disk, ("storage", "disks", index), (*came, "devices", index), origins)
        if not device:
            del origins["storage", "disks", index, "device"]  # an empty text leaves no trace
        storage["disks"].append(disk)
        if partitions[1]["label"] == f"esp-{number}":
            esp = {
                "device": f"/dev/disk/by-partlabel/esp-{number}",
                "format": "vfat",
                "label": f"esp-{number}",
                "wipeFilesystem": True,
            }
            at = len(storage["filesystems"])
            note_source(esp, ("storage", "filesystems", at), (*came, "devices", index), origins)
            storage["filesystems"].append(esp)
    origins["storage", "disks"] = (*came, "devices")
    storage["raid"] = [
        {
            "devices": [f"/dev/disk/by-partlabel/{part}-{at + 1}" for at in range(len(devices))],
            "level": "raid1",
            "name": f"md-{part}",
            **(
                {"options": ["--metadata=1.0"]} if part == "boot" else {}
            ),  # at the end, where GRUB does not trip over it
        }
        for part in ("boot", "root")
    ]
    note_source(storage["raid"], ("storage", "raid"), came, origins)
    boot = {"device": "/dev/md/md-boot", "format": "ext4", "label": "boot", "wipeFilesystem": True}
    note_source(boot, ("storage", "filesystems", len(storage["filesystems"])), came, origins)
    storage["filesystems"].append(boot)


def _luks(luks: Value, layout: str, mirrored: bool, cex: bool, storage: Value, origins: Origins) -> None:
    came: Path = ("boot_device", "luks")
    at: Path = ("storage", "luks", 0)
    if layout in ("s390x-eckd", "s390x-zfcp"):
        device = luks.get("device", "") + ("2" if layout == "s390x-eckd" else "4")
    else:
        device = "/dev/md/md-root" if mirrored else "/dev/disk/by-partlabel/root"
    volume: Value = {"device": device, "label": "luks-root", "name": "root", "wipeVolume": True}
    note_source(volume, at, came, origins)
    origins["storage", "luks"] = came
    if luks.get("discard") is not None:
        volume["discard"] = luks["discard"]
        origins[*at, "discard"] = (*came, "discard")
    if cex:
        volume["cex"] = {"enabled": True}
        note_source(volume["cex"], (*at, "cex"), came, origins)
        origins[*at, "cex", "enabled"] = (*came, "enabled")
    else:
        volume["clevis"] = {name: luks[name] for name in ("tang", "threshold", "tpm2") if luks.get(name) is not None}
        origins[*at, "clevis"] = came
        _note_as(volume["clevis"], (*at, "clevis"), came, origins)
    storage["luks"] = [volume]


def _note_as(value: Any, path: Path, came: Path, origins: Origins) -> None:
    """Say that a value's parts came from the parts of the same names elsewhere; an empty URL leaves no trace."""
    if value == "" and path[-1] == "url":
        return
    origins[path] = came
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in parts:
        _note_as(item, (*path, step), (*came, step), origins)


def _remark_on_partitions(lowering: Lowering) -> None:
    found, dialect = lowering.found, lowering.dialect
    for index, disk in enumerate(lowering.result.get("storage", {}).get("disks", ())):
        partitions = disk.get("partitions", ())
        for at, partition in enumerate(partitions):
            label = partition.get("label")
            where: Path = ("storage", "disks", index, "partitions", at)
            if label == "root" and dialect.is_fcos(3):
                size_mib = partition.get("sizeMiB")
                if not size_mib:
                    if any(not other.get("startMiB") for i, other in enumerate(partitions) if i != at):
                        found.warn(
                            (*where, "label"),
                            "root partition cannot expand; it is set to fill available space "
                            "but is followed by an auto-positioned partition",
                        )
                elif size_mib < _ROOT_MIN_MIB:
                    found.warn((*where, "size_mib"), "root should have 8GiB of space assigned")
            if not disk.get("wipeTable") and label in _NUMBERS and partition.get("number", 0) != _NUMBERS[label]:
                found.warn(
                    (*where, "label"),
                    "incorrect partition number; a new partition will be created using reserved label",
                )


def _grub(lowering: Lowering) -> None:
    users = lowering.config.get("grub", {}).get("users", ())
    if not users:
        return
    names = " ".join(user["name"] for user in users)
    commands = "\n".join(f"password_pbkdf2 {user['name']} {user['password_hash']}" for user in users)
    text = f'# Generated by Butane\n\nset superusers="{names}"\n{commands}\n'
    source, packed = data_url.encode(text.encode("utf-8", "surrogateescape"))
    storage = {
        "files": [
            {
                "path": "/boot/grub2/user.cfg",
                "append": [{"compression": "gzip" if packed else "", "source": source}],
            }
        ],
        "filesystems": [{"device": "/dev/disk/by-label/boot", "format": "ext4", "path": "/boot"}],
    }
    origins: Origins = {}
    note_source(storage, ("storage",), ("grub", "users"), origins)
    lowering.lay_over({"storage": storage}, origins)
