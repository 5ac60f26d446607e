"""A swarm that was there before the lab: what is said, and on a real engine that nothing is changed before the yes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import SwarmError
from labkit.lab import Lab, Role, lab_yaml
from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, engine
from labkit.swarm.membership import adoption, joining
from labkit.swarm.membership.adoption import AGREED, MADE
from labkit.swarm.swarmd import SwarmDaemon
from tests.rig.fleet import Fleet, Machine
from tests.rig.known import causes

REAL = """\
name: rack
network: {{kind: interface, interface: eth1, subnet: 10.99.77.0/24, server: {address}}}
bmc: {{user: ADMIN, password_file: bmc.password}}
blades: [{{name: red1, macs: ["00:00:5e:00:53:10"], address: 10.99.77.90, bmc: {{address: 10.99.77.201}}}}]
"""


def test_whose_swarm_it_is_stands_in_its_labels() -> None:
    assert adoption.may_change({}, own_engine=True) and not adoption.may_change({}, own_engine=False)
    assert adoption.is_made({MADE: "lab"}, own_engine=False) and not adoption.is_made({AGREED: "lab"}, own_engine=False)
    assert adoption.may_change({AGREED: "lab"}, own_engine=False)
    said = str(adoption.refusal(adoption.terms(services=1, nodes=2, availability="active")))
    assert "with 1 service and 2 nodes" in said and "stays\nactive." in said and "./lab swarm adopt --yes" in said


@pytest.fixture
def found(fleet: Fleet) -> Iterator[Machine]:
    """An engine whose owner has made a swarm himself; it runs tasks, as Docker has it."""
    machine = fleet.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock) as client:
        api(client).init_swarm(advertise_addr=machine.address, listen_addr=f"{machine.address}:2377")
    yield machine
    machine.power_cut()


@pytest.fixture
def rack(found: Machine, tmp_path: Path) -> Lab:
    (tmp_path / "bmc.password").write_text("x\n")
    (tmp_path / "bmc.password").chmod(0o600)
    (tmp_path / "lab.yaml").write_text(REAL.format(address=found.address))
    return lab_yaml.load(tmp_path / "lab.yaml")


@pytest.mark.engine
def test_a_swarm_that_was_found_is_not_changed_before_the_yes(found: Machine, rack: Lab) -> None:
    told: list[events.Event] = []

    async def look(desk: SwarmDaemon) -> None:
        await desk.refused({"blade": "red1"})
        for _ in range(3):
            await desk.rounds.look()

    with engine(found.sock) as client:
        before = api(client).inspect_swarm()
        with causes("swarm-found") as refused:
            cluster.ensure_swarm_of(client, rack)
        assert "join tokens" in refused.value.what and "stays\nactive" in refused.value.what
        desk = SwarmDaemon(rack, found.sock, told.append, joining_s=0)
        asyncio.run(look(desk))
        with pytest.raises(SwarmError, match="nobody has said yes"):
            asyncio.run(desk.join({"blade": "red1", "boot": "b", "address": "10.99.77.90"}))
        after = api(client).inspect_swarm()
        assert (after["Spec"], after["JoinTokens"]) == (before["Spec"], before["JoinTokens"])
        assert [(event.kind, getattr(event, "action", "")) for event in told] == [("swarm", "silent")]

        state = cluster.ensure_swarm_of(client, rack, adopt=True)
        assert not state.made and not state.drained and "not of labkit's making" in str(state)
        assert cluster.swarm_labels(client) == {AGREED: "rack"}
        assert not cluster.ensure_swarm_of(client, rack).drained  # the yes is remembered
        assert cluster.nodes(client)[0].availability == "active"
        asyncio.run(look(SwarmDaemon(rack, found.sock, told.append, joining_s=0)))
        assert api(client).inspect_swarm()["JoinTokens"] != before["JoinTokens"]
        assert joining.join_body(client, role=Role.WORKER, address="10.99.77.90")["JoinToken"]


@pytest.mark.engine
@pytest.mark.parametrize("rule", ["", "drain", "active"])
def test_of_a_swarm_that_labkit_made_the_file_decides(fleet: Fleet, tmp_path: Path, rule: str) -> None:
    machine = fleet.blade("blade3")
    machine.reboot("alone")
    (tmp_path / "bmc.password").write_text("x\n")
    (tmp_path / "bmc.password").chmod(0o600)
    more = f"swarm: {{controller: {rule}}}\n" if rule else ""
    (tmp_path / "lab.yaml").write_text(REAL.format(address=machine.address) + more)
    lab = lab_yaml.load(tmp_path / "lab.yaml")
    with engine(machine.sock) as client:
        state = cluster.ensure_swarm_of(client, lab)
        assert state.created and state.made and state.drained == (rule != "active")
        assert cluster.swarm_labels(client) == {MADE: "rack"}
        other = "drain" if rule == "active" else "active"
        spec_changes.change_node(client, state.node, lambda spec: spec.update(Availability=other))
        kept = cluster.ensure_swarm_of(client, lab)
        assert not kept.created and kept.drained == (rule == "drain")  # without a rule it stays as somebody has it
    machine.power_cut()
