"""The report of boots: each blade's last one, or all of them, in text, as JSON, and as a picture.

Pure: a stream of events in, words out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.diagnosis.stuck import usual_times
from labkit.events import Event, folding, tables
from labkit.events.amounts import size
from labkit.events.stages import STEPS, BladeState, LabState
from labkit.lab import Lab
from labkit.pictures.timeline import outcome


@dataclass(frozen=True)
class Record:
    """What a stream of events tells of boots: those that are over, in the order they ended, and the state now."""

    over: tuple[BladeState, ...]
    state: LabState

    @classmethod
    def of(cls, stream: Iterable[Event]) -> Record:
        """Fold a whole stream, over every time that the lab was up."""
        over: list[BladeState] = []
        state = LabState()
        for event in stream:
            before, state = state, folding.fold(state, event)
            if state.blades is before.blades:
                continue
            if not event.blade:  # the lab was started anew
                over += [old for old in before.blades.values() if old.boot and old.blade not in state.blades]
            elif (old := before.blade(event.blade)).boot and old.boot != state.blade(event.blade).boot:
                over.append(old)
        return cls(tuple(over), state)

    def boots(self, blade: str) -> list[BladeState]:
        """All boots of a blade, the latest last."""
        now = self.state.blade(blade)
        return [boot for boot in self.over if boot.blade == blade] + ([now] if now.boot else [])

    def last(self, blade: str) -> BladeState | None:
        """The latest boot of a blade."""
        return next(reversed(self.boots(blade)), None)

    def usual(self, lab: Lab) -> dict[str, float]:
        """Seconds a step usually takes here."""
        return usual_times([*self.over, *self.state.blades.values()], lab)


def choose_boots(record: Record, blades: Sequence[str], *, every: bool) -> list[BladeState]:
    """The last boot of each blade, or every one, in the blades' order."""
    found = [record.boots(name) for name in blades]
    return [boot for boots in found for boot in (boots if every else boots[-1:])]


def render_text(boots: Sequence[BladeState], usual: Mapping[str, float], width: int | None = None) -> str:
    """Two tables: seconds a step, with the usual ones in the last line, and what was fetched."""
    if not boots:
        return "no boot has been seen"
    names = [name for name in STEPS if any(step.name == name for boot in boots for step in boot.steps())]
    rows, fetched = [], []
    for boot in boots:
        steps = {step.name: step for step in boot.steps()}
        took = [_seconds(steps[name].seconds, steps[name].ended) if name in steps else "-" for name in names]
        began = time.strftime("%H:%M:%S", time.localtime(boot.began))
        rows.append([boot.blade, began, *took, outcome(boot)])
        for step in steps.values():
            if step.fetched.files:
                got = step.fetched
                rate = f"{size(got.rate_b_s)}/s" if got.rate_b_s else "-"
                fetched.append([boot.blade, step.name, str(got.files), size(got.sent_b), f"{got.seconds:.2f}", rate])
    rows.append(["usually", "", *(f"{usual[name]:.1f}" if name in usual else "-" for name in names), ""])
    text = tables.grid(["blade", "began", *(f"{name} s" for name in names), ""], rows, width)
    if fetched:
        text += "\n\n" + tables.grid(["blade", "step", "files", "bytes", "s", "rate"], fetched)
    return text


def as_json(boots: Sequence[BladeState], usual: Mapping[str, float]) -> dict[str, Any]:
    """The report for programs: ``{"usual_s": {step: seconds}, "boots": [{"blade", "outcome", "steps", …}]}``."""
    rows = [{**tables.summary(boot), "outcome": outcome(boot)} for boot in boots]
    return {"usual_s": {name: round(seconds, 3) for name, seconds in usual.items()}, "boots": rows}


def _seconds(seconds: float, ended: float) -> str:
    return f"{seconds:.1f}" if ended else "…"
