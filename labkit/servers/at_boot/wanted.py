"""Which blades are wanted on: those that somebody switched on through labkit, and not off again."""

from __future__ import annotations

import fcntl
import json
import os

from labkit.errors import MachineError, on_file
from labkit.lab.state import State, write_json

ON = {"on": True, "boot": True, "reset": True, "off": False, "shutdown": False}
"""What pressing a button says of how a blade is wanted; another says nothing."""


def wanted(state: State) -> frozenset[str]:
    """The names of the blades that are wanted on. Raises MachineError where that cannot be read."""
    try:
        names = json.loads(state.wanted.read_text())["on"]
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        what = "this file cannot be read, so that nobody knows which blades were on"
        raise MachineError(what, where=str(state.wanted), fix="./lab power on NAME, which writes it anew") from None
    return frozenset(names)


def remember(state: State, blade: str, button: str) -> None:
    """Note what pressing a button says of a blade; two at once do not undo each other. Raises FileError."""
    if button not in ON:
        return
    with on_file(state.wanted):
        lock = os.open(state.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                before = wanted(state)
            except MachineError:  # damaged: what is known from now on is better than nothing
                before = frozenset()
            now = before | {blade} if ON[button] else before - {blade}
            if now != before or not state.wanted.exists():
                write_json(state.wanted, {"on": sorted(now)})
        finally:
            os.close(lock)
