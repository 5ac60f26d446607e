"""Services that would be gone with their node: found, started elsewhere first, and left as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, engine
from labkit.swarm.membership.leave import drain_node
from labkit.swarm.membership.moves import ORDER, Moves, find, force, put_back
from labkit.swarm.node import Task, find_node
from labkit.swarm.services.deploy import ensure_service, look, watch
from labkit.swarm.services.spec import Mount, ServiceSpec, UpdatePolicy
from tests.rig.fleet import Fleet, until
from tests.rig.nodes import node
from tests.rig.swarmd import DeskProcess

HERE = Task(id="t1", service="s", slot=1, node="1", state="running")
THERE = Task(id="t2", service="s", slot=2, node="2", state="running")
TWO = (node("1"), node("2", blade="blade2"))


def service(order: str = "start-first", **more: Any) -> dict[str, Any]:
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {}}, "UpdateConfig": {"Order": order}}
    return {"ID": "s", "Spec": {**spec, **more}}


def found(*tasks: Task, raw: dict[str, Any] | None = None, nodes: tuple[Any, ...] = TWO) -> Moves:
    held = [task for task in tasks if task.node == "1"]
    return find(held, tasks, [raw or service()], nodes, "1")


def test_only_a_service_that_would_be_gone_is_moved() -> None:
    assert found(HERE) == Moves(("s",))
    assert found(HERE, replace(THERE, node="1")) == Moves(("s",))
    assert found(HERE, THERE) == Moves()
    assert found(THERE) == Moves()
    assert found(replace(HERE, slot=0)) == Moves()  # a global one has nowhere to go
    assert found(replace(HERE, state="preparing")) == Moves()  # it is not there yet
    assert found(HERE, replace(THERE, state="starting")) == Moves(("s",))
    assert found(HERE, replace(THERE, desired="shutdown")) == Moves(("s",))


def test_a_node_that_takes_no_tasks_is_nowhere_else() -> None:
    for second in (
        replace(TWO[1], availability="drain"),
        replace(TWO[1], state="down"),
        node("2", blade="blade2", leaving="a"),
    ):
        assert found(HERE, THERE, nodes=(TWO[0], second)) == Moves()  # nothing to be done: nowhere to go
        third = node("3", blade="blade3")
        assert found(HERE, THERE, nodes=(TWO[0], second, third)) == Moves(("s",))


def test_what_may_not_run_twice_is_left_and_told() -> None:
    volume = {"ContainerSpec": {"Mounts": [{"Type": "volume", "Source": "data", "Target": "/data"}]}}
    memory = {"ContainerSpec": {"Mounts": [{"Type": "tmpfs", "Target": "/tmp"}]}}
    port = {"Ports": [{"PublishMode": "host", "TargetPort": 80}]}
    assert found(HERE, raw=service("stop-first")) == Moves(("s",))
    assert found(HERE, raw=service("stop-first", TaskTemplate=memory)) == Moves(("s",))
    assert found(HERE, raw=service("start-first", TaskTemplate=volume, EndpointSpec=port)) == Moves(("s",))
    [said] = found(HERE, raw=service("stop-first", TaskTemplate=volume)).gaps
    assert said == "web (its replicas have a volume, and its update order is not start-first)"
    [said] = found(HERE, raw=service("stop-first", EndpointSpec=port)).gaps
    assert said.startswith("web (its replicas have a port of the node")
    assert found(HERE, raw={**service(), "UpdateStatus": {"State": "updating"}}).gaps == ("web (it is being updated)",)


@pytest.mark.parametrize(
    ("policy", "ends_at_a_failure"),
    [
        (None, True),
        ({"Parallelism": 3, "Order": "stop-first", "Delay": 5}, True),
        ({"Order": "start-first"}, True),
        ({"Order": "start-first", "FailureAction": "continue", "MaxFailureRatio": 1}, True),
        ({"Order": "stop-first", "FailureAction": "rollback", "MaxFailureRatio": 0.5}, False),
    ],
)
def test_a_services_own_policy_stands_again(policy: dict[str, Any] | None, ends_at_a_failure: bool) -> None:
    spec: dict[str, Any] = {
        "Name": "web",
        "Labels": {"mine": "1"},
        "TaskTemplate": {"ContainerSpec": {}, "ForceUpdate": 4},
    }
    spec |= {"UpdateConfig": policy} if policy else {}
    before = {**spec}
    force(spec)
    assert (
        spec["TaskTemplate"] == {"ContainerSpec": {}, "ForceUpdate": 5} and before["TaskTemplate"]["ForceUpdate"] == 4
    )
    assert spec["UpdateConfig"]["Order"] == "start-first"
    how = (spec["UpdateConfig"]["FailureAction"], spec["UpdateConfig"]["MaxFailureRatio"])
    assert how == (("pause", 0) if ends_at_a_failure else ("rollback", 0.5))
    put_back(spec)
    assert spec == {**before, "TaskTemplate": spec["TaskTemplate"]}
    put_back(spec)
    assert spec["Labels"] == {"mine": "1"}


@pytest.mark.parametrize(("said", "policy"), [("none", None), ("stop-first", {"Order": "stop-first", "Delay": 5})])
def test_what_an_earlier_labkit_left_is_put_back(said: str, policy: dict[str, Any] | None) -> None:
    spec: dict[str, Any] = {"Labels": {ORDER: said}, "UpdateConfig": {"Order": "start-first", "Delay": 5}}
    put_back(spec)
    assert spec == {"Labels": {}, **({"UpdateConfig": policy} if policy else {})}


class Swarm:
    """As much of an engine as a drain asks: a service with its only replica on node 1, which will not be updated."""

    def __init__(self) -> None:
        self.api = self
        self.changed: list[tuple[str, str]] = []

    def services(self, filters: object = None) -> list[dict[str, Any]]:
        return [] if filters else [service()]

    def nodes(self) -> list[dict[str, Any]]:
        state = {"State": "ready"}
        engine = {"Hostname": "h", "Engine": {"Labels": {"blade": "b", "boot": "a"}}}
        return [{"ID": id, "Status": state, "Description": engine, "Spec": {}} for id in ("1", "2")]

    def tasks(self) -> list[dict[str, Any]]:
        moved = bool(self.changed) and self.changed[-1][1] == "drain"
        task = {"ServiceID": "s", "Slot": 1, "DesiredState": "running", "Status": {"State": "running"}}
        return [{**task, "ID": "t2" if moved else "t1", "NodeID": "2" if moved else "1"}]

    def inspect_node(self, id: str) -> dict[str, Any]:
        return {"Version": {"Index": 1}, "Spec": {}}

    def update_node(self, id: str, version: int, spec: dict[str, Any]) -> None:
        self.changed.append((id, spec["Availability"]))

    def inspect_service(self, id: str) -> dict[str, Any]:
        raise docker.errors.APIError("rpc error: code = Unknown desc = update out of order")


def test_a_blade_leaves_also_when_nothing_can_be_started_elsewhere() -> None:
    swarm: Any = Swarm()
    drained = drain_node(swarm, node("1"), bound_s=1)
    assert swarm.changed == [("1", "pause"), ("1", "drain")]
    assert drained.moved == ("web.1 to b",) and drained.waiting == ()
    assert drained.gaps == ("what could not be started elsewhere first (update out of order)",)


# --- with engines

engines = pytest.mark.engine


@pytest.fixture
def alone(swarm: Fleet, web: str) -> Iterator[Fleet]:
    """A service with both replicas on blade1, and room on the others."""
    with engine(swarm.controller.sock) as client:
        place(swarm, client, web)
        yield swarm


def place(fleet: Fleet, client: Any, web: str, **more: Any) -> None:
    others = [node for node in cluster.nodes(client) if node.blade in ("blade2", "blade3")]
    for other in others:
        cluster.drain(client, other.id)
    update = UpdatePolicy(parallelism=2, order="start-first", monitor_s=1)
    spec = ServiceSpec(**{"name": "web", "image": web, "replicas": 2, "update": update, **more})
    ensure_service(client, spec)
    assert set(watch(client, "web", 60).places.values()) == {"blade1"}
    for other in others:
        cluster.activate(client, other.id)


def running(fleet: Fleet) -> int:
    """How many replicas have a container that runs, as the engines themselves say: the swarm hears of it later."""
    count = 0
    for machine in fleet.blades:
        with engine(machine.sock) as client:
            count += len(api(client).containers(filters={"label": "com.docker.swarm.service.name=web"}))
    return count


class Watcher:
    """Counts a service's containers all the time, in a thread of its own; ``least`` is the smallest number seen."""

    def __init__(self, fleet: Fleet) -> None:
        self.least = running(fleet)
        self.looks = 0
        self._fleet, self._over = fleet, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.is_set():
            self.least, self.looks = min(self.least, running(self._fleet)), self.looks + 1

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@engines
def test_a_drain_has_no_gap(alone: Fleet) -> None:
    machine = alone.blade("blade1")
    with engine(alone.controller.sock) as client:
        mine = find_node(cluster.nodes(client), "blade1", machine.boot)
        assert mine is not None
        with Watcher(alone) as seen:
            drained = drain_node(client, mine)
        assert drained.waiting == drained.stranded == drained.gaps == () and len(drained.moved) == 2
        assert seen.looks > 5 and seen.least >= 2
        assert "blade1" not in watch(client, "web", 30).places.values()
        assert not [task for task in api(client).tasks({"node": mine.id}) if task["Status"]["State"] == "running"]
        after = next(one for one in cluster.nodes(client) if one.id == mine.id)
        assert after.availability == "drain" and after.leaving


@engines
def test_a_blade_that_leaves_takes_no_replica_with_it(alone: Fleet, tmp_path: Path) -> None:
    desk = DeskProcess(alone, tmp_path / "state")
    try:
        desk.start()
        with Watcher(alone) as seen:
            answer = desk.ask("leave", alone.blade("blade1"))
        assert len(answer["moved"]) == 2 and seen.least >= 2  # type: ignore[arg-type]
        until(lambda: "drained" in desk.swarm("blade1"))
    finally:
        desk.close()


@engines
def test_a_services_own_order_stands_again_after_a_drain(swarm: Fleet, web: str) -> None:
    machine = swarm.blade("blade1")
    with engine(swarm.controller.sock) as client:
        place(swarm, client, web, update=UpdatePolicy(order="stop-first", monitor_s=1))
        mine = find_node(cluster.nodes(client), "blade1", machine.boot)
        assert mine is not None
        before = api(client).inspect_service("web")["Spec"]
        with Watcher(swarm) as seen:
            assert len(drain_node(client, mine, leaves=False).moved) == 2
        after = api(client).inspect_service("web")["Spec"]
        assert seen.least >= 2
        assert (after["UpdateConfig"], after["Labels"]) == (before["UpdateConfig"], before["Labels"])
        assert not next(one for one in cluster.nodes(client) if one.id == mine.id).leaving


@engines
def test_a_policy_that_was_left_by_a_desk_that_died_is_put_back(swarm: Fleet, web: str, tmp_path: Path) -> None:
    with engine(swarm.controller.sock) as client:
        place(swarm, client, web, update=UpdatePolicy(order="stop-first", monitor_s=1))
        spec_changes.change_service(client, "web", force)
        assert ORDER in api(client).inspect_service("web")["Spec"]["Labels"]
    desk = DeskProcess(swarm, tmp_path / "state")
    try:
        desk.start()
        with engine(swarm.controller.sock) as client:
            until(lambda: ORDER not in api(client).inspect_service("web")["Spec"]["Labels"])
            assert api(client).inspect_service("web")["Spec"]["UpdateConfig"]["Order"] == "stop-first"
    finally:
        desk.close()


@engines
def test_replicas_with_a_volume_never_run_twice(swarm: Fleet, web: str) -> None:
    machine = swarm.blade("blade1")
    with engine(swarm.controller.sock) as client:
        once = UpdatePolicy(order="stop-first", monitor_s=1)
        place(swarm, client, web, replicas=1, update=once, mounts=(Mount("/data", source="data"),))
        mine = find_node(cluster.nodes(client), "blade1", machine.boot)
        assert mine is not None
        drained = drain_node(client, mine, leaves=False)
        assert drained.gaps == ("web (its replicas have a volume, and its update order is not start-first)",)
        assert len(drained.moved) == 1 and look(client, "web").running == 1
