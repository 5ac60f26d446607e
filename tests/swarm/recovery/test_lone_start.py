"""Everything is cut off at once while blades manage as well, and the controller starts again: what is there after."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import SwarmError
from labkit.lab import Lab, lab_yaml
from labkit.servers.controller.lone_start import go_on_alone
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine, read_local_swarm
from labkit.swarm.membership import managers
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.services.deploy import ensure_service, watch
from labkit.swarm.services.spec import ServiceSpec
from labkit.swarm.swarmd import SwarmDaemon
from tests.rig.fleet import Fleet, ensure_joined, heartbeat_s
from tests.rig.swarmd import let_in, three_managers

engines = pytest.mark.engine

LAB = "network: {subnet: 10.99.77.0/24}\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_yaml.parse(LAB, tmp_path / "lab.yaml")


def starts(fleet: Fleet, *strangers: str) -> bool:
    """What a lab's supervisor does when it starts; the addresses in ``strangers`` are no blades of it."""
    own = {machine.address for machine in fleet.machines} - set(strangers)
    return go_on_alone(fleet.controller.sock, fleet.controller.data, fleet.controller.address, own)


async def come_back(fleet: Fleet, lab: Lab, desk: SwarmDaemon) -> None:
    """All blades boot, with nothing, and join as their tickets let them; until all is in order."""
    await desk.rounds.look()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda machine: machine.reboot(f"{machine.name}-anew"), fleet.blades))
    await let_in(desk, fleet.blades)
    await three_managers(desk, fleet, within_s=90)


OWN = {"10.77.0.2", "10.77.0.11"}


@pytest.mark.parametrize(
    ("kept", "asks"),
    [
        (None, False),
        ('[{"node_id":"x49e","addr":"10.77.0.2:2377"}]', False),
        ('[{"node_id":"x49e","addr":"10.77.0.2:2377"},{"node_id":"lyfl","addr":"10.77.0.11:2377"}]', True),
        ("half a fi", True),
    ],
)
def test_an_engine_is_asked_where_it_may_have_had_fellows_alone(tmp_path: Path, kept: str | None, asks: bool) -> None:
    if kept is not None:
        (tmp_path / "swarm").mkdir()
        (tmp_path / "swarm/state.json").write_text(kept)
    with pytest.raises(SwarmError, match="no Docker engine|docker.sock") if asks else nullcontext():
        assert not go_on_alone(tmp_path / "docker.sock", tmp_path, "10.77.0.2", OWN)


@engines
def test_a_cut_of_everything_with_three_managers(swarm: Fleet, lab: Lab, web: str) -> None:
    """SIGKILL for all engines at once; one start, and the same services with no ghost."""
    told: list[events.Event] = []
    with engine(swarm.controller.sock) as docker:
        managers.ensure_managers(docker, lab, ["blade1", "blade2"])
        api(docker).create_config("kept", b"whole")
        ensure_service(docker, ServiceSpec(name="web", image=web, replicas=3))
        before = watch(docker, "web", 60)
        service = api(docker).inspect_service("web")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda machine: machine.power_cut(), swarm.machines))
    began = time.monotonic()
    swarm.controller.on()
    assert starts(swarm)
    led_s = time.monotonic() - began
    heartbeat_s(swarm, 2)
    asyncio.run(come_back(swarm, lab, SwarmDaemon(lab, swarm.controller.sock, told.append)))
    listed_s = time.monotonic() - began
    with engine(swarm.controller.sock) as docker:
        after = watch(docker, "web", 120)
        whole_s = time.monotonic() - began
        assert (after.id, after.content, after.running) == (before.id, before.content, 3)
        assert api(docker).inspect_service("web")["Spec"] == service["Spec"]
        assert [one["Spec"]["Name"] for one in api(docker).configs()] == ["kept"]
        assert managers.chosen_managers(docker, lab) == {"blade1", "blade2"}
        assert sorted(node.blade for node in cluster.nodes(docker)) == ["", "blade1", "blade2", "blade3"]
    assert not starts(swarm), "a swarm that has its quorum is left as it is"
    print(f"\nafter a cut of all four engines, three of them managers: a leader after {led_s:.1f} s, four nodes Ready "
          f"and no ghost after {listed_s:.1f} s, three replicas of the same service after {whole_s:.1f} s")  # fmt: skip
    with engine(swarm.controller.sock) as docker:
        managers.ensure_managers(docker, lab, [])
        api(docker).remove_config("kept")


@engines
def test_managers_that_are_no_blades_are_not_given_up(swarm: Fleet, lab: Lab) -> None:
    with engine(swarm.controller.sock) as docker:
        managers.ensure_managers(docker, lab, ["blade1"])
    stranger = swarm.blade("blade1")
    for machine in (stranger, swarm.controller):
        machine.power_cut()
    swarm.controller.on()
    with pytest.raises(SwarmError, match=f"its managers at {stranger.address} cannot be reached, and are no blades"):
        starts(swarm, stranger.address)
    with engine(swarm.controller.sock) as docker:
        assert read_local_swarm(docker).state is LocalState.LEADERLESS
    assert starts(swarm)
    with engine(swarm.controller.sock) as docker:
        managers.ensure_managers(docker, lab, [])
    ensure_joined(swarm, stranger)


@engines
def test_the_only_manager_is_given_the_time_to_lead(swarm: Fleet) -> None:
    swarm.controller.power_cut()
    swarm.controller.on()
    assert not starts(swarm)
