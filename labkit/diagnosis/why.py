"""Why a blade is where it is: where it stands, what was seen of it, and what to do next.

Pure: a record of events and the time in, words out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from labkit import events
from labkit.diagnosis.causes import Cause, explain, failed_fix, is_refused
from labkit.diagnosis.early_failure import BOOTS
from labkit.diagnosis.stuck import limit_s, standing_s
from labkit.events import Event, stages
from labkit.events.stages import BladeState, LabState, is_handed_over
from labkit.lab import Blade, Lab

FULL = (
    "have less in it, or give it more memory, or a larger disk: ./lab ssh {name} sudo docker ps --size shows what "
    "containers wrote; what a service keeps belongs in a volume on the share (docs/swarm.md)"
)
PUT_OUT = (
    "it was cut off for longer than lost_after under swarm: in lab.yaml, or somebody removed its node. Once it reaches "
    "the lab again it notices, leaves by itself and joins anew"
)
HOT = (
    "see that its fans turn and that nothing is in the way of the air: ./lab power sensors {name} has all that its BMC "
    "measures, ./lab power identify {name} lights its lamp; ./lab power shutdown {name} lets it cool down"
)
BATTERY = "if it is so at each boot, its battery is empty, or its firmware keeps local time"
LOST = (
    "look at the machine when you may switch it off; ./lab inventory {name} shows what it has, and its next boot tells "
    "whether that is back"
)
EVIDENCE = 8
TOLD_BOOTS = 3


@dataclass(frozen=True)
class Why:
    """The answer. ``well`` says that nothing is wrong; ``causes`` are the likely ones, the likeliest first."""

    blade: str
    step: str
    well: bool
    where: str
    next: str
    evidence: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.blade}: {self.where}"]
        if self.evidence:
            lines += ["", "what was seen last:", *(f"  {line}" for line in self.evidence)]
        if self.causes:
            lines += ["", "likely causes, the likeliest first:"]
            for number, cause in enumerate(self.causes, 1):
                lines.append(f"  {number}. {cause.what}" + (f"\n     {cause.fix}" if cause.fix else ""))
        return "\n".join([*lines, "", f"next: {self.next}"])

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self)


def why(
    lab: Lab,
    blade: Blade,
    state: LabState,
    stream: Iterable[Event],
    usual: Mapping[str, float],
    now: float,
    *,
    up: bool,
) -> Why:
    """Tell of one blade. ``stream`` is all events, ``up`` whether the lab's supervisor answers."""
    boot = state.blade(blade.name)
    stream = list(stream)
    seen = evidence(stream, boot)
    if not up:
        where = "the lab is not up" + (f"; when it was, this blade was {_was(boot)}" if boot.boot else "")
        return Why(blade.name, "off", False, where, "./lab up", seen)
    if boot.held:
        return _held(lab, blade, state, seen)
    if boot.step == "off":
        return _off(blade, boot, seen)
    if boot.step == "left":
        where = f"it left the swarm at {_clock(boot.left)}, in order, and is shutting down"
        return Why(blade.name, "left", True, where, f"./lab power on {blade.name} boots it again", seen)
    if boot.failed is not None:
        return _failed(boot, boot.failed, seen)
    if boot.step == "joined" and boot.removed:
        where = (
            f"it joined the swarm at {_clock(boot.joined)} and was put out of it at {_clock(boot.removed)}: {PUT_OUT}"
        )
        log = f"./lab ssh {blade.name} journalctl -u labkit-member -u docker-swarm-join"
        return Why(blade.name, "joined", False, where, f"wait a minute; if it does not come back: {log}", seen)
    if boot.step == "joined" and boot.measured is not None and boot.hot:
        where = (
            f"it joined the swarm at {_clock(boot.joined)}, and is too hot: {boot.hot}, at {_clock(boot.measured.time)}"
        )
        return Why(blade.name, "joined", False, where, HOT.format(name=blade.name), seen)
    if boot.step == "joined" and boot.full is not None:
        where = f"it joined the swarm at {_clock(boot.joined)}, and since {_clock(boot.full.time)} {boot.full}"
        return Why(blade.name, "joined", False, where, FULL.format(name=blade.name), seen)
    if boot.step == "joined" and boot.without_disk is not None:
        where = f"it joined the swarm at {_clock(boot.joined)}, without its disk: {boot.without_disk.detail}"
        return Why(blade.name, "joined", False, where, boot.without_disk.fix, seen)
    if boot.step == "joined" and boot.lost:
        lost = "; ".join(dict.fromkeys(event.detail for event in boot.lost))
        where = f"it joined the swarm at {_clock(boot.joined)}, and has lost something since its last boot: {lost}"
        return Why(blade.name, "joined", False, where, LOST.format(name=blade.name), seen)
    if is_handed_over(blade, boot):
        where = "it has its kernel and its archives; its system is your own (os: custom) and tells the lab nothing more"
        return Why(
            blade.name, boot.step, True, where, f"its console says how it goes: ./lab console {blade.name}", seen
        )
    if boot.step == "joined":
        where = f"all is well: it joined the swarm at {_clock(boot.joined)}" + (
            f", {boot.total_s:.1f} s after power-on" if boot.total_s else ""
        )
        where += _card(blade, boot, stream)
        where += f"; its clock was {boot.clock} and was set: {BATTERY}" if boot.clock else ""
        return Why(blade.name, "joined", True, where, f"nothing to do; ./lab ssh {blade.name} logs in", seen)
    return _on_its_way(lab, blade, state, seen, usual, now)


def _failed(boot: BladeState, failed: events.UnitFailed, seen: tuple[str, ...]) -> Why:
    """Of a blade of which a unit is down for good: what that unit said last."""
    since = f"; it joined the swarm at {_clock(boot.joined)}" if boot.joined else f", in step '{boot.step}'"
    where = f"{failed} ({_clock(failed.time)}{since})"
    said = tuple(f"{failed.unit}: {line}" for line in failed.said)
    return Why(boot.blade, boot.step, False, where, failed_fix(failed), said or seen)


def _card(blade: Blade, boot: BladeState, stream: Iterable[Event]) -> str:
    """Which of its cards a blade has its address by, where it has several."""
    held = [
        event.mac
        for event in stream
        if isinstance(event, events.Dhcp) and (event.blade, event.boot, event.reply) == (blade.name, boot.boot, "ACK")
    ]
    if len(blade.macs) == 1 or not held or held[-1] not in blade.macs:
        return ""
    return f", by its card {blade.macs.index(held[-1]) + 1} of {len(blade.macs)} ({held[-1]})"


def evidence(stream: Iterable[Event], boot: BladeState) -> tuple[str, ...]:
    """The last events of a blade's boot, and those before that only say why it has none."""
    mine = [event for event in stream if event.blade == boot.blade and event.boot in (boot.boot, "")]
    told = [event for event in mine if not isinstance(event, events.Stuck) and not _is_quiet(event)]
    return tuple(events.describe(event) for event in told[-EVIDENCE:])


def _is_quiet(event: Event) -> bool:
    """Whether an event says only that a blade is as warm as it may be."""
    return isinstance(event, events.Measured) and not event.hot


def _off(blade: Blade, boot: BladeState, seen: tuple[str, ...]) -> Why:
    on = f"./lab power on {blade.name}; ./lab rehearse {blade.name} tries its boot without"
    if boot.troubled is not None:
        fix = boot.troubled.fix or "correct that"
        return Why(blade.name, "off", False, f"it is off, and could not boot: {boot.trouble}", fix, seen)
    where = f"it is off ({boot.doing})" if boot.boot else "it is off, and was not switched on since the lab is up"
    return Why(blade.name, "off", True, where, on, seen)


def _held(lab: Lab, blade: Blade, state: LabState, seen: tuple[str, ...]) -> Why:
    """Of a blade that gets no kernel: what may have ended the last of its boots."""
    boot = state.blade(blade.name)
    causes: tuple[Cause, ...] = ()
    if boot.before:
        _, causes = explain(lab, blade, replace(state, blades={**state.blades, blade.name: boot.before[-1]}))
    release = f"mend that (./lab console {blade.name} --log has its last words), then ./lab power release {blade.name}"
    return Why(blade.name, boot.step, False, f"it is held and gets no kernel: {boot.held}", release, seen, causes)


def _on_its_way(
    lab: Lab, blade: Blade, state: LabState, seen: tuple[str, ...], usual: Mapping[str, float], now: float
) -> Why:
    boot = state.blade(blade.name)
    standing, limit = standing_s(boot, state, now), limit_s(boot, usual)
    if boot.step == "join" and state.silent is not None:
        where = f"its system is up since {_clock(boot.os)} and waits: {state.silent.detail}"
        return Why(blade.name, "join", False, where, state.silent.fix or "./lab swarm says more", seen)
    if boot.step == "join" and not state.swarm:
        where = f"its system is up since {_clock(boot.os)} and waits: there is no swarm yet"
        return Why(blade.name, "join", True, where, "./lab run makes one, or notebook 03", seen)
    where = f"step '{boot.step}' of {' → '.join(_path(boot))}, since {standing:.0f} s"
    what, causes = explain(lab, blade, state)
    circles = "; ".join(
        f"a boot before it came to step '{one.step}' in {one.over - one.began:.0f} s and ended there"
        for one in boot.before[-TOLD_BOOTS:]
    )
    if len(boot.before) + 1 >= BOOTS:
        ended = boot.before[-1]
        _, found = explain(lab, blade, replace(state, blades={**state.blades, blade.name: ended}))
        where = f"it boots again and again, {len(boot.before) + 1} times by now, {where}: {circles}"
        console = f"./lab console {blade.name} --log has the last words of each boot"
        return Why(blade.name, boot.step, False, where, console, seen, found)
    where += f" ({circles})" if circles else ""
    if standing <= limit and not boot.trouble and not is_refused(lab, blade, boot):
        where += f"; usually {usual.get(boot.step, 0.0):.0f} s. Nothing is wrong so far"
        later = f"wait: it counts as stuck after {limit:.0f} s; ./lab events {blade.name} --follow shows it go on"
        return Why(blade.name, boot.step, True, where, later, seen)
    fix = next((cause.fix for cause in causes if cause.fix), f"./lab console {blade.name} --log")
    return Why(blade.name, boot.step, False, f"{where}: {what}", fix, seen, causes)


def _path(boot: BladeState) -> list[str]:
    """The steps that lead to the swarm, those a boot has not had left out where it is past them."""
    had = [step.name for step in boot.steps()]
    last = stages.STEPS.index(boot.step)
    return [name for number, name in enumerate(stages.STEPS) if name in had or number > last]


def _was(boot: BladeState) -> str:
    return boot.step if boot.step in ("off", "left", "joined") else f"in step '{boot.step}'"


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
