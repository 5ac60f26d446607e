"""The running lab's events, read as they come: what live views draw from. A restarted kernel reads them again."""

from __future__ import annotations

from pathlib import Path

from labkit import events
from labkit.errors import LabkitError
from labkit.events import stages
from labkit.lab import Lab
from labkit.pictures import scene
from labkit.servers.client import find_lab, find_state


class LiveEvents:
    """A lab's event file, folded as far as it has been read."""

    def __init__(self, path: Path | None = None) -> None:
        self.scene = scene.Scene()
        self._stream = events.follow(path or find_state(find_lab()).events, every_s=0.0)

    def poll(self) -> scene.Scene:
        """Read what is new, without waiting."""
        for event in self._stream:
            if event is None:
                break
            self.scene = scene.fold(self.scene, event)
        return self.scene


def present_stages(lab: Lab) -> stages.LabState:
    """How far each blade of a lab is now; all are off where the lab has never been up."""
    try:
        return LiveEvents(find_state(lab.path).events).poll().stages
    except (LabkitError, OSError):
        return stages.LabState()
