"""Managers chosen, lost and brought back, and the swarm's state saved and put back, on real engines."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import events
from labkit.cli.commands import main
from labkit.errors import SwarmError
from labkit.lab import Lab, Role, lab_yaml
from labkit.lab.state import State
from labkit.servers import client
from labkit.servers.client import RunningLab
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.membership import joining, managers
from labkit.swarm.membership.quorum import Quorum, quorum
from labkit.swarm.node import find_node
from labkit.swarm.recovery import backup
from labkit.swarm.recovery.recover import recover
from labkit.swarm.services.deploy import ensure_service, watch
from labkit.swarm.services.spec import ServiceSpec
from labkit.swarm.swarmd import SwarmDaemon
from tests.rig.fleet import Fleet, ensure_joined, until
from tests.rig.known import causes
from tests.rig.swarmd import let_in, three_managers

pytestmark = pytest.mark.engine(minutes=2)

LAB = "name: test\nnetwork: {subnet: 10.99.77.0/24}\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"


def never() -> Path:
    """How an engine is started anew that need not be."""
    raise AssertionError("no certificate has run out")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_yaml.parse(LAB, tmp_path / "lab.yaml")


def test_managers_are_chosen_and_changed_in_order(swarm: Fleet, lab: Lab) -> None:
    with engine(swarm.controller.sock) as docker:
        assert managers.chosen_managers(docker, lab) == frozenset()
        with pytest.raises(SwarmError, match="no blade blade9 in this lab"):
            managers.ensure_managers(docker, lab, ["blade9"])
        done = managers.ensure_managers(docker, lab, ["blade1", "blade2"])
        assert (done.promoted, done.demoted, done.absent) == (("blade1", "blade2"), (), ())
        assert done.quorum == Quorum(3, 3) and "survives the loss of one" in str(done)
        assert "keep the swarm's state in memory" in str(done)
        assert len(joining.join_body(docker, role=Role.MANAGER, address="10.99.77.50")["RemoteAddrs"]) == 3
        done = managers.ensure_managers(docker, lab, ["blade2", "blade3"])
        assert (done.promoted, done.demoted, done.quorum) == (("blade3",), ("blade1",), Quorum(3, 3))
        assert managers.ensure_managers(docker, lab).chosen == ("blade2", "blade3")  # as chosen before
        with pytest.raises(SwarmError, match="without blade2, blade3 1 of 3 managers could be reached"):
            managers.check_power(cluster.nodes(docker), ["blade1", "blade2", "blade3"])
        managers.check_power(cluster.nodes(docker), ["blade1", "blade2"])
        managers.check_power(cluster.nodes(docker), ["blade1", "blade2", "blade3"], in_order=True)
        done = managers.ensure_managers(docker, lab, [])
        assert done.demoted == ("blade2", "blade3") and done.quorum == Quorum(1, 1)
        assert str(done).endswith("1 manager: none may be lost, or nothing can be changed any more")
        own = next(node for node in cluster.nodes(docker) if node.raft)
        with pytest.raises(SwarmError, match="controller is the only manager: the swarm would be lost"):
            cluster.demote(docker, own.id)
    for machine in swarm.blades:  # one that was a manager just now takes half a minute to become one again
        machine.power_cut()


@pytest.fixture
def swarm_verb(swarm: Fleet, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
               capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:  # fmt: skip
    """``./lab swarm …`` on the fleet: its exit status, what it printed, and what it complained of."""
    state = State(tmp_path / "state")
    state.make()
    state.docker.symlink_to(swarm.controller.sock)
    monkeypatch.setattr(client, "connect", lambda *paths: RunningLab(lab, state))

    def call(*words: str) -> tuple[int, str, str]:
        status = main(["swarm", *words])
        return (status, *capsys.readouterr())

    return call


def test_the_verbs_of_the_command_line(
    swarm: Fleet, swarm_verb: Callable[..., tuple[int, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    status, said, _ = swarm_verb()
    assert status == 0 and swarm_verb("nodes")[1] == said
    rows = [line.split() for line in said.splitlines() if line.startswith(("blade", "controller"))]
    assert sorted(row[:5] for row in rows) == [
        *([name, name, "worker", "ready", "active"] for name in ("blade1", "blade2", "blade3")),
        ["controller", "-", "manager", "ready", "drain"],
    ]  # fmt: skip
    assert said.splitlines()[-1] == "1 manager: none may be lost, or nothing can be changed any more"
    listed = json.loads(swarm_verb("nodes", "--json")[1])
    assert {node["hostname"]: node["state"] for node in listed}["blade2"] == "ready"
    assert json.loads(swarm_verb("--json")[1]) == listed

    assert swarm_verb("managers", "blade1", "--none")[0] == 2
    assert "blade9" in swarm_verb("managers", "blade9")[2]
    assert swarm_verb("managers", "blade1")[1].startswith("blade1 made managers; 2 managers: none may be lost")
    assert swarm_verb("managers")[1].startswith("blade1, controller; 2 managers: none may be lost")
    assert main(["power", "off", "blade1"]) == 1
    assert "not switched off: without blade1 1 of 2 managers" in capsys.readouterr().err
    assert swarm_verb("managers", "--none")[1].startswith("blade1 made workers; 1 manager")
    assert swarm_verb("recover") == (0, "the swarm has its quorum: nothing to recover\n", "")
    assert "nothing to recover" in swarm_verb("recover", "--yes")[2]

    assert swarm_verb("prune")[1] == "every node is Ready: nothing to prune\n"
    swarm.blade("blade3").power_cut()
    until(lambda: "down" in swarm_verb("nodes")[1], 40)
    swarm.blade("blade1").power_cut()
    said = swarm_verb("prune")[1]
    assert "would go: its blade is gone" in said and said.endswith("to do it: ./lab swarm prune --yes\n")
    assert "blade3" in swarm_verb("nodes")[1]
    assert "removed: its blade is gone" in swarm_verb("prune", "--yes")[1]
    assert "blade3" not in swarm_verb("nodes")[1]


def test_one_of_three_managers_is_lost_then_two(swarm: Fleet, lab: Lab, web: str) -> None:
    """One may go. Without two nothing can be changed, and the controller is brought to go on alone."""
    first, second, third = swarm.blades
    told: list[events.Event] = []
    with engine(swarm.controller.sock, timeout_s=60) as docker:
        managers.ensure_managers(docker, lab, ["blade1", "blade2"])
        ensure_service(docker, ServiceSpec(name="web", image=web, replicas=3))
        watch(docker, "web", 60)

        first.power_cut()
        until(lambda: quorum(cluster.nodes(docker)) == Quorum(3, 2))
        node = find_node(cluster.nodes(docker), "blade2", second.boot)
        assert node is not None
        with pytest.raises(SwarmError, match="not made a worker: without blade2 1 of 2 managers could be reached"):
            cluster.demote(docker, node.id)
        with pytest.raises(SwarmError, match="not switched off: without blade2 1 of 3"):
            managers.check_power(cluster.nodes(docker), ["blade2"])
        until(lambda: "down" in [n.state for n in cluster.nodes(docker)], 40)
        state = watch(docker, "web", 60)
        assert state.running == 3 and set(state.places.values()) == {"blade2", "blade3"}
        with pytest.raises(SwarmError, match="nothing to recover"):
            recover(swarm.controller.sock, advertise=swarm.controller.address, renew=never)

        second.power_cut()
        until(lambda: not managers.leads(docker), 90, 1)
        with causes("quorum-lost") as refused:
            cluster.nodes(docker)
        assert "does not have a leader" in refused.value.what and "./lab swarm recover" in refused.value.fix
        lines: list[str] = []
        address = swarm.controller.address
        assert recover(swarm.controller.sock, advertise=address, renew=never, progress=lines.append) == Quorum(1, 1)
        assert lines == [f"the managers have lost their quorum; {swarm.controller.address} goes on alone"]
        # blade3 asks one of the three managers that it knows, at random, since all have failed it. Two in three tries
        # are in vain, each takes seconds, and up to 8 s lie between two.
        until(lambda: find_node(cluster.nodes(docker), "blade3", third.boot).ready, 180)  # type: ignore[union-attr]
        # Until the new leader has missed blade2's heartbeats, it takes blade2's tasks for running.
        until(lambda: find_node(cluster.nodes(docker), "blade2", second.boot).state == "down", 90, 1)  # type: ignore[union-attr]
        assert set(watch(docker, "web", 90).places.values()) == {"blade3"}
        assert managers.chosen_managers(docker, lab) == {"blade1", "blade2"}

    async def come_back() -> None:
        desk = SwarmDaemon(lab, swarm.controller.sock, told.append)
        await desk.rounds.look()
        for machine in (first, second):
            machine.reboot(f"{machine.name}-back")
            await let_in(desk, [machine])
        await three_managers(desk, swarm, within_s=60)

    asyncio.run(come_back())
    with engine(swarm.controller.sock) as docker:
        managers.ensure_managers(docker, lab, [])
    for machine in (first, second):
        ensure_joined(swarm, machine)


def test_the_swarm_state_is_saved_and_put_back(swarm: Fleet, web: str, tmp_path: Path) -> None:
    controller, archive = swarm.controller, tmp_path / "swarm.tar.gz"
    with engine(controller.sock) as docker:
        ensure_service(docker, ServiceSpec(name="web", image=web, replicas=2))
        watch(docker, "web", 60)
        before = {(node.id, node.blade) for node in cluster.nodes(docker)}
        assert backup.save(controller.data, archive) == archive.stat().st_size > 1000
        assert archive.stat().st_mode & 0o777 == 0o600
        with pytest.raises(SwarmError, match="the engine runs"):
            backup.restore(archive, controller.data, controller.sock)
    controller.power_cut()
    shutil.rmtree(controller.data / "swarm")  # the disk is lost
    (tmp_path / "other.tar.gz").write_bytes(b"this is no archive")
    with pytest.raises(SwarmError, match="cannot be put back"):
        backup.restore(tmp_path / "other.tar.gz", controller.data, controller.sock)
    backup.restore(archive, controller.data, controller.sock)
    controller.on()
    with engine(controller.sock) as docker:
        until(lambda: managers.leads(docker), 60)
        assert {(node.id, node.blade) for node in cluster.nodes(docker)} == before
        until(lambda: all(node.ready for node in cluster.nodes(docker)), 60)
        assert watch(docker, "web", 60).running == 2
        assert api(docker).inspect_swarm()["JoinTokens"]["Worker"].startswith("SWMTKN")
    with pytest.raises(SwarmError, match="no swarm state here") as nothing:
        backup.save(tmp_path, tmp_path / "nothing")
    assert "as root" in nothing.value.fix and not (tmp_path / "nothing").exists()
