"""What is told of what blades' controllers measure: the events of one blade, and the numbers of all. PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from labkit.events import NOT_MEASURED, Measured
from labkit.machines.power import readings
from labkit.machines.power.readings import STATES, Reading

STEP_C, STEP_W, STEP_SHARE = 3.0, 10.0, 0.1
"""What is told anew: a temperature so many °C away from the one told last, and a power so many W, and a tenth of it."""

Number = tuple[str, dict[str, str], float]
"""A gauge's name, its labels and its value. JSON can carry it."""


def summary(blade: str, found: Sequence[Reading]) -> Measured:
    """The event that says what a blade's controller measures."""
    heat, power = readings.hottest(found), readings.watts(found)
    hot = [one.state for one in found if one.is_hot]
    return Measured(
        blade=blade,
        celsius=heat.value if heat is not None else NOT_MEASURED,
        watts=power.value if power is not None else NOT_MEASURED,
        state=max(hot, key=STATES.index, default=readings.OK),
        hot=readings.too_hot(found),
    )


def is_news(told: Measured | None, now: Measured) -> bool:
    """Whether this is worth an event after the one that was told last, None for none."""
    if told is None:
        return bool(str(now))
    if told.state != now.state:
        return True
    return _moved(told.celsius, now.celsius, STEP_C) or _moved(
        told.watts, now.watts, max(STEP_W, STEP_SHARE * told.watts)
    )


def _moved(before: float, now: float, step: float) -> bool:
    is_there = NOT_MEASURED not in (before, now)
    return abs(now - before) >= step if is_there else before != now


def numbers(found: Mapping[int, Sequence[Reading]]) -> list[Number]:
    """What `/metrics` tells of each slot. Whoever reaches the boot server may read it: so no name is in it."""
    told: list[Number] = []
    for slot, sensors in sorted(found.items()):
        labels = {"slot": str(slot)}
        singles = {
            "labkit_blade_temperature_celsius": readings.hottest(sensors),
            "labkit_blade_fan_rpm": readings.slowest(sensors, "RPM"),
            "labkit_blade_fan_percent": readings.slowest(sensors, "%"),
            "labkit_blade_power_watts": readings.watts(sensors),
        }
        told += [(name, labels, one.value) for name, one in singles.items() if one is not None]
        counted = Counter(one.state for one in sensors)
        told += [("labkit_blade_sensors", {**labels, "state": state}, counted[state]) for state in STATES]
        told.append(("labkit_blade_too_hot", labels, float(any(one.is_hot for one in sensors))))
    return told
