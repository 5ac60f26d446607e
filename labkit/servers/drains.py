"""The blades that a roll empties before it presses their buttons (`labkit.swarm.membership.leave.empty_node`).

Each is emptied in a thread of its own, so that the roll goes on looking meanwhile, and can be broken off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from labkit.errors import SwarmError
from labkit.servers.client import RunningLab
from labkit.swarm import cluster
from labkit.swarm.membership import moves
from labkit.swarm.membership.leave import Drain, empty_node, fill_again
from labkit.swarm.node import find_node
from labkit.swarm.roll.turns import DrainNow

AGAIN_S = 2.0
"""How long after an engine's error it is asked again; a manager that was restarted takes longer."""


class Drains:
    """The blades of one roll that are emptied, or were. What is not let go by `gone` gets back what it had."""

    def __init__(self, running: RunningLab, limit_s: float) -> None:
        self._running, self._limit_s = running, limit_s
        self._drains: dict[str, _Emptying] = {}

    def begin(self, blade: str, boot: str) -> None:
        """Empty a blade in this boot; returns at once."""
        self._drains[blade] = _Emptying(self._running, blade, boot, self._limit_s)

    def look(self) -> Mapping[str, DrainNow]:
        """How far each is."""
        return {blade: one.now for blade, one in self._drains.items()}

    def gone(self, blade: str) -> None:
        """Its button was pressed: from here on it leaves."""
        self._drains.pop(blade, None)

    def end(self, blade: str) -> None:
        """Empty a blade no further, and give it back the availability that it had. Raises SwarmError."""
        one = self._drains.pop(blade, None)
        if one is not None:
            one.end()

    def close(self) -> None:
        """End all there are. What an engine that does not answer keeps, the next roll gives back."""
        for blade in list(self._drains):
            with suppress(SwarmError):
                self.end(blade)


class _Emptying:
    """One blade that is emptied, until that is done or it is ended."""

    def __init__(self, running: RunningLab, blade: str, boot: str, limit_s: float) -> None:
        self.now = DrainNow()
        self._running, self._blade, self._boot = running, blade, boot
        self._deadline, self._over = time.monotonic() + limit_s, threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"empties {blade}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        with self._running.engine() as engine:
            node = find_node(cluster.nodes(engine), self._blade, self._boot)
            if node is not None:
                fill_again(engine, node.id)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                if self._empties():
                    return
            except SwarmError as error:
                self.now = DrainNow(words=error.what)
            self._over.wait(AGAIN_S)

    def _empties(self) -> bool:
        """Whether nothing is left to move."""
        with self._running.engine() as engine:
            node = find_node(cluster.nodes(engine), self._blade, self._boot)
            if node is None or not node.ready:
                self.now = DrainNow(done=True, words="its node is not Ready any more")
                return True
            bound_s = max(0.0, self._deadline - time.monotonic())
            left = empty_node(engine, node, bound_s=bound_s, goes_on=self._goes_on)
        if left.waiting:
            return False
        stranded = frozenset(name.rpartition(".")[0] or name for name in left.stranded)
        self.now = DrainNow(done=True, words=str(left), stranded=stranded)
        return True

    def _goes_on(self, drain: Drain) -> bool:
        self.now = DrainNow(words=str(drain))
        return not self._over.is_set()


def take_up(running: RunningLab) -> tuple[str, ...]:
    """Give the blades that a roll was emptying when it was killed back what they had; which those are.

    Nobody else may be rolling (`labkit.servers.roll.alone`). Raises SwarmError.
    """
    with running.engine() as engine:
        nodes = cluster.nodes(engine)
        left = [node for node in nodes if node.rolling and not node.leaving]
        if left or not any(node.leaving and node.ready for node in nodes):  # else it may be a leave's
            moves.take_back_all(engine, {node.id for node in left})
        for node in left:
            fill_again(engine, node.id)
    return tuple(node.blade or node.hostname for node in left)
