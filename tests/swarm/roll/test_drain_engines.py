"""A roll empties a blade before its button is pressed; what does not move, or a roll that is broken off, leaves it."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import docker
import pytest

from labkit.lab import Blade, SwarmRules
from labkit.servers import roll as shell
from labkit.servers.client import RunningLab
from labkit.servers.drains import take_up
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.membership.leave import empty_node
from labkit.swarm.membership.moves import ORDER
from labkit.swarm.node import Node, find_node
from labkit.swarm.roll.survey import survey
from labkit.swarm.roll.turns import Phase, Roll
from labkit.swarm.services.deploy import ensure_service, look, watch
from tests.rig.fleet import until
from tests.swarm.roll.fleet_lab import FleetLab, roll, web_spec
from tests.swarm.roll.world import phases

pytestmark = pytest.mark.engine


@dataclass
class Noting(FleetLab):
    """A lab that notes how each blade was when its soft button was pressed: its availability, and what ran there."""

    def power(self, blade: Blade, state: str, *given: Any, **more: Any) -> None:
        if state == "shutdown":
            with self.engine() as client:
                node = node_of(self, client, blade.name)
                here = api(client).tasks({"node": node.id, "desired-state": "running"})
                whole = look(client, "web")
            self.noted = (*self.noted, (blade.name, node.availability, len(here), whole.running))
        super().power(blade, state, *given, **more)

    noted: tuple[tuple[str, str, int, int], ...] = ()


def node_of(running: FleetLab, client: docker.DockerClient, blade: str) -> Node:
    found = find_node(cluster.nodes(client), blade, running.fleet.blade(blade).boot)
    assert found is not None
    return found


@contextlib.contextmanager
def on_one(running: FleetLab, blade: str) -> Iterator[docker.DockerClient]:
    """What is placed inside comes to lie on this blade, whose fellows take tasks again afterwards."""
    with running.engine() as client:
        others = [node for node in cluster.nodes(client) if node.blade and node.blade != blade]
        for other in others:
            cluster.drain(client, other.id)
        yield client
        for other in others:
            cluster.activate(client, other.id)


def test_a_blade_is_empty_before_its_button_is_pressed(running: FleetLab, web: str) -> None:
    lab = Noting(**vars(running))
    with on_one(running, "blade1") as client:
        ensure_service(client, web_spec(web, 2))
        assert set(watch(client, "web", 60).places.values()) == {"blade1"}
    over = roll(lab)
    running.threads += [thread for thread in lab.threads if thread not in running.threads]
    assert phases(over) == [Phase.DONE] * 3, over.stopped
    assert lab.noted == tuple((name, "drain", 0, 2) for name in ("blade1", "blade2", "blade3"))
    with running.engine() as client:
        assert all(node.availability == "active" for node in cluster.nodes(client) if node.blade)
        assert watch(client, "web", 30).running == 2


@pytest.fixture
def stuck(running: FleetLab, web: str) -> Iterator[FleetLab]:
    """A service that runs on blade1 and starts nowhere else, since nobody else has its image."""
    own = running.fleet.blade("blade1").client
    own.images.pull(web.partition("@")[0]).tag("local-only", "1")
    own.close()
    container = docker.types.ContainerSpec("local-only:1")
    update = docker.types.UpdateConfig(parallelism=1, order="stop-first", monitor=10**9, failure_action="continue")
    with on_one(running, "blade1") as client:
        api(client).create_service(docker.types.TaskTemplate(container), name="web", update_config=update)
        watch(client, "web", 60)
    running.lab = replace(running.lab, swarm=SwarmRules(roll_blade_s=20.0))
    yield running


def is_as_before(running: FleetLab, client: docker.DockerClient, container: str) -> None:
    """blade1 takes tasks, and the service is the one that it was: the same container, by its own rules."""
    node = node_of(running, client, "blade1")
    assert (node.availability, node.rolling, node.leaving) == ("active", "", False)
    until(lambda: (look(client, "web").running, look(client, "web").update) in ((1, ""), (1, "completed")), 60)
    spec = api(client).inspect_service("web")["Spec"]
    assert spec["UpdateConfig"]["Order"] == "stop-first" and ORDER not in (spec.get("Labels") or {})
    time.sleep(3)  # a replica that is about to be replaced is, by then
    assert [container] == containers(running)


def containers(running: FleetLab) -> list[str]:
    with engine(running.fleet.blade("blade1").sock) as client:
        return [found["Id"] for found in api(client).containers(filters={"label": "com.docker.swarm.service.name=web"})]


def begun(running: FleetLab) -> Roll:
    lab, names = cast(RunningLab, running), [blade.name for blade in running.lab.blades]
    found = survey(names, shell.Looker(lab).look(names), dict.fromkeys(names, running.newest), {})
    assert not found.obstacles
    return found.roll(limit_s=running.lab.swarm.roll_blade_s)


def test_a_task_that_does_not_move_stops_the_roll(stuck: FleetLab) -> None:
    [container] = containers(stuck)
    over = roll(stuck)
    assert phases(over) == [Phase.FAILED, Phase.WAITING, Phase.WAITING]
    assert "blade1: it is not empty yet, and goes on as it was: still moving: web.1; web is not whole" in over.stopped
    assert stuck.threads == [], "no button was pressed"
    with stuck.engine() as client:
        is_as_before(stuck, client, container)


def test_a_roll_that_is_broken_off_leaves_the_blade_as_it_was(stuck: FleetLab) -> None:
    [container] = containers(stuck)
    with stuck.engine() as client:
        steps = shell.carry_out(cast(RunningLab, stuck), begun(stuck), lambda told: None)
        for now, _ in steps:
            assert phases(now)[0] is Phase.DRAINING
            if node_of(stuck, client, "blade1").rolling:
                break
        steps.close()  # type: ignore[attr-defined]  # as by Ctrl-C
        is_as_before(stuck, client, container)


def empty_for_ever(sock: Path, node: Node) -> None:
    with engine(sock) as client:
        empty_node(client, node, bound_s=600)


def test_a_roll_that_is_killed_is_taken_up_by_the_next(stuck: FleetLab) -> None:
    [container] = containers(stuck)
    with stuck.engine() as client:
        node = node_of(stuck, client, "blade1")
        worker = multiprocessing.get_context("fork").Process(
            target=empty_for_ever, args=(stuck.fleet.controller.sock, node)
        )
        worker.start()
        until(lambda: ORDER in (api(client).inspect_service("web")["Spec"].get("Labels") or {}))
        worker.kill()
        worker.join()
        assert node_of(stuck, client, "blade1").rolling == "active"
        assert take_up(cast(RunningLab, stuck)) == ("blade1",)
        is_as_before(stuck, client, container)
        assert take_up(cast(RunningLab, stuck)) == ()
