"""What takes longer than CI can afford: run by hand with ``./lab test --soak``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labkit.servers.client import ensure_blades, shut_down
from labkit.swarm import cluster
from labkit.workbook import CHAPTERS
from tests.rig.front_door import FRONT_DOOR, FrontDoor, new_lab

pytestmark = pytest.mark.soak

ROUNDS = 3
STARTS = 50


@pytest.fixture
def door(tmp_path: Path) -> Iterator[FrontDoor]:
    text = "boot: ipxe\nnetwork: {subnet: 10.82.0.0/24}\nblades: [{name: blade1}, {name: blade2}]\n"
    with new_lab(tmp_path, text) as door:
        yield door


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_alone_from_a_cold_machine(door: FrontDoor, chapter: str) -> None:
    notebook = FRONT_DOOR.parent / "notebooks" / f"{chapter}.ipynb"
    done = subprocess.run(
        [str(FRONT_DOOR.parent / ".venv/bin/papermill"), str(notebook), str(door.folder / "out.ipynb")],
        env=door.environment, cwd=notebook.parent, capture_output=True, text=True, timeout=900, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_reboots_in_order_and_by_power_cut_leave_no_ghost(door: FrontDoor) -> None:
    assert door("run", "--runs", str(door.folder / "runs")).returncode == 0
    running = door.connect()
    for _ in range(ROUNDS):
        shut_down(running, running.lab.blade("blade1"))
        running.power(running.lab.blade("blade2"), "off")
        running.wait_power(running.lab.blade("blade2"), "off", timeout_s=10)
        ensure_blades(running, running.lab.blades, until="joined")
    with running.engine() as engine:
        cluster.wait_nodes(engine, ["blade1", "blade2"], 60)
        listed = [(node.hostname, node.state) for node in cluster.nodes(engine)]
    assert sorted(listed) == [("blade1", "ready"), ("blade2", "ready"), ("controller", "ready")]


def test_every_other_way_from_uefi_brings_a_blade_into_the_swarm(tmp_path: Path) -> None:
    text = """
network: {subnet: 10.86.0.0/24}
blades:
  - {name: blade1, boot: ipxe, firmware: uefi-http}
  - {name: blade2, boot: pxelinux, firmware: uefi}
  - {name: blade3, boot: lpxelinux, firmware: uefi}
"""
    with new_lab(tmp_path, text) as door:
        done = door("run", "--runs", str(door.folder / "runs"))
        assert done.returncode == 0, done.stdout + done.stderr


def test_fifty_starts_under_load(tmp_path: Path) -> None:
    """The lab's servers come up and go each time, on a machine that has twice as much to do as it can."""
    text = "network: {subnet: 10.88.0.0/24}\nstorage: {share: true}\nblades: [{name: blade1}, {name: blade2}]\n"
    with new_lab(tmp_path, text) as door, ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(busy.wait)
            stack.callback(busy.kill)
        failed = []
        for number in range(STARTS):
            up = door("up", timeout_s=300)
            well = door("status", timeout_s=60)
            down = door("down", timeout_s=120)
            said = [done.stdout + done.stderr for done in (up, well, down) if done.returncode]
            failed += [(number, *said)] if said or door.leftovers() else []
        assert failed == []
