"""Servers of a whole lab that are stopped, and so live and do not answer: who tells of it, and what comes of it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from labkit import events
from labkit.events import Event, Part
from tests.rig.front_door import FrontDoor, new_lab

STOPPED = ("bootd", "swarmd", "registry", "bmc1")
LAB = "name: silent\nnetwork: {subnet: 10.86.0.0/24}\nblades: [{name: blade1}]\n"


def signalled(door: FrontDoor, name: str, pid: int) -> None:
    """Send a signal to a process of the lab, by its id there."""
    enter = ["nsenter", f"--target={max(door.supervisor())}", "--pid", "--mount"]
    subprocess.run([*enter, "sh", "-c", f"kill -{name} {pid}"], check=True, timeout=10)


def metrics(door: FrontDoor) -> str:
    enter = ["nsenter", f"--target={max(door.supervisor())}", "--net"]
    command = [*enter, "curl", "-s", "-m", "5", "http://10.86.0.1/metrics"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout


@pytest.mark.qemu
@pytest.mark.apart
def test_parts_that_do_not_answer_are_told_and_started_anew(tmp_path: Path) -> None:
    with new_lab(tmp_path, LAB) as door:
        assert door("up").returncode == 0
        running = door.connect()
        well = door("status", "--json")
        said = json.loads(well.stdout)
        assert (well.returncode, said["unwritten"]) == (0, "")
        assert set(said["answers"]) == set(said["parts"]), "there is a part that nobody asks"
        assert not [why for heard in said["answers"].values() for why in heard.values() if why]

        pids = {name: int(said["parts"][name]) for name in STOPPED}
        after = max(event.seq for event in running.events())
        for pid in pids.values():
            signalled(door, "STOP", pid)
        ill = door("status")
        assert ill.returncode == 1
        for name in STOPPED:
            assert f"\n{name}: " in ill.stdout and "does not answer (nothing within 3 s)" in ill.stdout
        assert "bootd: DHCP does not answer (nothing within 3 s), TFTP does not answer (" in ill.stdout
        doctor = json.loads(door("doctor", "--json").stdout)
        bad = [one for one in doctor if one["state"] == "bad" and one["check"] == "lab"]
        assert {one["what"].partition(" ")[0] for one in bad} == set(STOPPED) and all(one["fix"] for one in bad)

        signalled(door, "CONT", pids["bootd"])  # who answers again is left alone, and tells of the others
        deadline = time.monotonic() + 40
        wanted = {'{part="registry",listener="TLS"} 0', '{part="bootd",listener="TFTP"} 1'}
        while not wanted <= {line.removeprefix("labkit_listener_answers") for line in metrics(door).splitlines()}:
            assert time.monotonic() < deadline, metrics(door)
            time.sleep(0.5)

        anew = set(STOPPED) - {"bootd"}
        told: list[Event] = []
        for event in events.follow(running.state.events, after=after, until=time.time() + 90):
            told += [event] if event is not None else []
            if {one.part for one in told if isinstance(one, Part) and one.state == "started"} == anew:
                break
        for name in anew:
            lives = [one for one in told if isinstance(one, Part) and one.part == name]
            assert [one.state for one in lives] == ["silent", "silent", "died", "started"], lives
            assert lives[1].detail.endswith("it is ended and started anew")
        deadline = time.monotonic() + 20
        while (again := door("status", "--json")).returncode:
            assert time.monotonic() < deadline, again.stdout
        assert json.loads(again.stdout)["parts"]["bootd"] == pids["bootd"]
