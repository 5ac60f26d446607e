"""The swarm made, joined, listed and changed, on real engines."""

from __future__ import annotations

import json
import time
from ipaddress import IPv4Network

import docker.errors
import pytest

from labkit.errors import SwarmError
from labkit.lab import Role
from labkit.swarm import cluster
from labkit.swarm.engine import api, connect, engine, read_local_swarm
from labkit.swarm.membership import joining, managers
from labkit.swarm.membership.leave import drain_node
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.node import find_node
from tests.rig.fleet import Fleet, ensure_joined, join, post_join, until
from tests.rig.known import causes

pytestmark = pytest.mark.engine


def test_found_in_place(swarm: Fleet) -> None:
    with engine(swarm.controller.sock) as client:
        state = cluster.ensure_swarm(client, advertise=swarm.controller.address)
        assert not state.created and state.drained
        assert (state.address, state.managers, state.workers) == (swarm.controller.address, 1, 3)
        assert "found in place: 1 manager, 3 workers" in str(state)
        controller = next(node for node in cluster.nodes(client) if node.id == state.node)
        assert (controller.availability, controller.role, controller.leader) == ("drain", "manager", True)
        assert controller.address == swarm.controller.address


def test_made_once_and_refused_elsewhere(swarm: Fleet) -> None:
    machine = swarm.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock) as client:
        assert read_local_swarm(client).state is LocalState.NONE
        with causes("no-swarm"):
            joining.join_body(client, role=Role.WORKER, address=machine.address)
        state = cluster.ensure_swarm(client, advertise=machine.address, drained=False)
        assert state.created and not state.drained
        assert api(client).inspect_swarm()["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 3
        assert api(client).inspect_swarm()["Spec"]["Name"] == "default"  # what was not asked for is as Docker has it
        assert cluster.nodes(client)[0].availability == "active"
        assert not cluster.ensure_swarm(client, advertise=machine.address).created
        assert cluster.nodes(client)[0].availability == "active"  # it stays as somebody has it
        assert cluster.ensure_swarm(client, advertise=machine.address, drained=True).drained
        assert cluster.nodes(client)[0].availability == "drain"
        with causes("swarm-elsewhere"):
            cluster.ensure_swarm(client, advertise="10.1.2.3")
        swarm_now = api(client).inspect_swarm()
        locked = {**swarm_now["Spec"], "EncryptionConfig": {"AutoLockManagers": True}}
        api(client).update_swarm(swarm_now["Version"]["Index"], swarm_spec=locked)
    key = machine.data / "swarm" / "certificates" / "swarm-node.key"
    until(lambda: "ENCRYPTED" in key.read_text())
    machine.power_cut()
    machine.on()
    with engine(machine.sock) as client, causes("swarm-locked"):
        cluster.ensure_swarm(client, advertise=machine.address)


@pytest.mark.parametrize("pool", [None, IPv4Network("172.28.0.0/16")])
def test_overlay_networks_are_taken_from_the_pool(swarm: Fleet, pool: IPv4Network | None) -> None:
    machine = swarm.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock) as client:
        cluster.ensure_swarm(client, advertise=machine.address, pool=pool)
        (taken,) = api(client).inspect_swarm()["DefaultAddrPool"]
        client.networks.create("mine", driver="overlay")
        subnets = [
            IPv4Network(config["Subnet"])
            for raw in api(client).networks() if raw["Driver"] == "overlay"
            for config in api(client).inspect_network(raw["Id"])["IPAM"]["Config"] or ()
        ]  # fmt: skip
    assert subnets and all(subnet.subnet_of(IPv4Network(taken)) for subnet in subnets)
    assert not IPv4Network(taken).overlaps(IPv4Network("10.99.77.0/24"))
    assert pool is None or taken == str(pool)


def test_overlay_networks_keep_the_port_that_they_were_made_with(swarm: Fleet) -> None:
    machine = swarm.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock) as client:
        cluster.ensure_swarm(client, advertise=machine.address, data_path_port=7789)
        for _ in range(2):
            assert api(client).inspect_swarm()["DataPathPort"] == 7789
            assert not cluster.ensure_swarm(client, advertise=machine.address, data_path_port=7789).created
            assert not cluster.ensure_swarm(client, advertise=machine.address).created
            with pytest.raises(SwarmError, match=r"UDP port 7789, and lab.yaml says 7790") as error:
                cluster.ensure_swarm(client, advertise=machine.address, data_path_port=7790)
            assert "data_path_port: 7789" in error.value.fix
            managers.force_alone(client, advertise=machine.address)


def test_nodes_are_known_by_the_labels_of_their_engines(swarm: Fleet) -> None:
    with engine(swarm.controller.sock) as client:
        nodes = {node.blade: node for node in cluster.nodes(client)}
    assert set(nodes) == {"", "blade1", "blade2", "blade3"}
    for machine in swarm.blades:
        node = nodes[machine.name]
        assert (node.boot, node.address, node.role, node.state) == (machine.boot, machine.address, "worker", "ready")
        assert abs(node.created - time.time()) < 3600


def test_a_worker_is_no_place_for_a_swarm(swarm: Fleet) -> None:
    with engine(swarm.blade("blade1").sock) as client, causes("other-swarm"):
        cluster.ensure_swarm(client, advertise=swarm.blade("blade1").address)


def test_labels_are_added_to_those_there(swarm: Fleet) -> None:
    with engine(swarm.controller.sock) as client:
        node = find_node(cluster.nodes(client), "blade1", swarm.blade("blade1").boot)
        assert node is not None
        cluster.label_nodes(client, node.id, {"slot": "1"})
        cluster.label_nodes(client, node.id, {"blade": "blade1"})
        (node,) = cluster.wait_nodes(client, ["blade1"], 1)
        assert dict(node.labels) == {"slot": "1", "blade": "blade1"}


def test_an_old_token_opens_nothing(swarm: Fleet) -> None:
    machine = swarm.blade("blade3")
    with engine(swarm.controller.sock) as client:
        body = joining.join_body(client, role=Role.WORKER, address=machine.address)
        manager = api(client).inspect_swarm()["JoinTokens"]["Manager"]
        joining.rotate_token(client)
        assert api(client).inspect_swarm()["JoinTokens"]["Manager"] == manager
        assert api(client).inspect_swarm()["Spec"]["Dispatcher"]["HeartbeatPeriod"] == 2_000_000_000  # nothing else
        fresh = joining.join_body(client, role=Role.WORKER, address=machine.address)
        assert fresh["JoinToken"] != body["JoinToken"]
        assert {**fresh, "JoinToken": ""} == {**body, "JoinToken": ""}
        assert body["RemoteAddrs"] == [f"{swarm.controller.address}:2377"]
    machine.reboot("late")
    with causes("token-expired"), engine(machine.sock) as late:
        api(late).join_swarm(body["RemoteAddrs"], body["JoinToken"], body["ListenAddr"], body["AdvertiseAddr"])
    post_join(machine, json.loads(json.dumps(fresh)))


def test_waiting_names_who_is_missing(swarm: Fleet) -> None:
    seen: list[int] = []
    with engine(swarm.controller.sock) as client:
        with causes("node-not-ready") as error:
            cluster.wait_nodes(
                client, ["blade1", "blade9"], 0.3, progress=lambda nodes: seen.append(len(nodes)), every_s=0.1
            )
        assert "not Ready in the swarm within 0.3 s: blade9" in error.value.what
        assert len(seen) >= 2 and set(seen) == {4}
        found = cluster.wait_nodes(client, ["blade2", "blade1"], 5)
        assert [node.blade for node in found] == ["blade2", "blade1"]


def test_a_manager_steps_down_before_it_goes(swarm: Fleet) -> None:
    machine = swarm.blade("blade2")
    ensure_joined(swarm, machine, Role.MANAGER)
    with engine(swarm.controller.sock) as client:
        node = find_node(cluster.nodes(client), "blade2", machine.boot)
        assert node is not None and node.role == "manager"
        until(lambda: len(joining.join_body(client, role=Role.WORKER, address="10.0.0.9")["RemoteAddrs"]) == 2)
        drain_node(client, node)
        with engine(machine.sock) as own:
            api(own).leave_swarm()  # the engine lets only a worker go without force
        assert cluster.remove_node(client, node.id)
        assert not cluster.remove_node(client, node.id)
        assert find_node(cluster.nodes(client), "blade2", machine.boot) is None


def test_an_engine_that_is_not_there(swarm: Fleet) -> None:
    with causes("engine-down") as missing:
        connect(swarm.controller.run / "nothing.sock")
    assert "no Docker engine listens here" in missing.value.what and "./lab up" in missing.value.fix
    machine = swarm.blade("blade1")
    machine.power_cut()
    with causes("engine-silent"):
        connect(machine.sock)


def test_what_the_engine_says_is_what_we_say(swarm: Fleet) -> None:
    with engine(swarm.controller.sock) as client:
        with pytest.raises(SwarmError, match=r"^node nosuchnode not found"), engine(swarm.controller.sock) as other:
            api(other).inspect_node("nosuchnode")
        with pytest.raises(docker.errors.NotFound):
            api(client).inspect_node("nosuchnode")


def test_joining_twice_changes_nothing(swarm: Fleet) -> None:
    machine = swarm.blade("blade1")
    with pytest.raises(AssertionError, match="already part of a swarm"):
        join(swarm, machine)
