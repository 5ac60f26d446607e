"""Why requests failed: told from lives of replicas that are written down here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from labkit.swarm.services.http_probe import Answer
from tests.rig.losses import LATE_S, NOBODY, NOT_TOLD, TOLD_S, UNEXPLAINED, Change, explain, serving

HEALTHY = "health_status: healthy"
DEATH = [Change(10, "web.1", "kill"), Change(10.5, "web.1", "die")]
RETURN = [Change(20, "web.1.new", "start"), Change(23, "web.1.new", HEALTHY)]


def asked(at_s: float, *, ms: float = 5, error: str = "Connection refused") -> Answer:
    return Answer("blade1", "10.0.0.1", 0 if error else 200, "", ms, error=error, began_s=at_s)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ([], [2]),
        (DEATH, [2, 1, 1]),
        (DEATH + RETURN, [2, 1, 1, 1, 2]),
        ([*RETURN, Change(26, "web.1.new", HEALTHY)], [2, 2, 3, 3]),
        ([RETURN[0], Change(21, "web.1.new", "kill"), Change(22, "web.1.new", "die")], [2, 2, 2, 2]),  # never served
    ],
    ids=["nothing moves", "a death", "a death and a return", "well once more", "killed while it starts"],
)
def test_how_many_serve(changes: Sequence[Change], counts: list[int]) -> None:
    assert [count for _, count in serving(changes, at_first=2)] == counts


@pytest.mark.parametrize(
    ("answer", "at_first", "reason"),
    [
        (asked(12), 1, NOBODY),
        (asked(10 - LATE_S / 2), 1, NOBODY),  # the engine's word came late
        (asked(6, ms=5000), 1, NOBODY),
        (asked(12), 2, NOT_TOLD),
        (asked(24), 1, NOT_TOLD),
        (asked(5), 1, UNEXPLAINED),
        (asked(23 + TOLD_S + 1), 1, UNEXPLAINED),
    ],
    ids=["gone", "going", "under way", "another serves", "just come", "before", "long after"],
)
def test_a_failure_has_its_reason(answer: Answer, at_first: int, reason: str) -> None:
    assert explain([answer], DEATH + RETURN, at_first) == {reason: 1}


def test_what_was_answered_needs_no_reason() -> None:
    assert explain([asked(12, error="")], DEATH, 1).total() == 0
