"""A lab file on disk that is read, changed and put back.

The old file is there or the new one, whatever happens, and nobody else's change is lost.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import FileError, on_file
from labkit.lab.lab_yaml import adopt, positions, read_bytes


@dataclass(frozen=True)
class LabFile:
    """A lab file as it was read: its bytes and what they say."""

    path: Path
    data: bytes
    source: adopt.Source

    def diff(self, new: adopt.Source) -> str:
        """What a change would do, as ``diff -u`` shows it; empty for nothing."""
        name = self.path.name
        lines = difflib.unified_diff(_lines(self.source.text), _lines(new.text), f"{name} (now)", f"{name} (new)")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def write(self, new: adopt.Source) -> None:
        """Put a changed text in the file's place, with its owner and mode, where it leads if it is a link.

        Raises FileError where it cannot be written, or somebody changed it since it was read: then it is as it was.
        """
        mark = codecs.BOM_UTF8 if self.data.startswith(codecs.BOM_UTF8) else b""
        with on_file(self.path):
            self._replace(Path(os.path.realpath(self.path)), mark + new.text.encode())

    def _replace(self, target: Path, data: bytes) -> None:
        with _beside(target) as fresh:
            status = target.stat()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
                file.write(data)
                its = os.fstat(file.fileno())
                if (its.st_uid, its.st_gid) != (status.st_uid, status.st_gid):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
                file.flush()
                os.fsync(file.fileno())
            if target.read_bytes() != self.data:
                what = "it was changed by somebody else just now, and nothing was written"
                raise FileError(what, where=str(self.path), fix="do the same again")
            fresh.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the new name is on the disk too (fsync(2))
        finally:
            os.close(folder)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """The name of a new file in the same folder, which is gone afterwards."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)  # of a process that was killed
    try:
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def open_lab(path: Path) -> LabFile:
    """A lab file that is to be changed, also one without a blade. Raises LabFileError with every mistake."""
    data = read_bytes(path)
    return LabFile(path, data, adopt.read(positions.decode(data, str(path)), path))


def _lines(text: str) -> list[str]:
    """The lines of a text, each with its end; not ``splitlines``, which splits in the middle of some."""
    return [line for line in re.split(r"(?<=\n)", text) if line]
