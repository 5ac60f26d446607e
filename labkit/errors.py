"""Every error labkit raises on purpose, in one tree.

::

    LabkitError
    ├── LabFileError        lab.yaml is wrong: every mistake, with file, line and column
    ├── PlanError           a blade's plan cannot be made
    ├── ImageError          a boot image is missing, broken, or could not be built
    ├── MachineError        the machine lacks something (root, a package, a free port, disk space)
    ├── ControlError        the lab's supervisor did not answer, or refused
    │   ├── NotUpError      it is not there
    │   └── DeniedError     it is somebody else's
    ├── PowerError          a BMC did not do what it was asked
    ├── SwarmError          the swarm or an engine did not do what it was asked
    ├── ParameterError      a notebook was given a parameter it does not know or cannot take
    ├── FileError           a file or folder that somebody named cannot be read or written
    └── FaultError          a fault of labkit itself, with the place of its details (`labkit.lab.process.faults`)

Each carries what happened, where, and what to do about it. The command line prints ``str(error)`` and
exits with ``error.status``; nothing else in labkit formats an error for a person.

The Ignition package stands alone and has a tree of its own (`labkit.ignition.IgnitionError`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


class LabkitError(Exception):
    """The root of the tree.

    ``what`` says what happened, ``fix`` what to do about it, ``where`` names the place (a file with line
    and column, a blade, a port).
    """

    status = 1

    def __init__(self, what: str, *, fix: str = "", where: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.where = where

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  fix: {self.fix}" if self.fix else head


@dataclass(frozen=True)
class Mistake:
    """One mistake in a lab file: line and column count from 1."""

    line: int
    column: int
    what: str
    fix: str = ""


class LabFileError(LabkitError):
    """A lab file has mistakes. ``mistakes`` holds all of them, in file order."""

    status = 2

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.column)))
        super().__init__(f"{len(self.mistakes)} mistake(s)", where=file)

    def __str__(self) -> str:
        lines = []
        for mistake in self.mistakes:
            lines.append(f"{self.file}:{mistake.line}:{mistake.column}: {mistake.what}")
            if mistake.fix:
                lines.append(f"  fix: {mistake.fix}")
        return "\n".join(lines)


class PlanError(LabkitError):
    """A blade's plan cannot be made from this lab."""

    status = 2


class ImageError(LabkitError):
    """A boot image is missing, broken, or could not be built."""


class MachineError(LabkitError):
    """This machine lacks something labkit needs: root, a package, a free port, disk space."""


class ControlError(LabkitError):
    """The lab's supervisor did not answer, or refused a request."""


class NotUpError(ControlError):
    """Nobody listens: the lab is not up."""


class DeniedError(ControlError):
    """The lab is up, or may be, and we may not speak to it."""

    def __init__(self, path: Path) -> None:
        what = f"you are {user_name(os.geteuid())}, and may not speak to this lab"
        super().__init__(what, where=str(path), fix=_permission_fix(str(path)))


class PowerError(LabkitError):
    """A BMC did not do what it was asked, or did not answer."""


class SwarmError(LabkitError):
    """The swarm or an engine did not do what it was asked."""


class ParameterError(LabkitError):
    """A notebook parameter is unknown, has the wrong type, or a value outside its choices."""

    status = 2


class FaultError(LabkitError):
    """A fault of labkit itself: nobody could have known, and nobody but labkit's makers can mend it."""

    status = os.EX_SOFTWARE


ROOM = "make room there, or name another place"
FIXES = {
    errno.ENOENT: "make the folder first, or correct the name",
    errno.ENOTDIR: "a part of this path is a file: correct the name",
    errno.EISDIR: "this is a folder: name a file in it",
    errno.EEXIST: "name another one, or remove it",
    errno.ENOTEMPTY: "name another one, or remove it",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: ROOM,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "links here lead to each other: correct the name",
    errno.EINVAL: "correct the name",
    errno.ENODEV: "correct the name",
    errno.ENXIO: "correct the name",
    errno.EIO: "look at the disk: dmesg",
}


class FileError(LabkitError):
    """A file or folder that somebody named cannot be read or written."""

    @classmethod
    def tells(cls, error: OSError) -> bool:
        """Whether an exception is the system's word on a file, and not a mistake in how it was asked."""
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        is_file = error.filename is not None and error.errno in (*FIXES, errno.EACCES, errno.EPERM)
        return is_full or is_file

    @classmethod
    def of(cls, error: OSError, path: Path | str | None = None) -> FileError:
        """The system's word on a file. ``path`` is what a person knows it by, where the exception does not say."""
        where = error.filename if path is None else path
        name = os.fsdecode(where) if isinstance(where, str | bytes | os.PathLike) else ""
        fix = FIXES.get(error.errno or 0) or _permission_fix(name)
        return cls(error.strerror or str(error), where=name, fix=fix)


def _permission_fix(name: str) -> str:
    """Whose the nearest thing is that may be looked at."""
    for place in (Path(name), *Path(name).absolute().parents):
        with contextlib.suppress(OSError):
            owner, me = user_name(place.stat().st_uid), user_name(os.geteuid())
            return f"{place} belongs to {owner}, and you are {me}: be that user, or use sudo"
    return "be its owner, or use sudo"


def user_name(number: int) -> str:
    """A user's name, or the number of one without."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


@contextlib.contextmanager
def on_file(path: Path) -> Iterator[None]:
    """Let what the system says of a file or folder be a FileError that names it."""
    try:
        yield
    except OSError as error:
        raise FileError.of(error, error.filename if isinstance(error.filename, str) else path) from None
