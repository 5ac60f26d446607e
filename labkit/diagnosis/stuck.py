"""When a boot stands still: how long each step usually takes, and the moment it has taken too long.

Pure: events and the time in, `labkit.events.Stuck` out. What may be behind it is `labkit.diagnosis.causes`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from labkit import events
from labkit.diagnosis.causes import Cause, explain
from labkit.diagnosis.circles import circling
from labkit.events import Event, folding, stages
from labkit.events.stages import BladeState, LabState
from labkit.lab import ChassisKind, Lab

VIRTUAL_S: Mapping[str, float] = {
    "firmware": 3.0, "dhcp": 2.0, "loader": 2.0, "config": 2.0, "kernel": 3.0, "initrd": 15.0, "ignition": 4.0,
    "os": 20.0, "join": 20.0,
}  # fmt: skip
"""Seconds a step takes on virtual blades without KVM, three at once on two cores, as measured."""
REAL_FIRMWARE_S = 120.0
"""A server's self-test before it asks the network: one to three minutes, more with much memory."""
PATIENCE = 3.0
SHORTEST_LIMIT_S = 30.0
SLOWEST_B_S = 1 << 20
"""What a transfer may take before anything is heard of it: the slowest firmware TFTP on a quiet network is above."""


def usual_times(boots: Iterable[BladeState], lab: Lab) -> dict[str, float]:
    """Seconds per step: the median of this lab's boots that came to their system, else what was measured elsewhere."""
    usual = dict(VIRTUAL_S)
    if lab.chassis.kind is ChassisKind.IPMI:
        usual["firmware"] = REAL_FIRMWARE_S
    seen: dict[str, list[float]] = {}
    for boot in boots:
        for step in boot.steps() if boot.os else ():
            if step.ended:
                seen.setdefault(step.name, []).append(step.seconds)
    return {**usual, **{name: statistics.median(took) for name, took in seen.items()}}


def limit_s(blade: BladeState, usual: Mapping[str, float]) -> float:
    """How long the blade's present step may take: three times its usual time, and time for what it fetches, which is as
    long as some of that arrives."""
    step = blade.step
    files_b = sum(one.size_b for one in blade.fetching.values() if stages.step_of(one.path) == step)
    files_b += blade.fetched.get(step, stages.NOTHING).sent_b
    return max(SHORTEST_LIMIT_S, PATIENCE * usual.get(step, 0.0)) + max(files_b / SLOWEST_B_S, blade.fetch_s(step))


def standing_s(blade: BladeState, state: LabState, now: float) -> float:
    """Seconds in the present step, 0 for a blade that is held or not on its way. Nobody can join a swarm that is not
    there, or that does not answer."""
    step = blade.step
    if step in ("off", "left", "joined") or blade.held or (step == "join" and (not state.swarm or state.silent)):
        return 0.0
    steps = blade.steps()
    since = steps[-1].began if steps else blade.began
    return now - max(since, state.swarm if step == "join" else 0.0) if since else 0.0


def find_stuck(lab: Lab, name: str, state: LabState, now: float, usual: Mapping[str, float]) -> events.Stuck | None:
    """The event for a blade that stands still and for which none has been told in this step of this boot."""
    blade = state.blade(name)
    told = blade.stuck is not None and blade.stuck.step == blade.step
    standing = standing_s(blade, state, now)
    if stages.is_handed_over(lab.blade(name), blade):
        return None
    if told or standing <= limit_s(blade, usual):
        return None
    what, causes = explain(lab, lab.blade(name), state)
    return events.Stuck(
        blade=name, boot=blade.boot, time=now, step=blade.step, seconds=round(standing, 1), what=what,
        causes=tuple(cause.what for cause in causes), fix=first_fix(causes),
    )  # fmt: skip


def first_fix(causes: Iterable[Cause]) -> str:
    """What to do about the likeliest cause, where something can be done."""
    return next((cause.fix for cause in causes if cause.fix), "")


class Watch:
    """Follows a lab's events and finds the blades that stand still. ``past`` are the events of earlier boots.

    ``lab`` may be put in place of another.
    """

    KEPT_BOOTS = 50

    def __init__(self, lab: Lab, past: Iterable[Event] = ()) -> None:
        self.lab = lab
        self._state = LabState()
        self._finished: dict[str, BladeState] = {}
        for event in past:
            self.take(event)

    def take(self, event: Event) -> None:
        """One more event."""
        self._state = folding.fold(self._state, event)
        if isinstance(event, events.Phoned) and event.boot:
            self._finished.pop(event.boot, None)
            self._finished[event.boot] = self._state.blade(event.blade)
            while len(self._finished) > self.KEPT_BOOTS:
                del self._finished[next(iter(self._finished))]

    def circling(self) -> list[tuple[str, str]]:
        """The blades that boot in a circle and are not held yet, each with why it is to be."""
        found = ((blade.name, self._state.blade(blade.name)) for blade in self.lab.blades)
        return [(name, why) for name, boot in found if not boot.held and (why := circling(boot))]

    def due(self, now: float) -> list[events.Stuck]:
        """What is to be told now. Taking the events in keeps them from being told again."""
        usual = usual_times(self._finished.values(), self.lab)
        found = (find_stuck(self.lab, blade.name, self._state, now, usual) for blade in self.lab.blades)
        return [event for event in found if event is not None]
