"""labkit: a lab of network-booted blades as one description, one server and one stream of events.

What a notebook or a script needs first is here; the rest is in its room (see docs/architecture.md).

>>> import labkit
>>> lab = labkit.load_lab(labkit.find_lab())
>>> [f"{blade.name} boots {blade.os} by {blade.boot}" for blade in lab.blades][0]
'blade1 boots labos by ipxe'

With a lab that is up, or may be brought up::

    running = labkit.ensure_lab()
    print(labkit.ensure_blades(running, running.lab.blades, until="joined"))
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.boot import BootPlan as BootPlan
    from labkit.boot import plan as plan
    from labkit.errors import LabkitError as LabkitError
    from labkit.events import follow as follow_events
    from labkit.lab import Blade as Blade
    from labkit.lab import Lab as Lab
    from labkit.lab.lab_yaml import load as load_lab
    from labkit.servers.client import RunningLab as RunningLab
    from labkit.servers.client import connect as connect
    from labkit.servers.client import ensure_blades as ensure_blades
    from labkit.servers.client import ensure_lab as ensure_lab
    from labkit.servers.client import find_lab as find_lab
    from labkit.servers.client import shut_down as shut_down
    from labkit.servers.client import wait_blades as wait_blades

if os.geteuid() == 0 and Path(__file__).stat().st_uid != 0:
    sys.dont_write_bytecode = True  # we are root in somebody's checkout, where nothing of root's is to be left

__version__ = "0.1.0"
__all__ = [
    "Blade", "BootPlan", "Lab", "LabkitError", "RunningLab", "connect", "ensure_blades", "ensure_lab", "find_lab",
    "follow_events", "load_lab", "plan", "shut_down", "wait_blades",
]  # fmt: skip

_FROM = {
    "Blade": "labkit.lab:Blade",
    "BootPlan": "labkit.boot:BootPlan",
    "Lab": "labkit.lab:Lab",
    "LabkitError": "labkit.errors:LabkitError",
    "RunningLab": "labkit.servers.client:RunningLab",
    "connect": "labkit.servers.client:connect",
    "ensure_blades": "labkit.servers.client:ensure_blades",
    "ensure_lab": "labkit.servers.client:ensure_lab",
    "find_lab": "labkit.servers.client:find_lab",
    "follow_events": "labkit.events:follow",
    "load_lab": "labkit.lab.lab_yaml:load",
    "plan": "labkit.boot:plan",
    "shut_down": "labkit.servers.client:shut_down",
    "wait_blades": "labkit.servers.client:wait_blades",
}


def __getattr__(name: str) -> Any:
    """One of `__all__`, when it is first asked for: ``import labkit`` alone stays quick, and needs no Docker SDK."""
    if name not in _FROM:
        raise AttributeError(f"module 'labkit' has no attribute {name!r}")
    module, _, inside = _FROM[name].partition(":")
    found = globals()[name] = getattr(importlib.import_module(module), inside)
    return found
