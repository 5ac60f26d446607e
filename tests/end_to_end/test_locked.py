"""A whole lab with ``autolock: true``: its supervisor keeps the key, and unlocks an engine that was started anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.events import Trouble
from labkit.servers.client import RunningLab
from labkit.swarm import cluster
from labkit.swarm.engine import api
from labkit.swarm.recovery.backup import is_locked
from tests.rig.fleet import until
from tests.rig.front_door import FrontDoor, new_lab
from tests.rig.known import causes

LAB = "name: locked\nnetwork: {subnet: 10.90.0.0/24}\nswarm: {autolock: true}\nblades: [{name: blade1}]\n"
LOCKED = "the engine's swarm is locked"


def kill_engine(door: FrontDoor, running: RunningLab) -> None:
    """SIGKILL for the controller's engine; until its supervisor has started another one."""
    pid = int(running.status()["parts"]["engine"])
    enter = ["nsenter", f"--target={max(door.supervisor())}", "--pid", "--mount"]
    subprocess.run([*enter, "sh", "-c", f"kill -9 {pid}"], check=True, timeout=10)
    until(lambda: running.status()["parts"]["engine"] not in (0, pid), 60, 0.5)


def swarm_line(door: FrontDoor) -> str:
    """What ``./lab status`` says of the swarm, with its fix."""
    lines = door("status").stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("swarm: "))
    return "\n".join(lines[at : at + 2])


def leads(door: FrontDoor) -> bool:
    return "this engine is the swarm's only manager" in swarm_line(door)


def took_s(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    until(condition, 90, 0.5)
    return time.monotonic() - began


@pytest.mark.qemu
@pytest.mark.apart
def test_a_controller_that_was_started_anew_is_unlocked(tmp_path: Path) -> None:
    with new_lab(tmp_path, LAB) as door:
        running = door.up()
        with running.engine() as engine:
            cluster.ensure_swarm_of(engine, running.lab)
            api(engine).create_config("kept", b"whole")
        keys = running.state.unlock_keys
        until(keys.exists, 20, 0.5)
        assert keys.stat().st_mode & 0o777 == 0o600
        until(lambda: is_locked(running.state.data / "engine"), 30, 0.5)
        assert "which the lab keeps and unlocks it with" in door("swarm", "autolock").stdout
        shown = door("swarm", "unlock-key")
        assert shown.returncode == 0 and shown.stdout.strip() in keys.read_text().split()

        kill_engine(door, running)
        engine_s = took_s(lambda: leads(door))
        os.kill(max(door.supervisor()), signal.SIGKILL)
        running = door.up()
        assert leads(door), "who finds the lab up finds its swarm unlocked"

        kept = keys.read_text()
        keys.unlink()
        kill_engine(door, running)
        until(lambda: LOCKED in swarm_line(door), 60, 0.5)
        assert "./lab docker swarm unlock" in swarm_line(door)
        told = json.loads(door("status", "--json").stdout)["swarm"]
        assert told["what"] == LOCKED
        swarm = door("swarm", "nodes")
        assert swarm.returncode != 0 and LOCKED in swarm.stderr and "./lab docker swarm unlock" in swarm.stderr
        doctor = json.loads(door("doctor", "--json").stdout)
        assert [one for one in doctor if one["state"] == "bad" and LOCKED in one["what"]]
        with running.engine() as engine, causes("swarm-locked"):
            cluster.ensure_swarm_of(engine, running.lab)
        until(
            lambda: [one for one in running.events() if isinstance(one, Trouble) and "no key of it" in one.detail], 20
        )
        everything = "".join(path.read_text(errors="replace") for path in running.state.logs.glob("*.log"))
        assert "SWMKEY" not in everything + (tmp_path / "state/events.jsonl").read_text()

        keys.write_text(kept)
        keys.chmod(0o600)
        again_s = took_s(lambda: leads(door))
        with running.engine() as engine:
            assert [one["Spec"]["Name"] for one in api(engine).configs()] == ["kept"]
        assert door("down").returncode == 0
        door.up()
        assert leads(door)
    print(f"\nunlocked {engine_s:.0f} s after the engine was back, and {again_s:.0f} s after the key was")
