"""The storage of a lab file: a folder shared over NFS, a cache of another registry, and blades' own disks."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from labkit.lab import DOCKER_HUB, Disk, Storage
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.network import Net
from labkit.lab.lab_yaml.positions import Kind, Notes, Section, Wrong, short

STORAGE = Kind("storage", ("share", "cache", "cache_port"))
DISK = Kind("disk", ("device", "size"))
NO_DISK = ("none", "false", "off", "no")
USUAL_DISK_MIB = 8192
"""The size of a virtual blade's disk where the file does not say it."""


def read_storage(top: Section, net: Net, path: Path, notes: Notes) -> Storage:
    """What the lab keeps for its blades. ``path`` is the lab file, from whose folder a shared folder is named."""
    section = Section(top.value("storage"), top.anchor, STORAGE, notes)
    nothing: tuple[bool, Path | None] = (False, None)
    share, folder = section.take("share", lambda text: _share(text, path), nothing)
    cache = section.take("cache", _cache, "")
    port = section.take("cache_port", positions.whole("a port", 1, 65535), Storage.cache_port)
    if section.has("cache_port") and not cache and not section.bad("cache", "cache_port"):
        section.note("cache_port", "without a cache its port is of no use", "write cache: true, or remove this line")
    if net.real and cache and port in net.ports and not section.bad("cache_port"):
        section.note("cache_port", f"port {port} is already {net.ports[port]}", "give them different ports")
    return Storage(share, folder, cache, port)


def read_disk(parent: Section, notes: Notes, base: Disk | None, *, real: bool) -> Disk | None:
    """What ``disk`` says in a section of the file: a device, a device with its size, or ``none``; ``base`` where it
    says nothing, or nothing that can be taken. Only a virtual blade's disk gets its size from the file.
    """
    node = parent.value("disk")
    size_mib = 0 if real else USUAL_DISK_MIB
    if node is None:
        return base
    if not isinstance(node, yaml.MappingNode):
        nothing: Disk | None = None
        return parent.take("disk", lambda text: _disk(text, size_mib), nothing)
    section = Section(node, node, DISK, notes)
    device = section.need("device", values.device, "", "name the disk as the blade's system does: device: /dev/sda")
    if section.has("size") and real:
        what = "a real blade's disk has the size that it has"
        section.note("size", what, f"write disk: {device or '/dev/sda'}; size is for virtual blades")
    size_mib = section.take("size", values.disk_size, size_mib) if not real else 0
    if section.bad("device", "size"):
        parent.spoil("disk")
        return base
    return Disk(device, size_mib)


def _disk(text: str, size_mib: int) -> Disk | None:
    return None if text.lower() in NO_DISK else Disk(values.device(text), size_mib)


def _share(text: str, lab: Path) -> tuple[bool, Path | None]:
    """``true``, ``false``, or a folder that is there."""
    if text.lower() in positions.BOOLEANS:
        return positions.boolean(text), None
    folder = values.beside(text, lab)
    if not folder.is_dir():
        raise Wrong(f"there is no folder {folder}", "make it, or write share: true for a folder in the lab's own state")
    return True, Path(os.path.realpath(folder))


def _cache(text: str) -> str:
    """``true`` for Docker Hub, ``false``, or the URL of a registry."""
    if text.lower() in positions.BOOLEANS:
        return DOCKER_HUB if positions.boolean(text) else ""
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?", text):
        fix = f"write cache: true, which is {DOCKER_HUB}"
        raise Wrong(f"{short(text)} is not the address of a registry", fix)
    return text.rstrip("/")
