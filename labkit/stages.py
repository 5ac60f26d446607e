"""How far each blade is: the stream of events folded into one small state a blade.

Nothing is looked at but events, so a boot that is running, one that is over and one from a kept record are told alike.
The stages of a boot, in order, each ending where the next begins:

==============  ====================================================================================================
``firmware``    power-on until the blade's first DHCP message
``loader``      until the kernel is asked for: boot loader and its configuration
``kernel``      until the first process runs: kernel and initrds are fetched, the kernel starts and unpacks them
``ignition``    until Ignition has written the config
``join``        until the blade is in the swarm
==============  ====================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from labkit import events
from labkit.events import Event
from labkit.lab import Lab

STAGES = ("firmware", "loader", "kernel", "ignition", "join")


@dataclass(frozen=True)
class BladeState:
    """One blade's present boot. Times are wall-clock seconds, 0 where it has not happened; ``sent_b`` is bytes served.

    ``doing`` says in words what was last seen of it.
    """

    blade: str
    boot: str = ""
    power: str = "off"
    began: float = 0.0
    dhcp: float = 0.0
    kernel: float = 0.0
    init: float = 0.0
    ignition: float = 0.0
    os: float = 0.0
    joined: float = 0.0
    left: float = 0.0
    address: str = ""
    mac: str = ""
    sent_b: int = 0
    doing: str = ""
    trouble: str = ""

    @property
    def stage(self) -> str:
        """The stage it is in, ``joined`` when it is through, ``left`` or ``off``."""
        if self.power == "off":
            return "off"
        if self.left:
            return "left"
        if self.joined:
            return "joined"
        marks = (self.dhcp, self.kernel, self.init, self.ignition)
        for name, mark in zip(STAGES, marks, strict=False):
            if not mark:
                return name
        return "join"

    def seconds(self) -> dict[str, float]:
        """Seconds per finished stage. A stage whose end the blade cannot tell is counted in the one after it."""
        marks = (self.dhcp, self.kernel, self.init, self.ignition, self.joined)
        result = {}
        since = self.began
        for name, mark in zip(STAGES, marks, strict=True):
            if mark and since:
                result[name] = max(0.0, mark - since)
                since = mark
        return result

    @property
    def total_s(self) -> float:
        """Power-on to joined, 0 while that has not happened."""
        return self.joined - self.began if self.joined and self.began else 0.0


@dataclass(frozen=True)
class LabState:
    """All blades by name, and whether the lab is up."""

    up: bool = False
    blades: Mapping[str, BladeState] = field(default_factory=dict)

    def blade(self, name: str) -> BladeState:
        """A blade's state; one that was never heard of is off."""
        return self.blades.get(name, BladeState(name))


def fold(state: LabState, event: Event) -> LabState:
    """The state after one more event. Pure, and total: an event it has no use for changes nothing."""
    if isinstance(event, events.LabEvent):
        if event.state == "starting":
            return LabState()
        return replace(state, up=event.state == "up")
    if not event.blade:
        return state
    old = state.blade(event.blade)
    new = _fold_blade(old, event)
    return state if new is old else replace(state, blades={**state.blades, event.blade: new})


def fold_all(stream: Iterable[Event]) -> LabState:
    """The state after a whole stream."""
    state = LabState()
    for event in stream:
        state = fold(state, event)
    return state


def _fold_blade(old: BladeState, event: Event) -> BladeState:
    match event:
        case events.BootStarted():
            # Our own power-on begins a boot before the machine runs; a reboot begins with the firmware's first message.
            return BladeState(old.blade, boot=event.boot, power=old.power if event.cause == "power" else "on",
                              began=event.time, mac=old.mac, doing="boot began")  # fmt: skip
        case events.Power(state="on"):
            return replace(old, power="on", began=event.time, doing="power on")
        case events.Power(state="off"):
            return replace(old, power="off", doing=event.detail or "power off")
        case events.Power():
            return replace(old, doing=event.state)
        case events.Dhcp():
            return replace(
                old, dhcp=old.dhcp or event.time, mac=event.mac, address=event.address or old.address,
                doing=f"DHCP {event.message}" + (f" → {event.reply}" if event.reply else ""),
            )  # fmt: skip
        case events.Transfer():
            return _fold_transfer(old, event)
        case events.Phoned(stage="os" | "joined"):
            return _fold_phoned(old, event)
        case events.Ticket():
            return replace(old, doing=f"ticket {event.state}")
        case events.Leave(step="left" | "removed"):
            return replace(old, left=old.left or event.time, doing=f"leave: {event.step}")
        case events.Leave():
            return replace(old, doing=f"leave: {event.step}")
        case events.Trouble():
            return replace(old, trouble=event.detail)
        case _:
            return old


def _fold_transfer(old: BladeState, event: events.Transfer) -> BladeState:
    name = event.path.rsplit("/", 1)[-1]
    if event.state == "missing":
        return old
    kernel = old.kernel
    if not kernel and "vmlinuz" in name:
        kernel = event.time
    sent_b = old.sent_b + (event.sent_b if event.state in ("done", "failed") else 0)
    words = f"{event.protocol} {event.state}: {event.path}"
    return replace(old, kernel=kernel, sent_b=sent_b, doing=words)


def _fold_phoned(old: BladeState, event: events.Phoned) -> BladeState:
    started = event.time - event.uptime_s if event.uptime_s >= 0 else 0.0  # when its kernel started
    init = started + event.init_s if started and event.init_s >= 0 else old.init or started
    ignition = started + event.ignition_s if started and event.ignition_s >= 0 else old.ignition
    return replace(
        old, init=old.init or init, ignition=old.ignition or ignition, os=old.os or event.time,
        joined=old.joined or (event.time if event.stage == "joined" else 0.0),
        address=event.address or old.address, doing="joined the swarm" if event.stage == "joined" else "the OS is up",
    )  # fmt: skip


def grid(head: list[str], rows: list[list[str]]) -> str:
    """A table in plain text; columns as wide as they need."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "  ".join("─" * width for width in widths), *text[1:]])


def table(lab: Lab, state: LabState, extra: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """The blades of a lab: MAC, address, seconds per stage, and further columns (blade to title to text)."""
    more = extra or {}
    titles = list(dict.fromkeys(title for cells in more.values() for title in cells))
    head = ["blade", "MAC", "address", *(f"{name} s" for name in STAGES), "total s", "stage", *titles]
    rows = []
    for blade in lab.blades:
        now = state.blade(blade.name)
        took = now.seconds()
        rows.append(
            [blade.name, blade.macs[0], now.address or str(blade.address)]
            + [f"{took[name]:.1f}" if name in took else "-" for name in STAGES]
            + [f"{now.total_s:.1f}" if now.total_s else "-", now.stage]
            + [more.get(blade.name, {}).get(title, "-") for title in titles]
        )
    return grid(head, rows)
