"""A roll over real engines: services go on, a blade that does not come back stops it, and the next goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from labkit import events, images
from labkit.images.releases import cache, layout
from labkit.images.releases.layout import version_in_use
from labkit.lab import Blade, Lab, SwarmRules, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.servers import roll as shell
from labkit.servers.client import RunningLab
from labkit.servers.roll_back import take_back
from labkit.swarm import cluster
from labkit.swarm.engine import engine
from labkit.swarm.membership.leave import drain_node
from labkit.swarm.node import find_node
from labkit.swarm.roll.steps import Phase, Roll
from labkit.swarm.roll.survey import survey
from labkit.swarm.services.all_services import look_at_all, start_anew
from labkit.swarm.services.deploy import ensure_service, look, watch
from labkit.swarm.services.spec import ServiceSpec
from tests.rig.fleet import Fleet, join, until
from tests.swarm.roll.world import phases

pytestmark = pytest.mark.engine(minutes=6)

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


@pytest.fixture
def running(swarm: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetLab]:
    state = State(tmp_path / "s")
    state.make()
    names = [machine.name for machine in swarm.blades]
    made = FleetLab(swarm, lab_yaml.parse(LAB, tmp_path / "lab.yaml"), state, dict.fromkeys(names, "v0"))
    made.boots = {m.name: {"id": m.boot, "version": "v0", "begun": 0.0} for m in swarm.blades}
    monkeypatch.setattr(rpc, "call", made.answer)
    yield made
    for thread in made.threads:
        thread.join()
    for machine in swarm.blades:  # what did not come back comes back for whoever is next
        machine.power_cut()


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


@pytest.mark.parametrize("parallel", [1, 2])
def test_services_go_on_and_every_blade_runs_the_newest(running: FleetLab, web: str, parallel: int) -> None:
    with running.engine() as client:
        ensure_service(client, web_spec(web, 3))
        watch(client, "web", 60)
        fewest, done = [3], threading.Event()

        def count() -> None:
            with running.engine() as own:
                while not done.wait(0.2):
                    fewest.append(look(own, "web").running)

        counting = threading.Thread(target=count)
        counting.start()
        over = roll(running, parallel)
        done.set()
        counting.join()
        assert phases(over) == [Phase.DONE] * 3, over.stopped
        assert {boot["version"] for boot in running.boots.values()} == {"v1"}
        assert min(fewest) >= 1, "one of three at least was there at every moment"
        nodes = [node for node in cluster.nodes(client) if node.blade]
        assert len(nodes) == 3 and all(node.ready for node in nodes), "no ghost"
        again = roll(running, parallel)
        assert again.turns == () and again.over
        shell.spread(cast(RunningLab, running), print)
        held = look(client, "web").places.values()
        assert len(held) == 3 and len(set(held)) >= 2, "swarm places each where fewest are at that moment"


def test_a_blade_that_does_not_come_back_takes_no_other_along(running: FleetLab, web: str) -> None:
    running.lab = replace(running.lab, swarm=SwarmRules(roll_blade_s=30.0))
    running.lost = frozenset({"blade1"})
    with running.engine() as client:
        ensure_service(client, web_spec(web, 2))
        watch(client, "web", 60)
        over = roll(running)
        assert phases(over) == [Phase.FAILED, Phase.WAITING, Phase.WAITING]
        assert over.stopped.startswith("blade1: it is not in the swarm")
        assert watch(client, "web", 30).running == 2
        running.lost = frozenset()
        running.lab = replace(running.lab, swarm=SwarmRules(roll_blade_s=90.0))
        join(running.fleet, running.fleet.blade("blade1"))  # a person mended it
        until(lambda: all(node.ready for node in cluster.nodes(client)))
        over = roll(running)
        assert [turn.blade for turn in over.turns] == ["blade2", "blade3"] and not over.stopped


def test_a_broken_release_takes_one_blade_which_goes_back(
    running: FleetLab, web: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = layout.place_of("flatcar", tmp_path)
    for name, version in ((layout.CURRENT, "v1"), (layout.PREVIOUS, "v0")):
        (place / version).mkdir(parents=True)
        (place / name).write_text(version)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "prove", lambda folder: None)  # these are empty
    running.broken = "v1"
    running.lab = lab_yaml.parse(f"os: flatcar\n{LAB.replace('90 s', '30 s')}", tmp_path / "lab.yaml")
    lab, names = cast(RunningLab, running), [blade.name for blade in running.lab.blades]
    with running.engine() as client:
        ensure_service(client, web_spec(web, 2))
        watch(client, "web", 60)
        found = survey(names, shell.Looker(lab).look(names), dict.fromkeys(names, "v1"), {})
        over, seen = list(shell.carry_out(lab, found.roll(limit_s=30), lambda told: None))[-1]
        assert phases(over) == [Phase.FAILED, Phase.WAITING, Phase.WAITING]
        over = replace(over, limit_s=90)
        said = take_back(lab, found, over, seen, lambda told: print(told.blade, told.step, told.detail))
        assert said.startswith("blade1 runs what it ran before: flatcar v0 is in use again")
        nodes = [node for node in cluster.nodes(client) if node.blade]
        assert len(nodes) == 3 and all(node.ready for node in nodes), "no ghost"
        assert watch(client, "web", 30).running == 2 and {boot["version"] for boot in running.boots.values()} == {"v0"}


def test_starting_anew_goes_by_the_rules_of_the_service(running: FleetLab, web: str) -> None:
    with running.engine() as client:
        ensure_service(client, web_spec(web, 2))
        before = watch(client, "web", 60)
        start_anew(client, before.id)
        after = watch(client, "web", 60)
        assert (after.running, after.content) == (2, before.content)
        with engine(running.fleet.controller.sock) as other:
            found = look_at_all(other)
        assert found.reasons() == {"web": ""} and found.states["web"].running == 2
        assert replace(found.states["web"], reason="") == replace(
            after, reason="", action="", places=dict(after.places)
        )
