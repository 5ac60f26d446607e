"""Initramfs archives: cpio in the ``newc`` format, reproducible, gzipped.

The kernel reads several archives one after another and lays them over each other
(Documentation/driver-api/early-userspace/buffer-format.rst), so a blade's own files travel in a small archive behind a
large one that all blades share. See cpio(5) for the header: "070701" and thirteen 8-digit hexadecimal numbers::

    magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    name NUL pad-to-4  data pad-to-4
"""

from __future__ import annotations

import gzip
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
HEADER_B = 110
NUMBERS = re.compile(rb"[0-9A-Fa-f]{104}")


class CpioError(ValueError):
    """Bytes that are no newc archive, or a name that cannot stand in one."""


@dataclass(frozen=True)
class Entry:
    """One member: ``name`` without a leading slash, ``mode`` with its file type bits, ``data`` empty for a folder."""

    name: str
    mode: int
    data: bytes = b""

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


def pack(files: Mapping[str, bytes], *, mode: int = 0o644) -> bytes:
    """An uncompressed archive of ``files``, with every folder above them, in sorted order and without times.

    The same files give the same bytes. Raises CpioError for a name that is absolute, empty, climbs with ``..``, is the
    trailer's, or lies below another file.
    """
    entries: dict[str, Entry] = {}
    for name, data in files.items():
        parts = name.split("/")
        if not name or name == TRAILER or any(part in ("", ".", "..") for part in parts) or "\0" in name:
            raise CpioError(f"not a name for an archive: {name!r}")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder in files:
                raise CpioError(f"not a name for an archive: {name!r}, since {folder!r} is a file")
            entries[folder] = Entry(folder, stat.S_IFDIR | 0o755)
        entries[name] = Entry(name, stat.S_IFREG | mode, data)
    out = bytearray()
    for number, name in enumerate(sorted(entries), start=1):
        _append(out, number, entries[name])
    _append(out, 0, Entry(TRAILER, 0))
    out += bytes(-len(out) % 512)  # cpio(1) ends an archive on a block boundary
    return bytes(out)


def pack_gz(files: Mapping[str, bytes], *, mode: int = 0o644) -> bytes:
    """`pack`, compressed as one gzip member without name or time: the kernel panics on two members in one archive."""
    return gzip.compress(pack(files, mode=mode), compresslevel=6, mtime=0)


def _append(out: bytearray, number: int, entry: Entry) -> None:
    name = entry.name.encode() + b"\0"
    links = 2 if entry.is_folder else 1
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    out += MAGIC + b"".join(b"%08x" % field for field in fields) + name
    out += bytes(-len(out) % 4)
    out += entry.data
    out += bytes(-len(out) % 4)


def unpack(archive: bytes) -> Iterator[Entry]:
    """The members of one archive, plain or gzipped, up to its trailer. Raises CpioError where the bytes break off."""
    if archive[:2] == b"\x1f\x8b":
        try:
            archive = gzip.decompress(archive)
        except (OSError, EOFError, zlib.error) as error:
            raise CpioError(f"broken gzip: {error}") from None
    at = 0
    while True:
        header = archive[at : at + HEADER_B]
        if len(header) < HEADER_B or header[:6] != MAGIC:
            raise CpioError(f"no newc header at byte {at}")
        if not NUMBERS.fullmatch(header, 6):  # int() alone would take signs, spaces and underscores too
            raise CpioError(f"a header field at byte {at} is no hexadecimal number")
        fields = [int(header[i : i + 8], 16) for i in range(6, HEADER_B, 8)]
        mode, size_b, name_b = fields[1], fields[6], fields[11]
        name_end = at + HEADER_B + name_b
        data_at = name_end + -name_end % 4
        data_end = data_at + size_b
        if name_b < 1 or data_end > len(archive) or archive[name_end - 1 : name_end] != b"\0":
            raise CpioError(f"the member at byte {at} breaks off")
        name = archive[at + HEADER_B : name_end - 1].decode(errors="surrogateescape")
        if name == TRAILER:
            return
        yield Entry(name, mode, archive[data_at:data_end])
        at = data_end + -data_end % 4


def listing(archive: bytes) -> str:
    """The archive as a person reads it, one member a line: mode, size in bytes, name."""
    return "\n".join(f"{stat.filemode(e.mode)} {len(e.data):>8}  {e.name}" for e in unpack(archive))
