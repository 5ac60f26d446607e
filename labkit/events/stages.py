"""How far each blade is: the stream of events folded into one small state a blade.

Nothing is looked at but events, so a boot that is running, one that is over and one from a kept record are told alike.
The stages of a boot, in order, each ending where the next begins, and the steps they are made of:

==============  ===================================================================================  ==================
stage           until                                                                                steps
==============  ===================================================================================  ==================
``firmware``    the blade's first DHCP message                                                       firmware
``loader``      the kernel is asked for: boot loader and its configuration                           dhcp loader config
``kernel``      the first process runs: kernel and initrds are fetched, the kernel starts, unpacks   kernel initrd
``ignition``    Ignition has written the config                                                      ignition
``join``        the blade is in the swarm                                                            os join
==============  ===================================================================================  ==================

A step begins with the first thing seen of it: DHCP with a message, loader to initrd with the first request for such a
file, ``os`` where Ignition ended, ``join`` when the operating system said that it is up. A step that a boot method does
not have, or of which a blade told nothing, is left out, and its time belongs to the step before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from labkit import events
from labkit.events import Event, part_deaths
from labkit.lab import Lab

STAGES = ("firmware", "loader", "kernel", "ignition", "join")
STEPS = ("firmware", "dhcp", "loader", "config", "kernel", "initrd", "ignition", "os", "join")

KEPT_REFUSALS = 8
KEPT_BOOTS = 8
KEPT_STRANGERS = 16


def step_of(path: str) -> str:
    """The step that fetches a file: ``kernel``, ``initrd``, ``config`` or ``loader``, told by the file's name."""
    name = path.rsplit("/", 1)[-1]
    if "vmlinuz" in name or "live-kernel" in name:
        return "kernel"
    if ".cpio" in name or "initrd" in name or "initramfs" in name or "rootfs" in name:
        return "initrd"
    if "pxelinux.cfg/" in path or name.endswith((".ipxe", ".cfg", ".msg")):
        return "config"
    return "loader"


@dataclass(frozen=True)
class Fetched:
    """The files a step has fetched whole: how many, their bytes, and the seconds their transfers took together."""

    files: int = 0
    sent_b: int = 0
    seconds: float = 0.0

    @property
    def rate_b_s(self) -> float:
        """Bytes a second while something was on its way, 0 where nothing was."""
        return self.sent_b / self.seconds if self.seconds else 0.0


NOTHING = Fetched()


@dataclass(frozen=True)
class Step:
    """One step of a boot. ``ended`` is 0 while it goes on."""

    name: str
    began: float
    ended: float
    fetched: Fetched = NOTHING

    @property
    def seconds(self) -> float:
        """How long it took, 0 while it goes on."""
        return max(0.0, self.ended - self.began) if self.ended else 0.0


@dataclass(frozen=True)
class BladeState:
    """One blade's present boot. Times are wall-clock seconds, 0 where it has not happened; ``sent_b`` is bytes served.

    ``doing`` says in words what was last seen of it, ``heard`` when. ``network`` is when its operating system asked for
    an address, ``over`` when its power went and ``cut`` whether somebody cut it. ``leaving`` says that its system
    shuts down in order. ``before`` are the boots in a row that ended before this one without anybody's doing and
    without a word, oldest first: a blade that boots again and again has several. ``fetching`` are the transfers that
    go on, by path; ``refused`` the last files it did not get.
    """

    blade: str
    boot: str = ""
    power: str = "off"
    began: float = 0.0
    dhcp: float = 0.0
    loader: float = 0.0
    config: float = 0.0
    kernel: float = 0.0
    initrd: float = 0.0
    network: float = 0.0
    init: float = 0.0
    ignition: float = 0.0
    os: float = 0.0
    joined: float = 0.0
    left: float = 0.0
    over: float = 0.0
    cut: bool = False
    leaving: bool = False
    heard: float = 0.0
    address: str = ""
    mac: str = ""
    sent_b: int = 0
    doing: str = ""
    fetched: Mapping[str, Fetched] = field(default_factory=dict)
    fetching: Mapping[str, events.Transfer] = field(default_factory=dict)
    refused: tuple[events.Transfer, ...] = ()
    asked: events.Dhcp | None = None
    ticket: events.Ticket | None = None
    stuck: events.Stuck | None = None
    troubled: events.Trouble | None = None
    before: tuple[BladeState, ...] = ()

    @property
    def trouble(self) -> str:
        """What went wrong last, in words."""
        return self.troubled.detail if self.troubled is not None else ""

    @property
    def is_unbelieving(self) -> bool:
        """Whether it could not speak to the lab over HTTPS when it last tried."""
        return self.troubled is not None and self.troubled.part == events.TLS

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

    @property
    def step(self) -> str:
        """The step it is in, as finely as can be told now; ``joined``, ``left`` or ``off`` as in `stage`."""
        stage = self.stage
        if stage in ("off", "left", "joined"):
            return stage
        steps = self.steps()
        return steps[-1].name if steps else "firmware"

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

    def steps(self) -> tuple[Step, ...]:
        """The steps so far, in order, each beginning where the one before it ends."""
        marks = (
            self.began, self.dhcp, self.loader, self.config, self.kernel, self.initrd, self.init,
            self.ignition or self.network, self.os,
        )  # fmt: skip
        begun: list[tuple[str, float]] = []
        for name, mark in zip(STEPS, marks, strict=True):
            if mark and (not begun or mark >= begun[-1][1]):
                begun.append((name, mark))
        ends = [mark for _, mark in begun[1:]] + [self.joined]
        return tuple(
            Step(name, began, ended, self.fetched.get(name, NOTHING))
            for (name, began), ended in zip(begun, ends, strict=False)
        )

    @property
    def total_s(self) -> float:
        """Power-on to joined, 0 while that has not happened."""
        return self.joined - self.began if self.joined and self.began else 0.0


@dataclass(frozen=True)
class LabState:
    """All blades by name, whether the lab is up, and what concerns no single blade.

    ``swarm`` is when there was a swarm first, ``strangers`` the machines that asked and are not in the lab, by MAC,
    ``dead`` the parts that do not run. ``deaths`` are, by part, the last in a row for the same reason.
    """

    up: bool = False
    blades: Mapping[str, BladeState] = field(default_factory=dict)
    swarm: float = 0.0
    strangers: Mapping[str, events.UnknownMachine] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()
    deaths: Mapping[str, tuple[events.Part, ...]] = field(default_factory=dict)

    def blade(self, name: str) -> BladeState:
        """A blade's state; one that was never heard of is off."""
        return self.blades.get(name, BladeState(name))


def fold(state: LabState, event: Event) -> LabState:
    """The state after one more event. Pure, and total: an event it has no use for changes nothing."""
    if isinstance(event, events.LabEvent):
        if event.state == "starting":
            return LabState()
        return replace(state, up=event.state == "up")
    if event.boot == events.REHEARSAL:
        return state
    if not event.blade:
        return _fold_lab(state, event)
    old = state.blade(event.blade)
    new = _fold_blade(old, event)
    if isinstance(event, events.BootStarted):
        new = replace(new, before=_in_a_row(state, old, event))
    return state if new is old else replace(state, blades={**state.blades, event.blade: new})


def fold_all(stream: Iterable[Event]) -> LabState:
    """The state after a whole stream."""
    state = LabState()
    for event in stream:
        state = fold(state, event)
    return state


def _fold_lab(state: LabState, event: Event) -> LabState:
    match event:
        case events.UnknownMachine():
            others = {mac: one for mac, one in state.strangers.items() if mac != event.mac}
            while len(others) >= KEPT_STRANGERS:
                del others[next(iter(others))]
            return replace(state, strangers={**others, event.mac: event})
        case events.Part(state="died"):
            deaths = {**state.deaths, event.part: part_deaths.row(state.deaths.get(event.part, ()), event)}
            return replace(state, dead=state.dead | {event.part}, deaths=deaths)
        case events.Part(state="silent"):
            return replace(state, dead=state.dead | {event.part})
        case events.Part(state="started" | "answers") if event.part in state.dead:
            return replace(state, dead=state.dead - {event.part})
        case events.Swarm(action="gone"):
            return replace(state, swarm=0.0)
        case events.Swarm() if not state.swarm:
            return replace(state, swarm=event.time)
        case _:
            return state


def _in_a_row(state: LabState, old: BladeState, event: events.BootStarted) -> tuple[BladeState, ...]:
    """The boots before the one that begins now that ended by themselves, one after the other.

    A button that somebody pressed, a shutdown in order, a blade that had joined, and a boot under which the lab's own
    boot server died end the row.
    """
    served = all(death.time < old.began for death in state.deaths.get("bootd", ())[-1:])
    by_itself = event.cause == "pxe" and bool(old.boot) and old.power == "on" and not (old.leaving or old.left)
    if not by_itself or old.joined or not served:
        return ()
    ended = replace(old, over=event.time, before=())
    return (*old.before, ended)[-KEPT_BOOTS:]


def _fold_blade(old: BladeState, event: Event) -> BladeState:
    match event:
        case events.BootStarted():
            # Our own power-on begins a boot before the machine runs; a reboot begins with the firmware's first message.
            # A real slot's power-on is known without a boot: the firmware's first message is that boot's.
            is_awaited = old.power == "on" and not old.boot
            return BladeState(
                old.blade, boot=event.boot, power=old.power if event.cause == "power" else "on",
                began=old.began if is_awaited else event.time, heard=event.time, mac=old.mac, doing="boot began",
            )  # fmt: skip
        case events.Power(state="on"):
            now = BladeState(old.blade, mac=old.mac) if old.over else old
            return replace(now, power="on", began=event.time, heard=event.time, doing="power on")
        case events.Power(state="off"):
            words = event.detail or "power off"
            is_cut = event.detail in ("", events.CUT)
            return replace(old, power="off", over=event.time, cut=is_cut, heard=event.time, doing=words)
        case events.Power():
            return replace(old, doing=event.state)
        case events.Dhcp():
            return _fold_dhcp(old, event)
        case events.Transfer():
            return _fold_transfer(old, event)
        case events.Phoned(stage="os" | "joined"):
            return _fold_phoned(old, event)
        case events.Ticket():
            return replace(old, ticket=event, heard=event.time, doing=f"ticket {event.state}")
        case events.Leave(step="left" | "removed"):
            return replace(
                old, left=old.left or event.time, leaving=True, heard=event.time, doing=f"leave: {event.step}"
            )
        case events.Leave():
            return replace(old, leaving=True, heard=event.time, doing=f"leave: {event.step}")
        case events.Trouble():
            return replace(old, troubled=event)
        case events.Stuck():
            return replace(old, stuck=event)
        case _:
            return old


def _fold_dhcp(old: BladeState, event: events.Dhcp) -> BladeState:
    network = event.time if event.client == "os" and old.kernel and not old.network else old.network
    return replace(
        old, dhcp=old.dhcp or event.time, network=network, mac=event.mac, address=event.address or old.address,
        asked=event, heard=event.time, doing=f"DHCP {event.message}" + (f" → {event.reply}" if event.reply else ""),
    )  # fmt: skip


def _fold_transfer(old: BladeState, event: events.Transfer) -> BladeState:
    others = {path: one for path, one in old.fetching.items() if path != event.path}
    refused = old.refused
    if event.state in ("missing", "failed"):
        refused = (*refused, event)[-KEPT_REFUSALS:]
    if event.state == "missing":
        return replace(old, refused=refused, heard=event.time)
    step = step_of(event.path)
    fetched, sent_b = old.fetched, old.sent_b
    if event.state in ("done", "failed"):
        sent_b += event.sent_b
    if event.state == "done" and event.sent_b:
        had = fetched.get(step, NOTHING)
        now = Fetched(had.files + 1, had.sent_b + event.sent_b, had.seconds + event.seconds)
        fetched = {**fetched, step: now}
    if event.state == "started":
        others[event.path] = event
    # What a booted system fetches later begins no earlier step anew.
    return replace(
        old,
        loader=old.loader or (event.time if step == "loader" and not (old.config or old.kernel) else 0.0),
        config=old.config or (event.time if step == "config" and not old.kernel else 0.0),
        kernel=old.kernel or (event.time if step == "kernel" else 0.0),
        initrd=old.initrd or (event.time if step == "initrd" else 0.0),
        sent_b=sent_b, fetched=fetched, fetching=others, refused=refused, heard=event.time,
        doing=f"{event.protocol} {event.state}: {event.path}",
    )  # fmt: skip


def _fold_phoned(old: BladeState, event: events.Phoned) -> BladeState:
    started = event.time - event.uptime_s if event.uptime_s >= 0 else 0.0  # when its kernel started
    init = started + event.init_s if started and event.init_s >= 0 else old.init or started
    ignition = started + event.ignition_s if started and event.ignition_s >= 0 else old.ignition
    return replace(
        old, init=old.init or init, ignition=old.ignition or ignition, os=old.os or event.time,
        joined=old.joined or (event.time if event.stage == "joined" else 0.0), heard=event.time,
        troubled=None if old.is_unbelieving else old.troubled,
        address=event.address or old.address, doing="joined the swarm" if event.stage == "joined" else "the OS is up",
    )  # fmt: skip


def summary(blade: BladeState) -> dict[str, Any]:
    """A blade's state for JSON: its marks and words, its stage and step, and what each step took and fetched."""
    plain = {key: value for key, value in vars(blade).items() if isinstance(value, str | int | float)}
    steps = [
        {
            "step": step.name,
            "began": step.began,
            "seconds": round(step.seconds, 3) if step.ended else None,
            "files": step.fetched.files,
            "bytes": step.fetched.sent_b,
            "bytes_per_s": round(step.fetched.rate_b_s),
        }
        for step in blade.steps()
    ]
    told = {"trouble": blade.trouble, "stage": blade.stage, "step": blade.step}
    return {**plain, **told, "total_s": round(blade.total_s, 3), "steps": steps}


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
