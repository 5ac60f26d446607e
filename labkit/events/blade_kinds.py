"""The events about the machine itself: what a blade is made of, what it measures, and what of it has failed. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.events.amounts import size
from labkit.events.kinds import Event

NOT_MEASURED = -1.0


@dataclass(frozen=True, kw_only=True)
class Space(Event):
    """The room that Docker has on a blade, in memory or on its disk, is ``full``, or has ``room`` again; ``detail``
    says what fills it.
    """

    kind = "space"
    state: str
    used_b: int = 0
    size_b: int = 0
    detail: str = ""

    def __str__(self) -> str:
        of = f", {size(self.used_b)} of {size(self.size_b)}" if self.size_b else ""
        return f"its room for Docker is full{of}" + (f": {self.detail}" if self.detail else "")


DOCKER, EMERGENCY = "docker.service", "emergency.target"
"""Units that a `UnitFailed` may be about."""


@dataclass(frozen=True, kw_only=True)
class UnitFailed(Event):
    """A systemd unit that a blade cannot do without is down for good, as the blade itself says.

    ``how`` is systemd's word for it, ``detail`` the line that says most, ``said`` the last lines of its journal, and
    ``others`` the units that have failed beside it.
    """

    kind = "failed"
    unit: str
    how: str = ""
    detail: str = ""
    said: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = {DOCKER: "Docker did not start", EMERGENCY: "its system came up in emergency mode"}
        how = f" ({self.how})" if self.how else ""
        detail = f": {self.detail}" if self.detail else ""
        others = f"; failed as well: {', '.join(self.others)}" if self.others else ""
        return words.get(self.unit, f"{self.unit} failed") + how + detail + others


@dataclass(frozen=True, kw_only=True)
class Measured(Event):
    """What a blade's controller measures, told when it has changed by much: its hottest temperature in °C, its power in
    watts, `NOT_MEASURED` where there is none. ``hot`` says which temperatures are above the controller's own limits,
    empty where none is; ``state`` is then ``warning`` or ``critical``, else ``ok``.
    """

    kind = "measured"
    celsius: float = NOT_MEASURED
    watts: float = NOT_MEASURED
    state: str = "ok"
    hot: str = ""

    def __str__(self) -> str:
        told = ((self.celsius, "°C"), (self.watts, "W"))
        return ", ".join(f"{value:.0f} {unit}" for value, unit in told if value != NOT_MEASURED)


@dataclass(frozen=True, kw_only=True)
class Inventoried(Event):
    """A blade, or a machine that is not in the lab, told what it is made of (`labkit.events.inventory`).

    ``words`` is that in few words, ``memory_mib`` its memory, ``bmc`` the address of its management controller, empty
    for none that it can tell. ``macs`` are its cards, ``uuid`` what it calls itself; of a machine that is not in the
    lab the card that asked is in front.
    """

    kind = "inventory"
    words: str
    macs: tuple[str, ...] = ()
    uuid: str = ""
    memory_mib: int = 0
    bmc: str = ""


@dataclass(frozen=True, kw_only=True)
class HardwareChange(Event):
    """A machine told that a ``part`` of it (``memory``, ``disk``, ``card``…) is another than when it told last.

    ``state`` is ``worse`` where it has lost by it, else ``other``; ``mac`` is a card of one that is not in the lab.
    """

    kind = "hardware"
    part: str
    state: str
    detail: str
    mac: str = ""
