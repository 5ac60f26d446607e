"""A swarm's service and its engine, gone wrong, as far as that takes no engine; with engines: tests/swarm."""

from __future__ import annotations

import dataclasses
import os
import socket
from ipaddress import IPv4Address

from labkit import events
from labkit.swarm import engine as swarm_engine
from labkit.swarm.services import nginx

from .failures import BLADE, CASES, LAB, Patch, as_nobody, case


@case("mesh-silent")
def _(patch: Patch) -> object:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        blade = dataclasses.replace(BLADE, address=IPv4Address("127.0.0.1"))
        lab = dataclasses.replace(LAB, blades=(blade,))
        stream = [
            events.Power(blade="blade1", state="on", time=1),
            events.Phoned(blade="blade1", stage="joined", time=2),
        ]
        return nginx.ask_blades(patch.running(stream, lab), taken.getsockname()[1], settle_s=0)


CASES["engine-down"] = lambda patch: swarm_engine.connect(patch.folder / "docker.sock")


@case("engine-silent")
def _(patch: Patch) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(patch.folder / "d.sock"))  # bound and not listening
        return swarm_engine.connect(patch.folder / "d.sock")


@case("engine-forbidden")
def _(patch: Patch) -> object:
    shut = patch.folder / "docker"
    shut.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    with as_nobody():
        return swarm_engine.connect(shut / "docker.sock")
