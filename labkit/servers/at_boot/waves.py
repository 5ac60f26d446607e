"""Who is switched on when the lab's machine has booted, and in which wave. PURE."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from labkit.events.stages import BladeState, LabState, is_handed_over
from labkit.lab import Blade, Lab
from labkit.machines.power import ways

AT_ONCE = 4
"""Blades of one wave. A gigabit link brings so many their images in the time in which a firmware starts."""


@dataclass(frozen=True)
class Plan:
    """The waves, in the lab's order, and of each blade that stays off though it is wanted on, why."""

    waves: tuple[tuple[Blade, ...], ...]
    stays: tuple[tuple[str, str], ...]


def plan(lab: Lab, wanted: Collection[str], state: LabState, *, at_once: int = AT_ONCE) -> Plan:
    """Who comes when. Names that are in the lab no longer are passed over."""
    coming, stays = [], []
    for blade in lab.blades:
        if blade.name not in wanted:
            continue
        held = state.blade(blade.name).held
        if held:
            stays.append((blade.name, f"stays off, since it is held: {held} (./lab power release {blade.name})"))
        elif ways.is_hand(blade.bmc):
            stays.append((blade.name, f"was on, and waits for a person: {ways.by_hand(blade.name, blade.bmc, 'on')}"))
        else:
            coming.append(blade)
    waves = tuple(tuple(coming[at : at + at_once]) for at in range(0, len(coming), at_once))
    return Plan(waves, tuple(stays))


def has_fetched(blade: Blade, state: BladeState) -> bool:
    """Whether a blade has its images, as far as was heard: its own system asks for an address, with nothing on its way.
    The next ones do not wait for what it does with them.
    """
    if state.power == "off":
        return False
    runs = bool(state.network) and not state.fetching
    return runs or bool(state.os or state.joined) or is_handed_over(blade, state)
