"""A lab whose blades are the fleet's engines, and a roll of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import docker

from labkit import events, images
from labkit.images.releases.layout import version_in_use
from labkit.lab import Blade, Lab
from labkit.lab.state import State
from labkit.servers import roll as shell
from labkit.servers.client import RunningLab
from labkit.swarm import cluster
from labkit.swarm.engine import engine
from labkit.swarm.membership.leave import drain_node
from labkit.swarm.node import find_node
from labkit.swarm.roll.survey import survey
from labkit.swarm.roll.turns import Roll
from labkit.swarm.services.spec import ServiceSpec
from tests.rig.fleet import Fleet, join

LAB = "swarm: {roll_blade: 90 s}\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"


@dataclass
class FleetLab:
    """A lab whose blades are the fleet's engines: a button makes an engine leave in order, or start with nothing."""

    fleet: Fleet
    lab: Lab
    state: State
    versions: dict[str, str]
    newest: str = "v1"
    lost: frozenset[str] = frozenset()
    broken: str = ""  # no blade that boots this comes back
    boots: dict[str, dict[str, Any]] = field(default_factory=dict)
    said: list[events.Event] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def emit(self, event: events.Event) -> None:
        self.said.append(event)

    def events(self) -> Iterator[events.Event]:
        return iter(self.said)

    @contextlib.contextmanager
    def engine(self) -> Iterator[docker.DockerClient]:
        with engine(self.fleet.controller.sock) as client:
            yield client

    def power_state(self, blade: Blade) -> str:
        return "on" if self.fleet.blade(blade.name).running else "off"

    def power(self, blade: Blade, state: str, say: Callable[[str], None] = print, *, remember: bool = True) -> None:
        does = {"shutdown": self._leave, "on": self._boot, "reset": self._boot}[state]
        thread = threading.Thread(target=does, args=(blade.name,))
        self.threads.append(thread)
        thread.start()

    def _leave(self, name: str) -> None:
        machine = self.fleet.blade(name)
        with self.engine() as client:
            node = find_node(cluster.nodes(client), name, machine.boot)
            assert node is not None
            drain_node(client, node)
            own = machine.client
            own.swarm.leave(force=True)
            own.close()
            cluster.remove_node(client, node.id)
        machine.power_cut()

    def _boot(self, name: str) -> None:
        boot = f"{name}{time.monotonic_ns():x}"
        version = version_in_use("flatcar", images.cache_folder()) if self.broken else self.newest
        self.boots[name] = {"id": boot, "version": version, "begun": time.time()}
        machine = self.fleet.blade(name)
        machine.reboot(boot)
        if name not in self.lost and version != self.broken:
            join(self.fleet, machine)

    def answer(self, path: Path, verb: str, **fields: Any) -> dict[str, Any]:
        served = version_in_use("flatcar", images.cache_folder())
        return {"boots": dict(self.boots), "versions": dict.fromkeys(self.boots, served), "wrong": {}}


def roll(running: FleetLab, parallel: int = 1) -> Roll:
    lab = cast(RunningLab, running)
    looker = shell.Looker(lab)
    names = [blade.name for blade in running.lab.blades]
    found = survey(names, looker.look(names), dict.fromkeys(names, running.newest), {})
    assert not found.obstacles
    begun = found.roll(limit_s=running.lab.swarm.roll_blade_s, parallel=parallel)
    steps = [now for now, _ in shell.carry_out(lab, begun, lambda told: print(told.blade, told.step, told.detail))]
    return steps[-1]


def web_spec(image: str, replicas: int) -> ServiceSpec:
    return ServiceSpec(name="web", image=image, replicas=replicas, ports=((8085, 80),))
