"""A change that is refused since something came between is made again, and one that is refused for good is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import docker.errors
import pytest

from labkit.errors import SwarmError
from labkit.swarm import spec_changes

BETWEEN, LOST, NONE = "update out of sequence", "raft: node lost leader status", "the swarm does not have a leader"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses; the clock goes on by them alone."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(pauses))
    return pauses


def refused(*words: str, forever: str = "") -> Callable[[], None]:
    left = list(words)

    def update() -> None:
        if left or forever:
            raise docker.errors.APIError(left.pop(0) if left else forever)

    return update


@pytest.mark.parametrize(
    "words",
    [(), (BETWEEN,) * 9, (LOST,), (LOST, NONE, NONE), (BETWEEN, LOST)],
    ids=["at once", "between", "lost", "chosen", "both"],
)
def test_what_came_between_is_waited_out(slept: list[float], words: tuple[str, ...]) -> None:
    spec_changes.in_sequence(refused(*words))
    assert len(slept) == len(words)


@pytest.mark.parametrize(
    ("update", "most_s"),
    [
        (refused(forever="no such network"), 0),
        (refused(forever=NONE), 0),
        (refused(forever=BETWEEN), 1),
        (refused(LOST, forever=NONE), spec_changes.ELECTION_S + 1),
    ],
    ids=["wrong", "leaderless", "between", "lost"],
)
def test_what_stays_is_told(slept: list[float], update: Callable[[], None], most_s: float) -> None:
    with pytest.raises(SwarmError):
        spec_changes.in_sequence(update)
    assert sum(slept) <= most_s
