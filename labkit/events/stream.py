"""Everything that happens in a lab is one event in one append-only stream.

The parts (boot server, chassis, swarmd) emit events; the supervisor alone gives them a sequence number
and writes them, a JSON object a line, to ``events.jsonl``. Whatever wants to know how the lab is doing reads
that file and folds it: see `labkit.events.stages`.

A line looks like this::

    {"v": 1, "kind": "dhcp", "seq": 12, "time": 1700000000.25, "blade": "blade1", "message": "DISCOVER", …}

``time`` is wall-clock seconds since the epoch. A reader skips the kinds and fields it does not know, so that
an older labkit can read a newer file.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import time as _time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from labkit.errors import FileError

SCHEMA = 1
REHEARSAL = "rehearsal"
"""What stands for a boot's identity in the events of a rehearsal: packets were exchanged, and no blade ran."""
CUT = "power cut"
"""What a `Power` that is ``off`` says where somebody pulled the plug, and not the machine itself went off."""
TLS = "tls"
"""The part of a `Trouble` that says why a blade would not speak to the lab over HTTPS."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events share. ``seq`` is 0 until the supervisor has written the event.

    ``blade`` is a name from ``lab.yaml``, or empty where an event belongs to no blade; ``boot`` is the
    identity of one boot of that blade.
    """

    kind: ClassVar[str] = ""
    seq: int = 0
    time: float = 0.0
    blade: str = ""
    boot: str = ""


@dataclass(frozen=True, kw_only=True)
class LabEvent(Event):
    """The lab went ``up`` or ``down``."""

    kind = "lab"
    state: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Part(Event):
    """A part of the lab (``bootd``, ``swarmd``, ``engine``, ``registry``, ``bmc1``…) ``started`` or ``died``, is
    ``silent`` (it lives and does not answer, as ``detail`` says) or ``answers`` again.
    """

    kind = "part"
    part: str
    state: str
    pid: int = 0
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Power(Event):
    """A slot's power: ``on``, ``off``, ``soft-off`` (the button was pressed), ``reset``."""

    kind = "power"
    state: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class BootStarted(Event):
    """A new boot of a blade began; ``cause`` is ``power`` or ``pxe``."""

    kind = "boot"
    cause: str


@dataclass(frozen=True, kw_only=True)
class Dhcp(Event):
    """A DHCP message was heard; ``reply`` is what it got (``OFFER``, ``ACK``, ``NAK``, or empty for silence).

    ``client`` says who spoke: ``pxe``, ``ipxe``, ``http`` (UEFI HTTP boot) or ``os``. ``reason`` explains silence.
    """

    kind = "dhcp"
    mac: str
    message: str
    reply: str = ""
    address: str = ""
    client: str = ""
    arch: str = ""
    file: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Transfer(Event):
    """A file over ``tftp``, ``http`` or ``https``: ``started``, ``done``, ``failed`` or ``missing``.

    ``sent_b`` and ``size_b`` are bytes, ``seconds`` the time since it started.
    """

    kind = "transfer"
    protocol: str
    path: str
    state: str
    address: str = ""
    sent_b: int = 0
    size_b: int = 0
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Phoned(Event):
    """A booted blade phoned home with its ticket.

    The times are seconds since its kernel started, -1 where the blade did not say: ``init_s`` when the first
    process ran, ``ignition_s`` when Ignition had finished, ``uptime_s`` now.
    """

    kind = "phoned"
    stage: str
    address: str = ""
    uptime_s: float = -1.0
    init_s: float = -1.0
    ignition_s: float = -1.0


@dataclass(frozen=True, kw_only=True)
class Ticket(Event):
    """A ticket was ``redeemed``, ``refused``, or ``late`` (its join window is not open); ``reason`` says why."""

    kind = "ticket"
    state: str
    address: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Leave(Event):
    """A blade's orderly leave: ``asked``, ``drained``, ``left``, ``removed``, or ``failed``."""

    kind = "leave"
    step: str
    node: str = ""
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Swarm(Event):
    """The swarm changed: ``init``, ``joined``, ``ready``, ``down``, ``removed``, ``ghost-removed``, ``lost``,
    ``lost-removed``, ``rotated``…
    """

    kind = "swarm"
    action: str
    node: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Service(Event):
    """A swarm service changed: ``created``, ``updated``, ``rolled back``, ``converged``, ``failed``, ``running``,
    ``answered``, ``removed``.

    ``failed`` says in ``detail`` why it did not come up, and ``running`` names one replica there; ``answered`` says
    that this replica answered ``count`` requests through the blade's port.
    """

    kind = "service"
    name: str
    action: str
    detail: str = ""
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class UnknownMachine(Event):
    """A machine that is not in the lab asked to boot; ``adopt`` is the line for ``lab.yaml`` that would take it in."""

    kind = "unknown"
    mac: str
    adopt: str


@dataclass(frozen=True, kw_only=True)
class Trouble(Event):
    """Something went wrong that no other kind says; ``fix`` may say what to do about it."""

    kind = "trouble"
    part: str
    detail: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Stuck(Event):
    """A blade stands in one step of its boot (`stages.STEPS`) for longer than is usual: ``seconds`` by now.

    ``what`` says what was last seen of it, ``causes`` what may be behind that, the likeliest first, and ``fix`` what to
    do about the first.
    """

    kind = "stuck"
    step: str
    what: str
    seconds: float = 0.0
    causes: tuple[str, ...] = ()
    fix: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "causes", tuple(self.causes))  # JSON has lists only


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        LabEvent, Part, Power, BootStarted, Dhcp, Transfer, Phoned, Ticket, Leave, Swarm, Service, UnknownMachine,
        Trouble, Stuck,
    )
}  # fmt: skip


def encode(event: Event) -> str:
    """One line of ``events.jsonl``, without its newline. Fields at their default are left out."""
    body: dict[str, Any] = {"v": SCHEMA, "kind": event.kind}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if value != field.default:
            body[field.name] = value
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def decode(line: str) -> Event | None:
    """The event in one line; None for a kind that this version does not know.

    Raises ValueError when the line is not an event at all.
    """
    try:
        body = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not an event: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("kind"), str):
        raise ValueError("not an event: no kind")
    cls = KINDS.get(body["kind"])
    if cls is None:
        return None
    known = {field.name for field in dataclasses.fields(cls)}
    try:
        return cls(**{key: value for key, value in body.items() if key in known})
    except TypeError as error:
        raise ValueError(f"not an event: {error}") from None


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

    ``until`` is a wall-clock time to stop at; without it the caller decides by breaking out.
    """
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
        if until is not None and _time.time() >= until:
            return
        _time.sleep(every_s)


class Stream:
    """The file of events, which only the supervisor writes.

    Nothing that goes wrong with the file ends the lab, or tears a line: what cannot be written is left out, ``lost``
    counts it, and ``why`` is the last reason.
    """

    def __init__(self, path: Path) -> None:
        self._fileno = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.lost, self.why = 0, ""

    def write(self, event: Event) -> bool:
        """Write an event, or tell that it could not be."""
        line = encode(event).encode(errors="replace") + b"\n"
        size_b = os.fstat(self._fileno).st_size
        try:
            if os.write(self._fileno, line) == len(line):
                return True
            os.ftruncate(self._fileno, size_b)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.lost, self.why = self.lost + 1, error.strerror or str(error)
            return False


class Emitter:
    """Where a part hands its events over: a pipe to the supervisor, a JSON line an event.

    Events that carry no time yet get one. It may be called from any thread: lines up to PIPE_BUF (4,096 bytes) are
    written whole (pipe(7)), which every event of ours is below.
    """

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno

    def __call__(self, event: Event) -> None:
        if not event.time:
            event = dataclasses.replace(event, time=_time.time())
        os.write(self._fileno, encode(event).encode(errors="replace") + b"\n")


def describe(event: Event) -> str:
    """One line for a person: time of day, blade, kind, and what the event says."""
    moment = _time.strftime("%H:%M:%S", _time.localtime(event.time)) + f".{int(event.time * 10) % 10}"
    shared = {field.name for field in dataclasses.fields(Event)}
    said = [
        f"{field.name}={'; '.join(value) if isinstance(value, tuple) else value}"
        for field in dataclasses.fields(event)
        if field.name not in shared and (value := getattr(event, field.name)) != field.default
    ]
    return f"{moment}  {event.blade or '-':10} {event.kind:9} {' '.join(said)}"
