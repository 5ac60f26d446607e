"""A controller with another address than before, on real engines: nothing is lost on either way."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import SwarmError
from labkit.lab import lab_yaml
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine, read_local_swarm
from labkit.swarm.membership import managers
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.recovery import move, redeploy
from tests.rig.fleet import Fleet, Machine, until
from tests.rig.known import causes

pytestmark = pytest.mark.engine

NEW = "10.99.77.44"
PASSWORD = b"not in any swarm's answers"


@pytest.fixture
def moved(fleet: Fleet, web: str) -> Iterator[Machine]:
    """An engine with a swarm of its own and a service with all that a service can have, whose address has changed."""
    machine = fleet.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock, timeout_s=60) as client:
        cluster.ensure_swarm(client, advertise=machine.address, drained=False)
        client.networks.create("back", driver="overlay", attachable=True, labels={"of": "me"})
        config = client.configs.create(name="page", data=b"hello")
        secret = client.secrets.create(name="password", data=PASSWORD)
        spec = {
            "Name": "kept",
            "Labels": {"of": "me"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": web,
                    "Configs": [{"ConfigID": config.id, "ConfigName": "page", "File": _file("/page")}],
                    "Secrets": [{"SecretID": secret.id, "SecretName": "password", "File": _file("password")}],
                },
                "Networks": [{"Target": "back", "Aliases": ["alias"]}],
            },
            "Mode": {"Replicated": {"Replicas": 1}},
        }
        move._create(client, "/services/create", spec)
    machine.power_cut()
    fleet.readdress(machine, NEW)
    machine.on()
    yield machine
    machine.power_cut()
    fleet.readdress(machine, machine.address)


def _file(name: str) -> dict[str, Any]:
    return {"Name": name, "UID": "0", "GID": "0", "Mode": 0o444}


def both_addresses(fleet: Fleet, machine: Machine) -> None:
    """The old address as a second one of the card: what ``./lab swarm move --keep-address`` does."""
    machine.power_cut()
    fleet.readdress(machine, NEW, machine.address)
    machine.on()
    with engine(machine.sock) as client:
        until(lambda: read_local_swarm(client).answers)


def test_the_swarm_answers_again_at_its_old_address(fleet: Fleet, moved: Machine) -> None:
    with engine(moved.sock) as client, causes("swarm-elsewhere") as refused:
        cluster.ensure_swarm(client, advertise=NEW)
    assert NEW in refused.value.what and moved.address in refused.value.what
    with engine(moved.sock) as client:
        told = move.explain(read_local_swarm(client, advertise=NEW), "10.99.77.0/24")
    assert "--keep-address" in told and "--anew" in told and "--force" not in told
    both_addresses(fleet, moved)
    with engine(moved.sock) as client:
        assert read_local_swarm(client, advertise=moved.address).state is LocalState.ALONE
        assert read_local_swarm(client, advertise=NEW).state is LocalState.ELSEWHERE
        assert [one["Spec"]["Name"] for one in api(client).services()] == ["kept"]


def test_every_service_is_deployed_again_in_a_new_swarm(fleet: Fleet, moved: Machine, tmp_path: Path) -> None:
    both_addresses(fleet, moved)
    with engine(moved.sock, timeout_s=60) as client:
        before = move.take_inventory(client)
        (tmp_path / "kept.json").write_text(json.dumps(before.as_json()))
        with pytest.raises(SwarmError, match="secrets that nobody but you has: password"):
            move.check_secrets(before, {})
        move.leave(client)
        state = cluster.ensure_swarm(client, advertise=NEW, drained=False)
        assert state.created and state.address == NEW
        inventory = redeploy.of_json(json.loads((tmp_path / "kept.json").read_text()))
        assert move.deploy_again(client, inventory, {"password": PASSWORD}, progress=print) == ("kept",)
        assert move.deploy_again(client, inventory, {"password": PASSWORD}, progress=print) == ()
        (service,) = api(client).services()
        after = move.take_inventory(client)
        (config,) = api(client).configs()
        assert base64.b64decode(config["Spec"]["Data"]) == b"hello"
        assert (after.networks, after.secrets) == (before.networks, before.secrets)
        old, new = (json.loads(json.dumps(one.services[0])) for one in (before, after))
        for spec in (old, new):
            for key, number in (("Configs", "ConfigID"), ("Secrets", "SecretID")):
                spec["TaskTemplate"]["ContainerSpec"][key][0].pop(number)
        assert old == new and service["Spec"]["Name"] == "kept"
    moved.power_cut()
    fleet.readdress(moved, NEW)
    moved.on()
    with engine(moved.sock) as client:
        until(lambda: read_local_swarm(client, advertise=NEW).state is LocalState.ALONE)


def test_a_swarm_with_other_managers_is_not_ended(swarm: Fleet, tmp_path: Path) -> None:
    lab = lab_yaml.parse("blades: [{name: blade1}, {name: blade2}, {name: blade3}]\n", tmp_path / "lab.yaml")
    with engine(swarm.controller.sock, timeout_s=60) as client:
        managers.ensure_managers(client, lab, ["blade1"])
        with pytest.raises(SwarmError, match="has 2 managers, and would go on without this one"):
            move.leave(client)
        managers.ensure_managers(client, lab, [])
        assert len(cluster.nodes(client)) == 4
    swarm.blade("blade1").power_cut()  # one that was a manager just now takes half a minute to become one again
