"""Time that goes on evenly, whoever sets this machine's clock."""

from __future__ import annotations

import time

LEAST_S = 5.0
"""A clock that is off by less is set right slowly, as time services do, and no duration suffers from it."""


def _ticks() -> float:
    """Seconds since this machine started, those it slept among them (clock_gettime(2), CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_BEGAN = time.time() - _ticks()


def now() -> float:
    """Seconds since the epoch, by the clock as it was when this process began. For what runs out after a time."""
    return _BEGAN + _ticks()


class Jumps:
    """Tells by how much this machine's clock was set since one last asked."""

    def __init__(self) -> None:
        self._off = time.time() - _ticks()

    def by_s(self) -> float:
        """Seconds, negative where it was set back, and 0 for less than `LEAST_S`."""
        off = time.time() - _ticks()
        moved = off - self._off
        if abs(moved) < LEAST_S:
            return 0.0
        self._off = off
        return moved
