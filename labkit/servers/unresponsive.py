"""What follows when a part of a lab lives and does not answer: it is told, and after a while the part is started anew.

Pure: what `labkit.diagnosis.listeners` heard, the parts' process ids and the time in; events, and the parts to end,
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labkit.diagnosis.listeners import KEPT, Answers, silent
from labkit.events import Event, Part

TOLD_AFTER = 2
"""Rounds: one answer may be late on a busy machine."""
ANEW_AFTER_S = 30.0
ANEW_AFTER = 4


@dataclass
class _Watched:
    """What is known of one process of a part: since when, and for how many rounds, it has not answered."""

    pid: int
    has_answered: bool = False
    since: float = 0.0
    rounds: int = 0

    @property
    def is_told(self) -> bool:
        return self.rounds >= TOLD_AFTER


class Silences:
    """Takes a round of answers after another."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def take(self, answers: Answers, pids: Mapping[str, int], now: float) -> tuple[list[Event], list[str]]:
        """What is to be told, and which parts are to be ended so that they are started anew.

        ``pids`` are the processes that were asked, 0 for one that did not run. A process that has never answered is
        not ended: starting it anew would go on for ever, for a reason that lies elsewhere.
        """
        events: list[Event] = []
        ended: list[str] = []
        for part, pid in pids.items():
            if not pid or part not in answers:
                self._watched.pop(part, None)
                continue
            if part not in self._watched or self._watched[part].pid != pid:
                self._watched[part] = _Watched(pid)
            one, why = self._watched[part], silent(answers, part)
            if not why:
                if one.is_told:
                    events.append(Part(part=part, state="answers", pid=pid, detail=f"after {now - one.since:.0f} s"))
                one.has_answered, one.rounds = True, 0
                continue
            one.since = one.since if one.rounds else now
            one.rounds += 1
            if one.rounds == TOLD_AFTER:
                events.append(Part(part=part, state="silent", pid=pid, detail=why))
            is_over = one.rounds >= ANEW_AFTER and now - one.since >= ANEW_AFTER_S
            if is_over and one.has_answered and part not in KEPT:
                detail = f"for {now - one.since:.0f} s {why}: it is ended and started anew"
                events.append(Part(part=part, state="silent", pid=pid, detail=detail))
                ended.append(part)
                del self._watched[part]
        return events, ended
