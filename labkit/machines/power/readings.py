"""What a blade's controller measures and has noted: temperatures, fans and watts, and its event log. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.lab.plain_text import one_line

TEMPERATURE, FAN, POWER = "temperature", "fan", "power"
OK, WARNING, CRITICAL = "ok", "warning", "critical"
STATES = (OK, WARNING, CRITICAL)
"""A controller's own judgement, from good to bad."""
LONGEST_NAME = 40
MOST = 256
"""So many readings, or entries of a log, are taken from one controller."""


@dataclass(frozen=True)
class Reading:
    """One sensor as its controller gives it: ``value`` in ``unit``, which is °C, RPM, % or W.

    ``state`` is the controller's own judgement. ``is_high`` says that what is wrong is too much, and not too little;
    ``limit`` is the upper limit that is passed, or the next one where none is, None where that was not told.
    """

    name: str
    kind: str
    value: float
    unit: str
    state: str = OK
    is_high: bool = False
    limit: float | None = None

    @property
    def is_hot(self) -> bool:
        """Whether this is a temperature above its controller's limits."""
        return self.kind == TEMPERATURE and self.state != OK and self.is_high

    def __str__(self) -> str:
        return f"{self.name} {amount(self.value, self.unit)}"


@dataclass(frozen=True)
class Entry:
    """A line of a controller's event log. ``time`` is as the controller's clock has it, empty where it says none."""

    time: str
    state: str
    text: str


def amount(value: float, unit: str) -> str:
    """A value with its unit, without decimals that mean nothing: ``41 °C``, ``4200 RPM``, ``33%``."""
    return f"{value:.0f}{'' if unit == '%' else ' '}{unit}"


def reading(found: Mapping[str, Any]) -> Reading:
    """A reading from JSON. Raises KeyError, TypeError or ValueError for what is none."""
    limit = found.get("limit")
    value = float(found["value"])
    if not math.isfinite(value) or found["kind"] not in (TEMPERATURE, FAN, POWER):
        raise ValueError(f"no reading: {found!r}"[:200])
    return Reading(
        one_line(str(found["name"])).strip()[:LONGEST_NAME] or found["kind"], found["kind"], value, str(found["unit"]),
        found["state"] if found["state"] in STATES else OK, bool(found.get("is_high")),
        float(limit) if limit is not None else None,
    )  # fmt: skip


def entry(found: Mapping[str, Any]) -> Entry:
    """A line of a log from JSON."""
    state = found.get("state")
    text = one_line(str(found.get("text") or "")).strip()[:300]
    return Entry(one_line(str(found.get("time") or "")).strip()[:40], state if state in STATES else OK, text)


def hottest(readings: Iterable[Reading]) -> Reading | None:
    """The temperature that matters most: the worst by its controller's judgement, and of those the highest."""
    found = [one for one in readings if one.kind == TEMPERATURE]
    return max(found, key=lambda one: (STATES.index(one.state) if one.is_hot else 0, one.value), default=None)


def slowest(readings: Iterable[Reading], unit: str) -> Reading | None:
    """The fan that turns the slowest, of those that are told in ``unit``."""
    found = [one for one in readings if one.kind == FAN and one.unit == unit]
    return min(found, key=lambda one: one.value, default=None)


def watts(readings: Iterable[Reading]) -> Reading | None:
    """The largest power that is told: the whole blade's, where its controller tells that, and else a supply's."""
    return max((one for one in readings if one.kind == POWER), key=lambda one: one.value, default=None)


def too_hot(readings: Iterable[Reading]) -> str:
    """Which temperatures are above their limits, the worst first, in words; empty where none is."""
    hot = sorted((one for one in readings if one.is_hot), key=lambda one: (-STATES.index(one.state), -one.value))
    return ", ".join(f"{one}{_limit(one)}" for one in hot)


def _limit(hot: Reading) -> str:
    named = f" of {amount(hot.limit, hot.unit)}" if hot.limit is not None else ""
    return f" (above its {hot.state} limit{named})"
