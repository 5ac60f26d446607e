"""Why requests failed while replicas died: each failure is held against what the blades' engines said of replicas."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from labkit.swarm.services.http_probe import Answer

from .front_door import FrontDoor

LATE_S = 2.0
"""An engine's word comes over ssh from a busy blade: so late at most."""
TOLD_S = 30.0
"""So long an emulated blade takes at most until its mesh sends to a replica that came, or no more to one that went: 5 s
when all is quiet, 16 s and more when it starts a replica of its own meanwhile, or shares the machine."""

NOBODY, NOT_TOLD, UNEXPLAINED = "nobody there", "the mesh not told yet", "unexplained"

_WATCHED = ("start", "kill", "die", "health_status")
_COMMAND = " ".join(
    [
        "echo watching; exec docker events --filter type=container",
        *(f"--filter event={name}" for name in _WATCHED),
        "--format '{{.Actor.Attributes.name}} {{.Action}}'",
    ]
)


@dataclass(frozen=True)
class Change:
    """What an engine said of a replica's container: ``start``, ``kill``, ``die``, ``health_status: healthy``."""

    at_s: float
    """Seconds of `time.monotonic`, when we heard of it."""
    replica: str
    what: str


@contextmanager
def watching(door: FrontDoor, blades: Sequence[str]) -> Iterator[list[Change]]:
    """What the engines of ``blades`` say of containers meanwhile."""
    changes: list[Change] = []
    ready = threading.Barrier(len(blades) + 1)

    def listen(login: subprocess.Popen[str]) -> None:
        assert login.stdout is not None
        with login.stdout as lines:
            for line in lines:
                if line == "watching\n":
                    ready.wait(60)
                else:
                    replica, what = line.rstrip().split(" ", 1)
                    changes.append(Change(time.monotonic(), replica, what))

    logins = [door.start("ssh", blade, "sudo", "sh", "-c", f'"{_COMMAND}"') for blade in blades]
    listeners = [threading.Thread(target=listen, args=(login,), daemon=True) for login in logins]
    try:
        for listener in listeners:
            listener.start()
        ready.wait(60)
        yield changes
    finally:
        for login in logins:
            login.terminate()
            login.wait(10)
        for listener in listeners:
            listener.join(10)


def serving(changes: Sequence[Change], at_first: int) -> list[tuple[float, int]]:
    """How many replicas could answer from which moment on, when ``at_first`` could before the first change."""
    count, steps = at_first, [(float("-inf"), at_first)]
    started: set[str] = set()
    healthy: set[str] = set()
    gone: set[str] = set()
    for change in sorted(changes, key=lambda change: change.at_s):
        name = change.replica
        if change.what == "start":
            started.add(name)
        elif change.what == "health_status: healthy" and name in started - healthy - gone:
            healthy.add(name)
            count += 1
        elif change.what in ("kill", "die") and name not in gone:
            gone.add(name)
            count -= name in healthy or name not in started
        steps.append((change.at_s, count))
    return steps


def explain(answers: Sequence[Answer], changes: Sequence[Change], at_first: int) -> Counter[str]:
    """The failed requests, by why they failed."""
    steps = serving(changes, at_first)
    moved = [change.at_s for change in changes if change.what != "start"]
    reasons: Counter[str] = Counter()
    for answer in answers:
        if answer.ok:
            continue
        until_s = answer.began_s + answer.ms / 1000 + LATE_S
        before = [count for at_s, count in steps if at_s <= answer.began_s][-1]
        meanwhile = [count for at_s, count in steps if answer.began_s < at_s <= until_s]
        if 0 in (before, *meanwhile):
            reasons[NOBODY] += 1
        elif any(answer.began_s - TOLD_S <= at_s <= until_s for at_s in moved):
            reasons[NOT_TOLD] += 1
        else:
            reasons[UNEXPLAINED] += 1
    return reasons
