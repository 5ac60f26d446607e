"""The way of a request: from here to any blade's port, over the mesh to a replica, and back. PURE."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Protocol

from labkit.pictures.sequence_diagram import Lifeline, Step, draw_steps
from labkit.pictures.svg import Picture

MOST_WAYS = 8
LIFELINES = {
    "here": Lifeline(140, "this notebook"), "port": Lifeline(350, "a blade's port"),
    "mesh": Lifeline(555, "routing mesh"), "replica": Lifeline(755, "a replica"),
}  # fmt: skip


class Answered(Protocol):
    """What is read of an answer (`labkit.swarm.services.http_probe.Answer`); ``ms`` is milliseconds."""

    @property
    def blade(self) -> str: ...
    @property
    def replica(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def ms(self) -> float: ...
    @property
    def error(self) -> str: ...


def draw_requests(answers: Iterable[Answered], port: int) -> Picture:
    """Every way that requests took, as their answers tell: which blade was asked, and which replica answered."""
    ways: dict[tuple[str, str], list[Answered]] = {}
    for answer in answers:
        ways.setdefault((answer.blade, answer.replica), []).append(answer)
    steps = [step for way in sorted(ways)[:MOST_WAYS] for step in _steps(ways[way], port)]
    if len(ways) > MOST_WAYS:
        steps.append(Step("", "here", "here", f"and {len(ways) - MOST_WAYS} more ways"))
    return draw_steps("The ways that the requests took", LIFELINES, steps, "nothing was asked yet")


def _steps(answers: Sequence[Answered], port: int) -> list[Step]:
    first = answers[0]
    asked = Step(f"{len(answers)} ×", "here", "port", f"GET / at {first.blade}:{port}")
    if not first.status:
        return [asked, Step("", "port", "here", first.error or "no answer", strong=True)]
    name, _, place = first.replica.rpartition(".")
    there = "the same blade" if place == first.blade else place
    back = f"{first.status}, in {statistics.median(answer.ms for answer in answers):.1f} ms"
    return [
        asked,
        Step("", "port", "mesh", "which replica?", beside=True),
        Step("", "mesh", "replica", f"{name} on {there}" if name else first.replica or "one of them", beside=True),
        Step("", "replica", "here", f"{back}, by {first.replica or 'a replica that gives no name'}"),
    ]
