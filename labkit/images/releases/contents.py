"""Whether the files of a release are of one build, by what is in them: names change, and signatures tell nothing.

Fedora CoreOS writes its version into the root (``etc/coreos-live-rootfs``), and its initramfs compares it when it
boots. Flatcar's root has the modules of one kernel. A file of a form that is not known here, as in a later release,
tells nothing and is no mistake: it is signed.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from labkit.boot.artifacts.cpio import HEADER_B, MAGIC, NUMBERS, TRAILER
from labkit.errors import FileError
from labkit.images.build.tools import check_programs
from labkit.images.releases.metadata import Release, mixed
from labkit.images.store import Progress

STAMP = "etc/coreos-live-rootfs"
VERSION = re.compile(r"[0-9]+\.[0-9]{8}\.[0-9.]+")
SQUASH = "usr.squashfs"
LONGEST_NAME_B = 4096


class Stream(Protocol):
    """What can be read, and moved in forwards."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...

    def tell(self) -> int: ...


def check_contents(release: Release, folder: Path, progress: Progress) -> None:
    """Raise ImageError when files are of different builds, as far as they tell; also FileError and MachineError."""
    paths = [folder / file.name for file in release.files]
    try:
        if len(paths) > 2:
            found = root_version(paths[2])
            if VERSION.fullmatch(found) and found != release.version:
                raise mixed([f"{paths[2].name} is of {found}"], release.version, str(folder))
            return
        kernel = kernel_version(paths[0])
        modules = module_versions(paths[1], folder, progress) if kernel else []
    except OSError as error:
        raise FileError.of(error, folder) from None
    if modules and kernel not in modules:
        facts = [f"{paths[0].name} is Linux {kernel}", f"{paths[1].name} has modules for {', '.join(modules)}"]
        raise mixed(facts, release.version, str(folder))


def kernel_version(path: Path) -> str:
    """The version in an x86 kernel's header, as uname(1) would say it; empty where there is none. Raises OSError.

    Source: Documentation/arch/x86/boot.rst of Linux, fields ``header`` and ``kernel_version``.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if head[0x202:0x206] != b"HdrS":
        return ""
    begin = 0x200 + int.from_bytes(head[0x20E:0x210], "little")
    words = head[begin : begin + 256].partition(b"\0")[0].decode("ascii", "replace").split()
    return words[0] if words else ""


def root_version(path: Path) -> str:
    """The version in a root of Fedora CoreOS; empty where it has none. Raises OSError."""
    with path.open("rb") as file:
        for name, size_b in members(file):
            if name == STAMP and size_b < 1000:
                return file.read(size_b).decode("utf-8", "replace").strip()
    return ""


def module_versions(path: Path, scratch: Path, progress: Progress) -> list[str]:
    """For which kernels a root of Flatcar has modules; empty where it does not tell. Raises OSError and MachineError.

    Needs room for the root beside it while it looks.
    """
    check_programs(["unsquashfs"])
    try:
        with gzip.open(path) as archive, tempfile.NamedTemporaryFile(dir=scratch, prefix=".root-") as squash:
            for name, size_b in members(archive):
                if name == SQUASH:
                    progress(f"{path.name}: looking for which kernel it is")
                    _copy(archive, squash, size_b)
                    return _modules_in(squash.name)
    except (gzip.BadGzipFile, EOFError):
        pass
    return []


def _copy(source: Stream, target: IO[bytes], size_b: int) -> None:
    while size_b and (chunk := source.read(min(size_b, 1 << 20))):
        target.write(chunk)
        size_b -= len(chunk)
    target.flush()


def _modules_in(squash: str) -> list[str]:
    command = ["unsquashfs", "-l", "-max-depth", "3", squash, "lib*/modules/*"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return sorted(set(re.findall(r"^[^/\n]+/lib\w*/modules/([0-9][^/\n]*)$", done.stdout, re.M)))


def members(file: Stream) -> Iterator[tuple[str, int]]:
    """Name and size of each member of newc archives one after another; at ``yield`` the file stands at its content.

    Ends where no archive goes on. The caller may have read from the content, not beyond it.
    """
    while True:
        header = file.read(HEADER_B)
        while header[:4] == bytes(4):  # zeros between archives, in steps of four
            header = header[4:] + file.read(4)
        if len(header) < HEADER_B or header[:6] != MAGIC or not NUMBERS.fullmatch(header, 6):
            return
        size_b, name_b = int(header[54:62], 16), int(header[94:102], 16)
        if name_b > LONGEST_NAME_B:
            return
        name = file.read(name_b + -(HEADER_B + name_b) % 4)[: name_b - 1].decode("utf-8", "replace")
        begin = file.tell()
        if name != TRAILER:
            yield name.removeprefix("./").removeprefix("/"), size_b
        file.seek(begin + size_b + -size_b % 4)
