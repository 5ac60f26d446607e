"""The swarm's part of a lab file."""

from __future__ import annotations

from labkit.lab import SwarmRules
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.positions import Kind, Notes, Section

SWARM = Kind("swarm", ("lost_after", "window", "window_on_discover"))
NEVER = "never"


def read_swarm(top: Section, notes: Notes) -> SwarmRules:
    """The rules by which the swarm's members are kept in order."""
    section = Section(top.value("swarm"), top.anchor, SWARM, notes)
    rules = SwarmRules()
    return SwarmRules(
        lost_after_s=section.take("lost_after", _or_never, rules.lost_after_s),
        window_s=section.take("window", values.duration, rules.window_s),
        window_on_discover=section.take("window_on_discover", positions.boolean, rules.window_on_discover),
    )


def _or_never(text: str) -> float | None:
    return None if text.lower() == NEVER else values.duration(text)
