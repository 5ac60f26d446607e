"""The events: a class for each kind of thing that happens in a lab, with what it tells. PURE.

What a blade is made of and how it is are in `labkit.events.blade_kinds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labkit.events.amounts import about

REHEARSAL = "rehearsal"
"""What stands for a boot's identity in the events of a rehearsal: packets were exchanged, and no blade ran."""
CUT = "power cut"
"""What a `Power` that is ``off`` says where somebody pulled the plug, and not the machine itself went off."""
MOVING_EVERY_S = 10.0
"""How often a transfer that goes on is told of: far below the time after which a blade counts as stuck."""
WRONG_CLOCK_S = 60.0
"""A blade's clock that is off by no more than this is left as it is."""
DISK = "disk"
"""The part of a `Trouble` that says why a blade's disk was left as it is, and Docker is in memory."""
SENSORS = "sensors"
"""The part of a `Trouble` that says why a blade's controller is not asked any more what it measures."""
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
class Blades(Event):
    """A lab that is up knows other blades than before: those of these names were ``added``, and ``removed``."""

    kind = "blades"
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


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
class Clock(Event):
    """The clock of the lab's machine was set, ahead by ``by_s`` seconds, or back where that is negative."""

    kind = "clock"
    by_s: float


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
class Held(Event):
    """A blade is ``held``: it gets no kernel, for the reason in ``detail``; or it was ``released``."""

    kind = "held"
    state: str
    detail: str = ""


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
    """A file over ``tftp``, ``http`` or ``https``: ``started``, ``done``, ``failed`` or ``missing``; ``moving`` about
    every `MOVING_EVERY_S` of a long one while some of it arrives.

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
    process ran, ``ignition_s`` when Ignition had finished, ``uptime_s`` now. ``clock_off_s`` is by how much its clock
    was ahead of the lab's before it was set, negative where it was behind.
    """

    kind = "phoned"
    stage: str
    address: str = ""
    uptime_s: float = -1.0
    init_s: float = -1.0
    ignition_s: float = -1.0
    clock_off_s: float = 0.0

    @property
    def clock(self) -> str:
        """By how much its clock was wrong, in words; empty where that was less than a minute."""
        if abs(self.clock_off_s) <= WRONG_CLOCK_S:
            return ""
        return f"{about(self.clock_off_s)} {'ahead' if self.clock_off_s > 0 else 'behind'}"


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
    ``lost-removed``, ``rotated``, ``recovered`` (the controller goes on as the only manager)…

    ``silent`` says that it is there and nobody can join it, in ``detail`` why and in ``fix`` what helps: it does not
    answer, or is somebody else's; ``answers`` that they can again.
    """

    kind = "swarm"
    action: str
    node: str = ""
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Roll(Event):
    """The blades boot the newest, one after the other: ``step`` is what has begun of a blade's turn, ``waiting``,
    ``draining``, ``leaving``, ``booting``, ``settling``, ``done``, ``failed``, with ``back`` before it where the blade
    goes back to what it ran; of no blade the whole roll's, ``begun`` or ``over``. With ``begun`` come ``versions``:
    each is a blade, what it runs (``-`` where that is not known) and the newest, with blanks between them.
    """

    kind = "roll"
    step: str
    detail: str = ""
    versions: tuple[str, ...] = ()


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
    """A machine that is not in the lab asked to boot; ``adopt`` is the command that takes it in.

    ``vendor`` is who made its card (`labkit.events.card_vendors`), empty for nobody known. What DHCP says of it, else
    empty: ``uuid`` as dmidecode shows it (option 97), ``arch`` the numbers of its architectures (option 93), ``client``
    what asked, unless that was a system.
    """

    kind = "unknown"
    mac: str
    adopt: str
    uuid: str = ""
    arch: str = ""
    client: str = ""
    vendor: str = ""


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


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """Something worth knowing that is no trouble: what of a person's config does not count, and why."""

    kind = "note"
    detail: str
