"""A lab's events, read as they come: what live views draw from. Who comes later, or again, reads them all."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from labkit import events
from labkit.events import Event
from labkit.pictures import scene
from labkit.servers.client import find_lab, find_state

KEPT = 40


class LiveEvents:
    """A lab's event file, folded as far as it has been read. ``heard`` are the last events; of rehearsals none."""

    def __init__(self, path: Path | None = None) -> None:
        self.scene = scene.Scene()
        self.heard: deque[Event] = deque(maxlen=KEPT)
        self._stream = events.follow(path or find_state(find_lab()).events, every_s=0.0)

    def poll(self) -> scene.Scene:
        """Read what is new, without waiting."""
        for event in self._stream:
            if event is None:
                break
            self.scene = scene.fold(self.scene, event)
            if event.boot != events.REHEARSAL:
                self.heard.append(event)
        return self.scene
