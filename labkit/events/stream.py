"""Everything that happens in a lab is one event in one append-only stream.

The parts (boot server, chassis, swarmd) emit events; the supervisor alone gives them a sequence number
and writes them, a JSON object a line, to ``events.jsonl``. Whatever wants to know how the lab is doing reads
that file and folds it: see `labkit.events.folding`.

A line looks like this::

    {"v": 1, "kind": "dhcp", "seq": 12, "time": 1700000000.25, "blade": "blade1", "message": "DISCOVER", …}

``time`` is wall-clock seconds since the epoch. A reader skips the kinds and fields it does not know, so that
an older labkit can read a newer file.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import time as _time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from labkit.errors import FileError
from labkit.events import blade_kinds, kinds
from labkit.events.kinds import Event
from labkit.lab.plain_text import one_line

SCHEMA = 1
PIPE_BUF_B = 4096
LATEST = 2.5e11
"""Beyond it lies no time of an event: calendars here have four digits for the year."""

_ALL = [*vars(kinds).values(), *vars(blade_kinds).values()]
KINDS: dict[str, type[Event]] = {
    cls.kind: cls for cls in _ALL if isinstance(cls, type) and issubclass(cls, Event) and cls.kind
}

DEFAULTS = {kind: {field.name: field.default for field in dataclasses.fields(cls)} for kind, cls in KINDS.items()}
"""The fields of each kind of event, with what they are where nothing was said."""
_written = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Made once, not with each line: a boot server that is busy writes two of them a file."""


def encode(event: Event) -> str:
    """One line of ``events.jsonl``, without its newline. Fields at their default are left out."""
    body: dict[str, Any] = {"v": SCHEMA, "kind": event.kind}
    for name, default in DEFAULTS[event.kind].items():
        value = getattr(event, name)
        if value != default:
            body[name] = value
    return _written(body)


def decode(line: str) -> Event | None:
    """The event in one line; None for a kind that this version does not know.

    Raises ValueError when the line is not an event at all.
    """
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not an event: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        raise ValueError("not an event: no kind")
    cls = KINDS.get(body["kind"])
    if cls is None:
        return None
    known = _fields(body["kind"])
    given = {key: value for key, value in body.items() if key in known}
    wrong = [key for key, value in given.items() if not _fits(value, known[key])]
    wrong += ["time"] if not wrong and not 0 <= given.get("time", 0) < LATEST else []
    if wrong:
        raise ValueError(f"not an event: its {wrong[0]} is {given[wrong[0]]!r}"[:200])
    whole: dict[str, Any] = {  # JSON has lists, events have tuples of words
        key: tuple(map(str, value)) if isinstance(value, list) else value for key, value in given.items()
    }
    try:
        return cls(**whole)
    except TypeError as error:
        raise ValueError(f"not an event: {error}") from None


@cache
def _fields(kind: str) -> Mapping[str, str]:
    """The fields of a kind of event, with their types as they are written there."""
    return {field.name: str(field.type) for field in dataclasses.fields(KINDS[kind])}


def _fits(value: object, kind: str) -> bool:
    if kind == "float":
        return isinstance(value, int | float) and math.isfinite(value)
    if kind == "int":
        return isinstance(value, int)
    return isinstance(value, str if kind == "str" else list)


def _decode_of(path: Path, line: str) -> Event | None:
    try:
        return decode(line)
    except ValueError as error:
        raise FileError(
            f"{error}: {line[:60].strip()!r}",
            where=str(path),
            fix="take that line out; of a lab that is down the whole file may go",
        ) from None


def read(path: Path, *, after: int = 0) -> Iterator[Event]:
    """The events of a file with a sequence number above ``after``. A last line still being written is left out.

    Raises FileError for a line that is no event.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            event = _decode_of(path, line)
            if event is not None and event.seq > after:
                yield event


def follow(path: Path, *, after: int = 0, every_s: float = 0.2, until: float | None = None) -> Iterator[Event | None]:
    """Like `read`, then go on as the file grows, yielding None whenever there is nothing new.

    ``until`` is a wall-clock time to stop at, by the clock as it is now; without it the caller decides by breaking out.
    """
    end = None if until is None else _time.monotonic() + until - _time.time()
    seen = after
    offset = 0
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < offset:  # a new lab began a new file
            offset, seen = 0, 0
        if size > offset:
            with path.open("rb") as file:
                file.seek(offset)
                block = file.read()
            whole, newline, _ = block.rpartition(b"\n")
            offset += len(whole) + len(newline)
            # Not splitlines(): that splits at U+2028 too.
            for line in whole.decode("utf-8", "replace").split("\n") if newline else ():
                event = _decode_of(path, line)
                if event is not None and event.seq > seen:
                    seen = event.seq
                    yield event
        yield None
        if end is not None and _time.monotonic() >= end:
            return
        _time.sleep(every_s)


class Stream:
    """The file of events, which only the supervisor writes.

    Nothing that goes wrong with the file ends the lab, or tears a line: what cannot be written is left out, ``lost``
    counts it, and ``why`` is the last reason. A file of more than ``OLD_B`` is put aside before the next begins, in the
    place of what was put aside before, and none gets longer than ``MOST_B``.
    """

    OLD_B, MOST_B = 64 << 20, 512 << 20

    def __init__(self, path: Path) -> None:
        if path.is_file() and path.stat().st_size > self.OLD_B:
            path.replace(path.with_suffix(".old.jsonl"))
        self._fileno = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        whole_b = _whole_lines_b(self._fileno)
        if whole_b < os.fstat(self._fileno).st_size:  # a power cut left half a line: the next one would go on with it
            os.ftruncate(self._fileno, whole_b)
        self.lost, self.why = 0, ""

    def write(self, event: Event) -> bool:
        """Write an event, or tell that it could not be."""
        line = encode(event).encode(errors="replace") + b"\n"
        size_b = os.fstat(self._fileno).st_size
        try:
            if size_b + len(line) > self.MOST_B:
                raise OSError(errno.EFBIG, "the file of events is full; ./lab down and ./lab up begin another one")
            if os.write(self._fileno, line) == len(line):
                return True
            os.ftruncate(self._fileno, size_b)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.lost, self.why = self.lost + 1, error.strerror or str(error)
            return False


def _whole_lines_b(fileno: int) -> int:
    """How long a file is up to its last line break."""
    end = os.fstat(fileno).st_size
    while end:
        block = os.pread(fileno, min(end, 1 << 16), max(0, end - (1 << 16)))
        if (at := block.rfind(b"\n")) >= 0:
            return end - len(block) + at + 1
        end -= len(block)
    return 0


class Emitter:
    """Where a part hands its events over: a pipe to the supervisor, a JSON line an event.

    Events that carry no time yet get one. It may be called from any thread: lines up to PIPE_BUF (4,096 bytes) are
    written whole (pipe(7)), and the words of longer ones are cut.
    """

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno

    def __call__(self, event: Event) -> None:
        if not event.time:
            event = dataclasses.replace(event, time=_time.time())
        line, most = encode(event), PIPE_BUF_B
        while len(line.encode(errors="replace")) >= PIPE_BUF_B:
            most //= 2
            line = encode(_cut(event, most))
        os.write(self._fileno, line.encode(errors="replace") + b"\n")


def _cut(event: Event, most: int) -> Event:
    """An event with so many letters of each word, and so many of a row of them."""
    words = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    short: dict[str, Any] = {}
    for name, value in words.items():
        if isinstance(value, str) and len(value) > most:
            short[name] = value[:most] + "…"
        elif isinstance(value, tuple):
            short[name] = tuple(one[:most] for one in value[:most])
    return dataclasses.replace(event, **short)


def describe(event: Event) -> str:
    """One line for a person: time of day, blade, kind, and what the event says."""
    moment = _time.strftime("%H:%M:%S", _time.localtime(event.time)) + f".{int(event.time * 10) % 10}"
    shared = {field.name for field in dataclasses.fields(Event)}
    said = [
        f"{field.name}={one_line('; '.join(value) if isinstance(value, tuple) else str(value))}"
        for field in dataclasses.fields(event)
        if field.name not in shared and (value := getattr(event, field.name)) != field.default
    ]
    return f"{moment}  {event.blade or '-':10} {event.kind:9} {' '.join(said)}"
