"""Every error labkit raises on purpose, in one tree.

::

    LabkitError
    ├── LabFileError        lab.yaml is wrong: every mistake, with file, line and column
    ├── PlanError           a blade's plan cannot be made
    ├── ImageError          a boot image is missing, broken, or could not be built
    ├── MachineError        the machine lacks something (root, a package, a free port, disk space)
    ├── ControlError        the lab's supervisor is not there, or refused
    ├── PowerError          a BMC did not do what it was asked
    ├── SwarmError          the swarm or an engine did not do what it was asked
    └── ParameterError      a notebook was given a parameter it does not know or cannot take

Each carries what happened, where, and what to do about it. The command line prints ``str(error)`` and
exits with ``error.status``; nothing else in labkit formats an error for a person.

The Ignition package stands alone and has a tree of its own (`labkit.ignition.IgnitionError`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
    """The lab's supervisor is not there, or refused a request."""


class PowerError(LabkitError):
    """A BMC did not do what it was asked, or did not answer."""


class SwarmError(LabkitError):
    """The swarm or an engine did not do what it was asked."""


class ParameterError(LabkitError):
    """A notebook parameter is unknown, has the wrong type, or a value outside its choices."""

    status = 2
