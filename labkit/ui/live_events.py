"""The running lab's events in notebooks: how far its blades are now. A restarted kernel reads them again."""

from __future__ import annotations

from labkit.errors import LabkitError
from labkit.events import stages
from labkit.lab import Lab
from labkit.servers.client import find_state
from labkit.workbook.watch.live_events import LiveEvents as LiveEvents


def present_stages(lab: Lab) -> stages.LabState:
    """How far each blade of a lab is now; all are off where the lab has never been up."""
    try:
        return LiveEvents(find_state(lab.path).events).poll().stages
    except (LabkitError, OSError):
        return stages.LabState()
