"""What follows when a part does not answer: the moment it is told, and the moment it is started anew."""

from __future__ import annotations

from labkit.events import Event, Part
from labkit.servers.unresponsive import ANEW_AFTER_S, Silences

WELL = {"bootd": {"HTTP": "", "TFTP": ""}}
ILL = {"bootd": {"HTTP": "", "TFTP": "nothing within 3 s"}}


class Rounds:
    """Rounds of questions, five seconds apart."""

    def __init__(self) -> None:
        self.silences, self.now = Silences(), 100.0
        self.told: list[Event] = []
        self.ended: list[tuple[float, str]] = []

    def take(self, answers: dict[str, dict[str, str]], pid: int = 7, times: int = 1, part: str = "bootd") -> None:
        for _ in range(times):
            told, ended = self.silences.take(answers, {part: pid}, self.now)
            self.told += told
            self.ended += [(self.now, name) for name in ended]
            self.now += 5

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(event.state, event.detail) for event in self.told if isinstance(event, Part)]


def test_one_late_answer_is_nothing() -> None:
    rounds = Rounds()
    for answers in (WELL, ILL, WELL, ILL, WELL):
        rounds.take(answers)
    assert not rounds.told and not rounds.ended


def test_silence_is_told_once_and_that_it_is_over() -> None:
    rounds = Rounds()
    rounds.take(WELL)
    rounds.take(ILL, times=4)
    rounds.take(WELL)
    rounds.take(WELL)
    why = "TFTP does not answer (nothing within 3 s)"
    assert rounds.states == [("silent", why), ("answers", "after 20 s")] and not rounds.ended


def test_a_part_that_has_answered_is_started_anew_after_a_while() -> None:
    rounds = Rounds()
    rounds.take(WELL)
    rounds.take(ILL, times=8)
    assert rounds.ended == [(105.0 + ANEW_AFTER_S, "bootd")]
    assert rounds.states[-1][1].endswith("TFTP does not answer (nothing within 3 s): it is ended and started anew")


def test_one_that_never_answered_is_not_started_again_and_again() -> None:
    rounds = Rounds()
    rounds.take(WELL)
    rounds.take(ILL, times=8)
    rounds.take(ILL, pid=8, times=50)
    assert len(rounds.ended) == 1


def test_time_alone_ends_nothing() -> None:
    """After the machine has slept, one round is late by hours."""
    rounds = Rounds()
    rounds.take(WELL)
    rounds.take(ILL, times=2)
    rounds.now += 10_000
    rounds.take(ILL)
    assert not rounds.ended


def test_a_part_that_does_not_run_is_not_waited_for() -> None:
    rounds = Rounds()
    rounds.take(WELL)
    rounds.take(ILL, times=5)
    rounds.take({}, pid=0)
    rounds.take(WELL, pid=8)
    rounds.take(ILL, pid=8, times=4)
    assert not rounds.ended


def test_the_engine_is_told_and_left_alone() -> None:
    rounds = Rounds()
    rounds.take({"engine": {"API": ""}}, part="engine")
    rounds.take({"engine": {"API": "nothing within 3 s"}}, part="engine", times=50)
    assert [state for state, _ in rounds.states] == ["silent"] and not rounds.ended
