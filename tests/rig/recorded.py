"""Recorded labs. What the tests of pictures draw.

`STREAM`: three blades that boot by iPXE, join, and run nginx. `DAY_TWO`: another lab, whose blades leave in order and
come back, and lose their power; without its DHCP messages and downloads.
"""

from __future__ import annotations

from pathlib import Path

from labkit import events
from labkit.lab import lab_yaml

LAB = lab_yaml.parse("name: lab\nblades:\n  - name: blade1\n  - name: blade2\n  - name: blade3\n", Path("lab.yaml"))
NAMES = [blade.name for blade in LAB.blades]
STREAM = list(events.read(Path(__file__).with_name("three-blades.jsonl")))
OFF = next(number for number, event in enumerate(STREAM) if getattr(event, "detail", "") == "power cut")
RUNNING = STREAM[:OFF]
"""As long as the blades are on."""
SERVING = [
    *RUNNING,
    events.Service(name="web", action="running", blade="blade1", detail="web.1"),
    events.Service(name="web", action="running", blade="blade3", detail="web.2"),
    *(events.Service(name="web", action="answered", blade=name, detail="web.1", count=2) for name in NAMES),
]
DAY_TWO = list(events.read(Path(__file__).with_name("day-two.jsonl")))
