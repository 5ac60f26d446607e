"""How the replicas of a service die, and when that is no bad luck any more.

PURE: each look at a service brings the deaths that the swarm still remembers of it (five a replica, unless told
otherwise); `Deaths` keeps those of one wait.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SAME = 3
"""So many deaths in the same way, and waiting changes nothing."""
ANYHOW = 6
"""And so many in whatever ways."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """A replica that ended and should not have.

    ``task`` is its id in the swarm, ``replica`` its name (``web.1``, of a global service ``web.blade1``), which the one
    that comes in its place has too; ``blade`` is where it was. ``way`` says what happened, without the blade's name.
    ``ran`` says that its program had started, so that it may have said something; ``sick`` that its health check ended
    it. ``current`` says that it was one of what the service is to be now, not of the one before.
    """

    task: str
    replica: str
    blade: str
    way: str
    created: float = 0.0
    ran: bool = False
    sick: bool = False
    current: bool = True

    @property
    def kind(self) -> str:
        """The same for two deaths in the same way: without identities, numbers of ports and times of day."""
        way = re.sub(r"\b(?:[0-9a-f]{12,64}|[0-9a-z]{25})\b", "#", self.way)
        return re.sub(r"(?<!status )(?<!signal )\b\d+\b", "#", way)


@dataclass(frozen=True)
class Crash:
    """Replicas die and will go on dying. ``deaths`` are those that count, oldest first; in one way unless ``mixed``."""

    deaths: tuple[Death, ...]
    mixed: bool = False

    @property
    def latest(self) -> Death:
        return self.deaths[-1]

    def __str__(self) -> str:
        where = f"on {on(death.blade for death in self.deaths)}"
        if not self.mixed:
            return f"replicas ended {len(self.deaths)} times in the same way, {where}: {self.latest.way}"
        ways = Counter(death.way for death in self.deaths).most_common()
        said = "; ".join(f"{count} times: {way}" if count > 1 else way for way, count in ways)
        return f"replicas ended {len(self.deaths)} times, {where}: {said}"


def on(blades: Iterable[str]) -> str:
    """Blades counted and named: ``2 blades (blade1, blade2)``."""
    names = sorted(set(blades) - {""})
    return f"{len(names)} blade{'s' * (len(names) != 1)} ({', '.join(names)})" if names else "no blade that is known"


class Deaths:
    """The deaths of one wait. What had died before its first look counts for nothing: it may have been mended since."""

    def __init__(self) -> None:
        self._before: frozenset[str] | None = None
        self._seen: dict[str, Death] = {}

    def take(self, deaths: Iterable[Death]) -> Crash | None:
        """What one more look has found; a crash once there is one."""
        known = tuple(deaths)
        if self._before is None:
            self._before = frozenset(death.task for death in known)
        self._seen |= {death.task: death for death in known if death.task not in self._before}
        return judge([death for death in self._seen.values() if death.current])

    @property
    def latest(self) -> Death | None:
        """The last to die, of whatever specification."""
        return max(self._seen.values(), key=lambda death: death.created, default=None)


def judge(deaths: Sequence[Death]) -> Crash | None:
    """The crash that these deaths make, if any.

    Three that end at once, each for the first time, may have met the same passing fault, such as a server that was not
    up yet. So one of them must have come back and ended again, unless a health check has watched them for its time.
    """
    ordered = sorted(deaths, key=lambda death: death.created)
    for kind in dict.fromkeys(death.kind for death in reversed(ordered)):
        same = [death for death in ordered if death.kind == kind]
        if len(same) >= SAME and (_most(same) > 1 or same[-1].sick):
            return Crash(tuple(same))
    if len(ordered) >= ANYHOW and _most(ordered) >= SAME:
        return Crash(tuple(ordered), mixed=True)
    return None


def _most(deaths: Iterable[Death]) -> int:
    """How often the replica died that died most often."""
    return max(Counter(death.replica for death in deaths).values())
