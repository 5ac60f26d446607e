"""The states of a swarm that only look like none, each on a real engine: what is said, and that nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import SwarmError
from labkit.lab import lab_yaml
from labkit.swarm import cluster
from labkit.swarm.engine import engine, read_local_swarm
from labkit.swarm.membership import managers
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.swarmd import SwarmDaemon
from tests.rig.fleet import Fleet, Machine, until
from tests.rig.known import causes, shows

pytestmark = pytest.mark.engine

LAB = "name: test\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"


def alone(fleet: Fleet) -> Machine:
    """A blade's engine with a swarm of its own, apart from the fleet's."""
    machine = fleet.blade("blade3")
    machine.reboot("alone")
    with engine(machine.sock) as client:
        cluster.ensure_swarm(client, advertise=machine.address)
    return machine


def test_a_swarm_whose_engine_cannot_start_it_is_told_in_the_engines_own_words(fleet: Fleet) -> None:
    machine = alone(fleet)
    machine.power_cut()
    certificate = machine.data / "swarm/certificates/swarm-node.crt"
    whole = certificate.read_bytes()
    certificate.write_text("no certificate")
    machine.on()
    with engine(machine.sock) as client, causes("swarm-broken") as broken:
        cluster.ensure_swarm(client, advertise=machine.address)
    assert "./lab swarm backup" in broken.value.fix and "force" not in str(broken.value)
    with pytest.raises(SwarmError, match="cannot bring up its swarm"), engine(machine.sock) as client:
        cluster.nodes(client)
    machine.power_cut()
    certificate.write_bytes(whole)
    machine.on()
    with engine(machine.sock) as client:
        assert read_local_swarm(client, advertise=machine.address).state is LocalState.ALONE
    machine.power_cut()


def test_an_address_that_the_machine_has_no_longer(fleet: Fleet) -> None:
    machine = alone(fleet)
    machine.power_cut()
    fleet.readdress(machine, "10.99.77.33")
    try:
        machine.on()
        with engine(machine.sock) as client, causes("swarm-elsewhere") as moved:
            cluster.ensure_swarm(client, advertise="10.99.77.33")
        assert f"is at {machine.address}, the lab wants it at 10.99.77.33" in moved.value.what
        assert "./lab swarm move" in moved.value.fix
        with engine(machine.sock) as client:
            assert read_local_swarm(client).state is LocalState.ELSEWHERE
    finally:
        machine.power_cut()
        fleet.readdress(machine, machine.address)


def test_a_controller_that_starts_without_its_fellow_managers_says_so(swarm: Fleet, tmp_path: Path) -> None:
    """The diskless managers are gone with their memory; the controller is whole, and nobody calls that no swarm."""
    (tmp_path / "lab.yaml").write_text(LAB)
    lab, told = lab_yaml.load(tmp_path / "lab.yaml"), list[events.Event]()
    with engine(swarm.controller.sock) as client:
        managers.ensure_managers(client, lab, ["blade1", "blade2"])
    for machine in (swarm.controller, *swarm.blades[:2]):
        machine.power_cut()
    swarm.controller.on()

    async def look() -> None:
        desk = SwarmDaemon(lab, swarm.controller.sock, told.append)
        for _ in range(40):
            await desk.rounds.look()
            if told:
                return
            await asyncio.sleep(0.5)

    asyncio.run(look())
    (silent,) = told
    assert isinstance(silent, events.Swarm) and silent.action == "silent"
    assert "does not have a leader" in silent.detail and "./lab swarm recover" in silent.fix
    began = events.BootStarted(blade="blade3", boot="b1", cause="pxe", time=1)
    asked = events.Dhcp(blade="blade3", boot="b1", mac="52:54:00:4d:00:03", message="REQUEST", reply="ACK", time=1)
    loaded = events.Transfer(blade="blade3", boot="b1", protocol="http", path="labos/vmlinuz", state="done", time=2)
    up = events.Phoned(blade="blade3", boot="b1", stage="os", init_s=1, ignition_s=2, time=3)
    shows("swarm-silent", [began, asked, loaded, up, silent], "blade3")
    with engine(swarm.controller.sock) as client:
        assert read_local_swarm(client).state is LocalState.LEADERLESS
        with causes("quorum-lost"):
            cluster.ensure_swarm(client, advertise=swarm.controller.address)
        managers.force_alone(client, advertise=swarm.controller.address)
        until(lambda: read_local_swarm(client).state is LocalState.ALONE)
        managers.ensure_managers(client, lab, [])
