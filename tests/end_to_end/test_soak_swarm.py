"""The swarm under load and under failure, on the virtual chassis. Each test prints what it measured (``pytest -s``)."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from labkit.lab import Blade
from labkit.machines.virtual.network import tap_name
from labkit.servers.client import RunningLab, ensure_blades, shut_down
from labkit.swarm import cluster
from labkit.swarm.services import deploy
from labkit.swarm.services.http_probe import tally, under_load
from labkit.swarm.services.nginx import ask_blades, ensure_nginx, roll_back
from tests.rig.front_door import FrontDoor
from tests.rig.losses import NOT_TOLD, TOLD_S, UNEXPLAINED, explain, watching
from tests.rig.serving_lab import NAMES, PORT, addresses, ran_lab, whole

pytestmark = pytest.mark.soak

LAB = """\
boot: ipxe
network: {subnet: 10.84.0.0/24}
blades: [{name: blade1}, {name: blade2}, {name: blade3}]
"""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    with ran_lab(tmp_path_factory.mktemp("swarm"), LAB) as door:
        yield door


@pytest.fixture
def running(door: FrontDoor) -> RunningLab:
    """The lab with all blades in and nginx whole."""
    return whole(door, replicas=3)


def test_a_blade_without_a_replica_answers_too(running: RunningLab) -> None:
    state = ensure_nginx(running, replicas=1, port=PORT)
    [place] = state.places.values()
    answers = ask_blades(running, PORT, rounds=4)
    assert {answer.blade for answer in answers if answer.ok} == set(NAMES)
    assert {answer.replica.rsplit(".", 1)[1] for answer in answers} == {place}
    print(f"\none replica, on {place}: {len(answers)} requests through {len(NAMES)} blades, all answered by it")
    ensure_nginx(running, replicas=3, port=PORT)
    spread = Counter(answer.replica for answer in ask_blades(running, PORT, rounds=100))
    print("300 requests were spread:", dict(sorted(spread.items())))
    assert len(spread) == 3


def test_an_update_and_the_way_back_lose_no_request(running: RunningLab) -> None:
    with under_load(addresses(running), PORT, per_s=50) as load:
        time.sleep(2)
        ensure_nginx(running, replicas=3, port=PORT, text="new")
        update = len(load)
        roll_back(running)
        time.sleep(2)
    print(f"\nrolling update: {tally(load[:update])}\nrolling back:   {tally(load[update:])}")
    assert [answer for answer in load if not answer.ok] == []
    assert {"new" in answer.body for answer in load} == {True, False}


KILL = "docker ps -q --filter name=web | head -n 1 | xargs -r docker kill"


def kill(door: FrontDoor, blade: str, turns: str = KILL) -> int:
    """Kill what the blade has of nginx, with one login for all turns; how many containers that were."""
    done = door("ssh", blade, "sudo", "sh", "-c", f"'{turns}'", timeout_s=180)
    return len(done.stdout.split())


def test_a_replica_is_killed_every_five_seconds(door: FrontDoor, running: RunningLab) -> None:
    """An emulated blade takes 15 s and more to start a replica anew, so that soon none is left.

    Nothing a swarm could do would answer then. What can be asked of it is that each request that fails has its reason.
    """
    # A login takes seconds under load: each blade gets one, and kills what it has in its turn of fifteen seconds.
    turns = [f"sleep {5 * n}; for i in 1 2 3 4; do {KILL}; sleep 15; done" for n in range(3)]
    with watching(door, NAMES) as changes, under_load(addresses(running), PORT, per_s=50) as load:
        with ThreadPoolExecutor(3) as logins:
            killed = sum(logins.map(kill, itertools.repeat(door), NAMES, turns))
        with running.engine() as engine:
            assert deploy.watch(engine, "web", 60).running == 3
        time.sleep(TOLD_S)
        calm_s = time.monotonic()
        time.sleep(5)
    reasons = explain(load, changes, at_first=3)
    print(f"\n{killed} replicas killed in a minute: {tally(load)}\nwhy: {dict(reasons)}")
    assert killed >= 6
    assert reasons[UNEXPLAINED] == 0
    assert [answer for answer in load if answer.began_s > calm_s and not answer.ok] == []


def test_a_replica_is_killed_whenever_the_service_is_whole(door: FrontDoor, running: RunningLab) -> None:
    """One death at a time costs what was under way, and what is sent there before the mesh knows."""
    killed = 0
    with watching(door, NAMES) as changes, under_load(addresses(running), PORT, per_s=50) as load:
        for blade in NAMES:
            killed += kill(door, blade)
            with running.engine() as engine:
                assert deploy.watch(engine, "web", 60).running == 3
            time.sleep(TOLD_S)
    reasons = explain(load, changes, at_first=3)
    print(f"\n{killed} replicas killed, one after the other: {tally(load)}\nwhy: {dict(reasons)}")
    assert killed >= 2
    assert set(reasons) <= {NOT_TOLD}
    assert reasons.total() < len(load) / 10


@contextlib.contextmanager
def cut(door: FrontDoor, blade: Blade) -> Iterator[None]:
    """The blade's network cable pulled: alive, and nobody can tell."""

    def link(state: str) -> None:
        inside = ["nsenter", "--net", f"--target={max(door.supervisor())}"]
        subprocess.run([*inside, "ip", "link", "set", tap_name(blade.slot), state], check=True)

    link("down")
    try:
        yield
    finally:
        link("up")


def test_a_blade_is_cut_off(door: FrontDoor, running: RunningLab) -> None:
    blade = running.lab.blade("blade2")
    began = time.monotonic()
    with cut(door, blade), running.engine() as engine:
        missed_s = cluster.wait_missed(engine, blade.name)
        state = deploy.watch(engine, "web", 60, settle_s=0)
        whole_s = time.monotonic() - began
        assert "blade2" not in state.places.values()
    with running.engine() as engine:
        listed = cluster.wait_in_order(engine, NAMES, 60)
    print(f"\na blade cut off: missed after {missed_s:.1f} s, three replicas again after {whole_s:.1f} s")
    assert len(listed) == 3
    ask_blades(running, PORT)


def test_twenty_reboots_leave_exactly_the_labs_nodes(running: RunningLab) -> None:
    """Ten in order and ten by power cut, over three blades, two at a time."""
    with running.engine() as engine:
        before = {node.blade: (node.hostname, node.address) for node in cluster.nodes(engine) if node.blade}
    for turn in range(10):
        orderly, pulled = (running.lab.blade(NAMES[(turn + offset) % 3]) for offset in (0, 1))
        off = threading.Thread(target=shut_down, args=(running, orderly))
        off.start()
        running.power(pulled, "off")
        running.wait_power(pulled, "off", timeout_s=10)
        off.join()
        ensure_blades(running, running.lab.blades, until="joined")
        with running.engine() as engine:
            cluster.wait_in_order(engine, NAMES, 60)
    with running.engine() as engine:
        listed = cluster.nodes(engine)
        deploy.watch(engine, "web", 120)
    print("\nafter 20 reboots:", [(node.hostname, node.state) for node in listed])
    assert sorted((node.hostname, node.state) for node in listed) == [
        *((name, "ready") for name in NAMES), ("controller", "ready")]  # fmt: skip
    assert {node.blade: (node.hostname, node.address) for node in listed if node.blade} == before
