"""The swarm desk as the boot server and the blades meet it: its own process, its socket, real engines."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import ControlError, SwarmError
from labkit.lab import Role, lab_yaml
from labkit.lab.process import rpc
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.membership import joining
from labkit.swarm.membership.local_state import NO_SWARM
from labkit.swarm.node import Node, find_node
from labkit.swarm.services.deploy import ensure_service, watch
from labkit.swarm.services.spec import ServiceSpec
from labkit.swarm.swarmd import SwarmDaemon
from tests.rig.fleet import Fleet, Machine, join, post_join, sh, until
from tests.rig.swarmd import LAB, DeskProcess

pytestmark = pytest.mark.engine(minutes=3)


@pytest.fixture
def desk(swarm: Fleet, tmp_path: Path) -> Iterator[DeskProcess]:
    desk = DeskProcess(swarm, tmp_path / "state")
    try:
        desk.start()
        until(lambda: len([event for event in desk.events if isinstance(event, events.Swarm)]) >= 4)
        yield desk
    finally:
        desk.close()
        print("\n".join(map(events.encode, desk.events)))  # seen where the test fails


def listed(fleet: Fleet) -> list[Node]:
    with engine(fleet.controller.sock) as client:
        return cluster.nodes(client)


def blades(fleet: Fleet) -> list[tuple[str, str, str]]:
    return sorted((node.blade, node.boot, node.state) for node in listed(fleet) if node.blade)


def web_service(fleet: Fleet, web: str, **more: object) -> None:
    spec = ServiceSpec(**{"name": "web", "image": web, "replicas": 3, **more})  # type: ignore[arg-type]
    with engine(fleet.controller.sock) as client:
        ensure_service(client, spec)
        watch(client, spec.name, 90)


def leave_swarm(machine: Machine) -> None:
    with engine(machine.sock) as client:
        api(client).leave_swarm()


def test_the_swarm_in_numbers(desk: DeskProcess, web: str) -> None:
    web_service(desk.fleet, web)

    def numbers() -> dict[tuple[str, ...], float]:
        told = rpc.call(desk.state.swarmd, "numbers")["numbers"]
        return {(name, *labels.values()): value for name, labels, value in told}

    until(lambda: numbers().get(("labkit_swarm_replicas", "running")) == 3)
    assert numbers()["labkit_swarm_nodes", "worker", "ready"] == 3
    assert numbers()["labkit_swarm_managers", "needed"] == 1
    assert numbers()["labkit_swarm_memory_bytes", "reserved"] == 3 * 32 << 20


def steady(actions: list[str]) -> list[str]:
    """Without what comes of heartbeats that are two seconds apart here: a blade that was missed, and is there again."""
    found: list[str] = []
    for before, action in itertools.pairwise(["", *actions]):
        if action != "down" and (before, action) != ("down", "ready"):
            found.append(action)
    return found


def test_a_reboot_in_order(desk: DeskProcess, web: str) -> None:
    fleet, machine = desk.fleet, desk.fleet.blade("blade1")
    web_service(fleet, web)
    old = find_node(listed(fleet), "blade1", machine.boot)
    assert old is not None
    answer = desk.ask("leave", machine)
    moved = answer["moved"]
    assert isinstance(moved, list) and len(moved) == 1 and moved[0].startswith("web.")
    assert moved[0].endswith((" to blade2", " to blade3"))
    assert desk.ask("leave", machine) == answer  # an answer that was lost is given again
    leave_swarm(machine)
    started = time.monotonic()
    desk.ask("left", machine)
    assert old.id not in {node.id for node in listed(fleet)}
    assert time.monotonic() - started < 3
    with engine(fleet.controller.sock) as client:
        assert watch(client, "web", 5).running == 3

    boot = machine.boot
    machine.reboot("again")
    body = desk.ask("join", machine, address=machine.address)["body"]
    assert isinstance(body, dict) and set(body) == {"ListenAddr", "AdvertiseAddr", "RemoteAddrs", "JoinToken"}
    post_join(machine, body)
    desk.ask("joined", machine)
    until(lambda: "ready" in [e.action for e in desk.events if isinstance(e, events.Swarm) and e.boot == "again"])
    until(lambda: [dict(node.labels) for node in listed(fleet) if node.boot == "again"] == [
        {"blade": "blade1", "slot": "1", "chassis": "chassis1", "mac": "52:54:00:4d:00:01"}])  # fmt: skip
    assert len(blades(fleet)) == 3 and all(state == "ready" for _, _, state in blades(fleet))

    told = desk.leave("blade1")
    assert [event.step for event in told] == ["asked", "drained", "left", "removed"]
    assert {(event.boot, event.node) for event in told} == {(boot, old.id)}
    assert told[1].seconds > 0 and told[1].detail == f"moved: {moved[0]}"
    assert 0 < told[3].seconds < 3
    until(lambda: steady(desk.swarm("blade1")) == ["ready", "drained", "removed", "joined", "ready"])
    with engine(fleet.controller.sock) as client:
        token = api(client).inspect_swarm()["JoinTokens"]["Worker"]
    assert not any(token in events.encode(event) for event in desk.events)


def test_nothing_holds_the_last_blades(desk: DeskProcess, web: str) -> None:
    """All blades go at once: most tasks have nowhere to go, and a global service's never have."""
    web_service(desk.fleet, web)
    web_service(desk.fleet, web, name="everywhere", replicas=None)
    answers: dict[str, dict[str, object]] = {}

    def go(machine: Machine) -> None:
        answers[machine.name] = desk.ask("leave", machine)
        leave_swarm(machine)
        desk.ask("left", machine)

    started = time.monotonic()
    threads = [threading.Thread(target=go, args=(machine,)) for machine in desk.fleet.blades]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 30
    assert blades(desk.fleet) == []
    for answer in answers.values():
        assert answer["waiting"] == [] and "everywhere" in str(answer["stranded"])


def test_leaving_without_having_joined(desk: DeskProcess) -> None:
    machine = desk.fleet.blade("blade2")
    machine.reboot("fresh")
    assert desk.ask("leave", machine)["node"] == ""
    desk.ask("left", machine)
    until(lambda: [event.step for event in desk.leave("blade2")] == ["asked", "drained", "left", "removed"])
    with pytest.raises(ControlError, match="no such blade or boot"):
        rpc.call(desk.state.swarmd, "leave", blade="blade9", boot="a")
    with pytest.raises(ControlError, match="bad request"):
        rpc.call(desk.state.swarmd, "leave", blade="blade2")


def test_a_blade_that_says_no_last_word_is_removed_when_it_is_missed(desk: DeskProcess) -> None:
    machine = desk.fleet.blade("blade3")
    desk.ask("leave", machine)
    machine.power_cut()
    until(lambda: "blade3" not in {blade for blade, _, _ in blades(desk.fleet)}, 40)
    until(lambda: desk.swarm("blade3")[-1] == "removed")
    assert "down" in desk.swarm("blade3")


def test_a_ghost_is_retired_when_its_blade_is_back(desk: DeskProcess) -> None:
    fleet, machine = desk.fleet, desk.fleet.blade("blade2")
    old = machine.boot
    machine.power_cut()
    until(lambda: ("blade2", old, "down") in blades(fleet), 40)
    until(lambda: desk.swarm("blade2") == ["ready", "down", "lost"])
    time.sleep(2)
    assert ("blade2", old, "down") in blades(fleet)  # gone without a word: that is worth seeing
    machine.reboot("back")
    join(fleet, machine)
    until(lambda: [entry for entry in blades(fleet) if entry[0] == "blade2"] == [("blade2", "back", "ready")])
    until(lambda: "ghost-removed" in desk.swarm("blade2"))
    assert "removed" not in desk.swarm("blade2")


def test_a_stranger_is_left_alone(desk: DeskProcess) -> None:
    fleet, machine = desk.fleet, desk.fleet.blade("blade3")
    machine.blade = "guest"
    try:
        machine.reboot("g1")
        join(fleet, machine)
        until(lambda: desk.swarm("guest").count("joined") == 1)  # cut off before that, it was never seen to join
        machine.power_cut()
        until(lambda: ("guest", "g1", "down") in blades(fleet), 40)
        machine.reboot("g2")
        join(fleet, machine)
        until(lambda: ("guest", "g2", "ready") in blades(fleet))
        until(lambda: desk.swarm("guest").count("joined") == 2)
        time.sleep(2)
        assert ("guest", "g1", "down") in blades(fleet)
    finally:
        machine.blade = machine.name
        machine.power_cut()


def test_the_desk_is_killed_in_the_middle(desk: DeskProcess, web: str) -> None:
    """What it must know it finds in the swarm again: who is leaving, and which boot is a ghost's."""
    fleet = desk.fleet
    first, second = fleet.blade("blade1"), fleet.blade("blade2")
    web_service(fleet, web, replicas=2)
    desk.ask("leave", first)
    assert desk.end(signal.SIGKILL) == -signal.SIGKILL
    first.power_cut()
    old = second.boot
    second.power_cut()
    until(lambda: sorted(state for _, _, state in blades(fleet)) == ["down", "down", "ready"], 40)
    second.reboot("after")
    join(fleet, second)
    desk.start()
    until(lambda: {blade for blade, _, _ in blades(fleet)} == {"blade2", "blade3"})
    until(lambda: ("blade2", old, "down") not in blades(fleet))
    leave_swarm(second)
    desk.ask("left", second)
    assert "blade2" not in {blade for blade, _, _ in blades(fleet)}
    assert desk.end(signal.SIGTERM) == 0
    assert desk.state.swarmd.exists()  # it was handed over, and the next one gets it as well


def test_the_engine_is_killed_and_comes_back(desk: DeskProcess, web: str) -> None:
    fleet = desk.fleet
    web_service(fleet, web, replicas=1)
    before = blades(fleet)
    fleet.controller.power_cut()
    until(lambda: [event for event in desk.events if isinstance(event, events.Trouble)])
    with pytest.raises(ControlError, match="does not answer"):
        desk.ask("join", fleet.blade("blade1"), address=fleet.blade("blade1").address)
    fleet.controller.on()
    until(lambda: blades(fleet) == before, 60)
    time.sleep(1.5)
    assert not [action for blade in ("blade1", "blade2", "blade3") for action in desk.swarm(blade)
                if action in ("removed", "ghost-removed", "joined")]  # fmt: skip
    troubles = [event.detail for event in desk.events if isinstance(event, events.Trouble)]
    assert len(troubles) == len(set(troubles))  # said once, not once a second
    with engine(fleet.controller.sock) as client:
        assert watch(client, "web", 30).running == 1
    assert "JoinToken" in str(desk.ask("join", fleet.blade("blade1"), address="10.99.77.11"))


def test_before_there_is_a_swarm(fleet: Fleet, tmp_path: Path) -> None:
    machine = fleet.blade("blade3")
    machine.reboot("controller")
    desk = DeskProcess(fleet, tmp_path / "state")
    desk.state.docker.unlink()
    desk.state.docker.symlink_to(machine.sock)
    try:
        desk.start()
        with pytest.raises(ControlError, match=NO_SWARM):
            desk.ask("join", machine, address=machine.address)
        time.sleep(1.5)
        assert desk.events == []
        with engine(machine.sock) as client:
            cluster.ensure_swarm(client, advertise=machine.address)
        until(lambda: "init" in desk.swarm())
        # Not as blade3, whose own node is the drained controller here: a new node of it would be drained as well.
        body = desk.ask("join", fleet.blade("blade1"), address="10.99.77.99")["body"]
        assert isinstance(body, dict)
        with engine(machine.sock) as client:
            assert body == joining.join_body(client, role=Role.WORKER, address="10.99.77.99")
    finally:
        desk.close()
        machine.power_cut()


def test_tokens_are_changed_behind_every_join_and_refusal(swarm: Fleet, tmp_path: Path) -> None:
    """A token waits for the blades on their way in, one second here, and is worthless then."""
    (tmp_path / "lab.yaml").write_text(LAB)
    told: list[events.Event] = []
    first, second = ({"blade": name, "boot": "b"} for name in ("blade1", "blade2"))

    def token() -> str:
        with engine(swarm.controller.sock) as client:
            return str(api(client).inspect_swarm()["JoinTokens"]["Worker"])

    def rotations() -> int:
        return len([event for event in told if isinstance(event, events.Swarm) and event.action == "rotated"])

    async def talk() -> None:
        desk = SwarmDaemon(lab_yaml.load(tmp_path / "lab.yaml"), swarm.controller.sock, told.append, joining_s=1)
        await desk.rounds.look()
        assert rotations() == 0
        await asyncio.sleep(1)
        await desk.rounds.look()
        assert rotations() == 1  # whatever a desk before this one gave out

        given = token()
        for blade in (first, second):
            body = (await desk.join({**blade, "address": "10.99.77.50"}))["body"]
            assert body["JoinToken"] == given
        await desk.joined(first)
        await desk.refused({"blade": "blade3"})
        await desk.rounds.look()
        assert token() == given  # blade2 has still to use it
        await desk.joined(second)
        await desk.rounds.look()
        assert token() != given and rotations() == 2
        await desk.rounds.look()
        assert rotations() == 2

        await desk.join({**first, "address": "10.99.77.50"})
        await desk.rounds.look()
        assert rotations() == 2
        await asyncio.sleep(1)
        await desk.rounds.look()
        assert rotations() == 3  # it took too long: when it asks again it gets the new one
        await desk.refused({"blade": "blade3"})
        await desk.rounds.look()
        assert rotations() == 4

    asyncio.run(talk())
    assert blades(swarm) == [(machine.name, machine.boot, "ready") for machine in swarm.blades]


def test_a_boot_that_nobody_announced_waits_while_its_blade_is_in(swarm: Fleet, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    machine = swarm.blade("blade2")

    async def talk() -> None:
        desk = SwarmDaemon(lab_yaml.load(tmp_path / "lab.yaml"), swarm.controller.sock, lambda event: None)
        asked = {"blade": "blade2", "boot": "made-up", "address": machine.address}
        with pytest.raises(SwarmError, match="blade2 is still Ready in the swarm from the boot before"):
            await desk.join({**asked, "cause": "pxe"})
        assert (await desk.join({**asked, "cause": "power"}))["body"]["JoinToken"]
        assert (await desk.join({**asked, "boot": machine.boot, "cause": "pxe"}))["body"]["JoinToken"]

    asyncio.run(talk())


def test_a_blade_that_is_lost_is_marked_and_removed_when_its_time_is_up(swarm: Fleet, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(f"{LAB}swarm: {{lost_after: 4 s}}\n")
    told: list[events.Event] = []
    machine = swarm.blade("blade3")
    machine.power_cut()

    async def talk() -> None:
        desk = SwarmDaemon(lab_yaml.load(tmp_path / "lab.yaml"), swarm.controller.sock, told.append)
        for _ in range(60):
            await desk.rounds.look()
            if not [entry for entry in blades(swarm) if entry[0] == "blade3"]:
                return
            await asyncio.sleep(0.5)

    asyncio.run(talk())
    actions = [event.action for event in told if isinstance(event, events.Swarm) and event.blade == "blade3"]
    assert actions == ["ready", "down", "lost", "lost-removed"]
    assert len(blades(swarm)) == 2


def test_a_blade_that_was_put_out_while_it_ran_comes_back(desk: DeskProcess) -> None:
    """Cut off, removed, and within reach again: its engine calls itself active, and the desk knows better."""
    fleet, machine = desk.fleet, desk.fleet.blade("blade3")
    root = machine.data / "swarm" / "certificates" / "swarm-root-ca.crt"
    authority = root.read_text()
    assert desk.ask("member", machine, swarm=authority)["member"] == "yes"
    port = f"ip -n {fleet.net} link set port3"
    sh(f"{port} down")
    try:
        until(lambda: ("blade3", machine.boot, "down") in blades(fleet), 40)
        with engine(fleet.controller.sock) as client:
            mine = find_node(cluster.nodes(client), "blade3", machine.boot)
            assert mine is not None and cluster.remove_node(client, mine.id)  # as when its time is up
    finally:
        sh(f"{port} up")
    time.sleep(10)
    assert "blade3" not in {blade for blade, _, _ in blades(fleet)}, "it comes back by itself"
    with engine(machine.sock) as client:
        assert not api(client).info()["Swarm"]["ControlAvailable"]
        print(api(client).info()["Swarm"])  # what an engine says of itself then
    assert desk.ask("member", machine, swarm=authority)["member"] == "removed"
    assert desk.ask("member", machine, swarm="")["member"] == "another"
    leave_swarm(machine)
    body = desk.ask("join", machine, address=machine.address, cause="power")["body"]
    assert isinstance(body, dict)
    post_join(machine, body)
    until(lambda: ("blade3", machine.boot, "ready") in blades(fleet), 40)
    assert desk.ask("member", machine, swarm=root.read_text())["member"] == "yes"


@pytest.mark.parametrize("missing", ["LABKIT_STATE", "LABKIT_EVENTS_FD"])
def test_started_by_hand(missing: str, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    env = {**os.environ, "LABKIT_LAB": str(tmp_path / "lab.yaml"), "LABKIT_STATE": str(tmp_path)}
    env.pop(missing, None)
    done = subprocess.run([sys.executable, "-m", "labkit.swarm.swarmd"], env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"the swarm desk is started by the lab's supervisor: '{missing}' is not set\n"
