"""Whether what came over the network could run: a kernel, the archives a kernel unpacks, a blade's own config.

Pure, over bytes. What is secret in a config is counted and never told.
"""

from __future__ import annotations

import json
import lzma
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from labkit.boot.artifacts import cpio, units
from labkit.boot.systems import SYSTEMS

GZIP, XZ, ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
BOOT_SECTOR_MAGIC_AT, VERSION_AT, SETUP_AT = 0x202, 0x20E, 0x200
CONFIG = "usr/share/oem/raw.ign"
CONFIGS = frozenset(system.config for system in SYSTEMS.values() if system.config)
"""Where the systems' Ignition looks for a config in a blade's own archive; `CONFIG` is the article's place."""
TALKS = frozenset(f"{system.scripts}/{units.TALK}" for system in SYSTEMS.values())


class BrokenFile(ValueError):
    """A file that would not run or unpack; the text says why."""


def check_kernel(data: bytes) -> str:
    """What a kernel calls itself (Documentation/arch/x86/boot.rst). Raises BrokenFile for bytes that are no kernel."""
    if data[BOOT_SECTOR_MAGIC_AT : BOOT_SECTOR_MAGIC_AT + 4] != b"HdrS":
        raise BrokenFile("this is no Linux kernel: it has no setup header")
    setup_b = (data[0x1F1] or 4) * 512 + 512
    system_b = int.from_bytes(data[0x1F4:0x1F8], "little") * 16
    if len(data) < setup_b + system_b:
        raise BrokenFile(f"this kernel breaks off: {len(data):,} bytes of {setup_b + system_b:,}")
    at = int.from_bytes(data[VERSION_AT : VERSION_AT + 2], "little") + SETUP_AT
    version = data[at : at + 200].partition(b"\0")[0].decode("ascii", "replace").split(" ")[0]
    return f"Linux {version}" if version else "a Linux kernel"


def check_archive(data: bytes) -> str:
    """What an initrd is. Raises BrokenFile where it breaks off or is of a kind the kernel does not unpack.

    One that is compressed with zstd is recognised and not opened here: `zstd_needed` says so.
    """
    if data.startswith(ZSTD):
        return "a zstd archive"
    content = _decompress(data)
    try:
        entries = list(cpio.unpack(content))
    except cpio.CpioError as error:
        raise BrokenFile(f"this archive does not unpack: {error}") from None
    kind = "an archive" if content is data else "a compressed archive"
    words = f"{kind} of {_many(len(entries), 'entry')}"
    config = next((entry for entry in entries if entry.name in CONFIGS), None)
    return words if config is None else f"{words} with {check_config(config.data, config.name)}"


@dataclass(frozen=True)
class Home:
    """Where a booted blade speaks to its lab: a URL, and over HTTPS the authority it believes, in PEM."""

    root: str
    ca: str = ""


def home_of(data: bytes) -> Home | None:
    """What a blade's own archive tells it of its lab; None for an archive that tells nothing. It was checked before."""
    if data.startswith(ZSTD):
        return None
    found = [entry.data for entry in cpio.unpack(_decompress(data)) if entry.name in CONFIGS]
    files = (json.loads(found[0]).get("storage") or {}).get("files") or () if found else ()
    texts = {str(one.get("path")): str((one.get("contents") or {}).get("source") or "") for one in files}
    talk = next((text for path, text in texts.items() if path in TALKS), "")
    script, ca = (unquote(text.removeprefix("data:,")) for text in (talk, texts.get(units.CA, "")))
    root = re.search(r'"(https?://[^"/]+)/v1/', script)
    return Home(root[1], ca) if root else None


def zstd_needed(data: bytes) -> bool:
    """Whether only the program zstd can tell if an archive is whole."""
    return data.startswith(ZSTD)


def check_config(data: bytes, name: str = CONFIG) -> str:
    """How much is in an Ignition config, without a word of it. Raises BrokenFile for what Ignition would not read."""
    try:
        config = json.loads(data)
        version = config["ignition"]["version"]
    except (ValueError, KeyError, TypeError):
        raise BrokenFile(f"{name} in it is no Ignition config") from None
    files, units = _count(config, "storage", "file"), _count(config, "systemd", "unit")
    return f"an Ignition {version} config ({files}, {units})"


def _count(config: Mapping[str, Any], section: str, what: str) -> str:
    return _many(len((config.get(section) or {}).get(f"{what}s") or ()), what)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what[:-1]}ies" if what.endswith("y") else f"{count} {what}s"


def _decompress(data: bytes) -> bytes:
    try:
        if data.startswith(GZIP):
            opened = zlib.decompressobj(wbits=31)
            content = opened.decompress(data)
            if not opened.eof:
                raise BrokenFile("this archive breaks off: its gzip stream has no end")
            return content
        return lzma.decompress(data) if data.startswith(XZ) else data
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise BrokenFile(f"this archive does not unpack: {error}") from None
