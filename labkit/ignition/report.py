"""What a tool says about a config: entries with a kind, a place and a fix, and the error that carries them.

::

    IgnitionError       a config was refused; ``.report`` holds every entry, ``.summary`` the closing sentence

The raw layout of `Report.raw` is the one Butane and ignition-validate print
(``error at $.storage.files.0.path, line 3 col 11: path not absolute``), so that editors which read theirs read ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["error", "warning", "info"]
Path = tuple["str | int", ...]


@dataclass(frozen=True)
class Entry:
    """One remark. ``path`` leads to the value (`()` is the document); line and column count from 1, 0 is unknown.

    ``past_end``: the place is behind the last byte, which the raw layout shows as line 0, column 0.
    """

    kind: Kind
    message: str
    path: Path = ()
    line: int = 0
    column: int = 0
    fix: str = ""
    past_end: bool = False

    @property
    def where(self) -> str:
        """The path as people write it: ``$.storage.files.0.path``; empty for the whole document."""
        return "$." + ".".join(str(step) for step in self.path) if self.path else ""

    def raw(self) -> str:
        place = f"line {self.line} col {self.column}" if self.line else ""
        if self.past_end:
            place = "line 0 col 0"
        at = ", ".join(part for part in (self.where, place) if part)
        return f"{self.kind}{' at ' + at if at else ''}: {self.message}"

    def __str__(self) -> str:
        return self.raw() + (f"\n  fix: {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Report:
    """Entries in the order they were found."""

    entries: tuple[Entry, ...] = ()

    @property
    def is_fatal(self) -> bool:
        return any(entry.kind == "error" for entry in self.entries)

    @property
    def errors(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.kind == "error")

    @property
    def warnings(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.kind == "warning")

    def raw(self) -> str:
        """One line per entry, without fixes."""
        return "".join(entry.raw() + "\n" for entry in self.entries)

    def __str__(self) -> str:
        return "\n".join(str(entry) for entry in self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass
class Findings:
    """A report being written."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, kind: Kind, path: Path, message: str | None) -> None:
        """Add a remark; ``message`` None means that there is nothing to say (a check passed)."""
        if message is not None:
            self.entries.append(Entry(kind, message, path))

    def error(self, path: Path, message: str | None) -> None:
        self.add("error", path, message)

    def warn(self, path: Path, message: str | None) -> None:
        self.add("warning", path, message)

    def extend(self, entries: Iterable[Entry]) -> None:
        self.entries.extend(entries)

    @property
    def is_fatal(self) -> bool:
        return any(entry.kind == "error" for entry in self.entries)


class IgnitionError(Exception):
    """A config cannot be used. ``summary`` says at which step it was refused, ``report`` holds what was found."""

    def __init__(self, summary: str, entries: Report | Sequence[Entry] = (), *, fix: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.report = entries if isinstance(entries, Report) else Report(tuple(entries))
        self.fix = fix

    def __str__(self) -> str:
        tail = f"\n  fix: {self.fix}" if self.fix else ""
        return "\n".join(part for part in (str(self.report), self.summary + tail) if part)
