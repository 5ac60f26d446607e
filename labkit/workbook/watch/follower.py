"""Looks at a lab again and again, whether it is up or not, at little cost and without holding anybody up."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from labkit.errors import LabkitError, SwarmError
from labkit.lab import lab_yaml
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.workbook.watch.live_events import LiveEvents
from labkit.workbook.watch.view import Seen, Swarm, is_moving

CHECK_S, ASK_S, ENGINE_S = 2.0, 5.0, 5
"""How often it is asked whether the lab is up, how often its engine, and how long that may take to answer."""


class Follower:
    """One lab. `look` is called by one thread at a time, and only while somebody watches; nothing is asked between.

    Raises LabFileError for a lab file with mistakes. One that gets mistakes later is taken as it was.
    """

    def __init__(self, path: Path, state: State) -> None:
        self.lab = lab_yaml.load(path)
        self._path, self._state, self._changed = path, state, path.stat().st_mtime_ns
        self._feed: LiveEvents | None = None
        self._seen, self._swarm = Seen(self.lab), Swarm()
        self._up, self._was_up, self._trouble = False, 0.0, ""
        self._checked = self._asked = -ASK_S
        self._asking: threading.Thread | None = None

    def look(self) -> Seen:
        """What there is to see now: the same value again where nothing has changed."""
        now = time.monotonic()
        if now - self._checked >= CHECK_S:
            self._checked = now
            self._check()
        if self._up and now - self._asked >= ASK_S and not (self._asking and self._asking.is_alive()):
            self._asked = now
            self._asking = threading.Thread(target=self._ask, name="watch-engine", daemon=True)
            self._asking.start()
        self._read()
        lab, old, heard = self.lab, self._seen.scene, self._seen.heard
        scene = self._feed.scene if self._feed is not None else old
        if self._feed is not None and scene is not old:
            heard = tuple(self._feed.heard)
        at = scene.now if self._up else max(self._was_up, scene.now)
        if self._up and is_moving(lab, scene):
            at = time.time()
        seen = Seen(lab, scene, heard, self._up, at, self._trouble, self._swarm)
        if seen != self._seen:
            self._seen = seen
        return self._seen

    def look_once(self) -> Seen:
        """`look`, and wait for the engine."""
        self.look()
        if self._asking is not None:
            self._asking.join()
        return self.look()

    def _ask(self) -> None:
        from labkit.swarm.engine import engine  # brings the Docker SDK
        from labkit.swarm.services.all_services import look_at_all
        from labkit.swarm.services.ports import published_ports

        try:
            with engine(self._state.manager_socket(self.lab), timeout_s=ENGINE_S) as client:
                found = look_at_all(client)
                self._swarm = Swarm(found.nodes, found.states, published_ports(client))
        except SwarmError as error:
            self._swarm = Swarm(why=error.what)

    def _check(self) -> None:
        try:
            self._up, self._trouble = control.status(self._state) is not None, ""
        except LabkitError as error:  # somebody else's lab, or one that does not answer
            self._up, self._trouble = False, str(error)
        if self._up:
            self._was_up = time.time()
        with contextlib.suppress(LabkitError, OSError):
            if self._path.stat().st_mtime_ns != self._changed:
                self._changed = self._path.stat().st_mtime_ns
                self.lab = lab_yaml.load(self._path)
        self._feed = self._feed or LiveEvents(self._state.events)

    def _read(self) -> None:
        try:
            if self._feed is not None:
                self._feed.poll()
        except (LabkitError, OSError) as error:
            self._feed, self._trouble = None, str(error)  # it is read anew at the next check
