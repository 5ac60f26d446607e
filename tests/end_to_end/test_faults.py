"""A boot over a bad link, and a boot server that is killed under it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit import events
from labkit.events import Part, Phoned, Transfer
from labkit.servers.client import RunningLab, wait_blades
from tests.rig import relay
from tests.rig.front_door import FrontDoor, new_lab

SEED = 4
METHODS = {
    "ipxe": "boot: ipxe",
    "pxelinux": "boot: pxelinux",
    "uefi-ipxe": "boot: ipxe, firmware: uefi",
    "uefi-http": "boot: ipxe, firmware: uefi-http",
    "uefi-pxelinux": "boot: pxelinux, firmware: uefi",
    "lpxelinux": "boot: lpxelinux",
}
BOOT_S = 1800.0
"""SYSLINUX hears nothing more of a server that was killed, and starts anew only after some seven minutes of silence."""


@contextmanager
def lab_of(folder: Path, blade: str) -> Iterator[tuple[FrontDoor, RunningLab]]:
    """A lab of one blade, up, its blade off."""
    text = f"name: faults\nnetwork: {{subnet: 10.85.0.0/24}}\nblades: [{{name: blade1, {blade}}}]\n"
    with new_lab(folder, text) as door:
        done = door("up")
        assert done.returncode == 0, done.stderr
        yield door, door.connect()


@contextmanager
def bad_link(door: FrontDoor) -> Iterator[None]:
    """The blade's link runs through `relay` for as long as the block lasts."""
    words = [sys.executable, relay.__file__, "slot1", "br0", str(SEED)]
    enter = ["nsenter", f"--target={max(door.supervisor())}", "--net"]
    process = subprocess.Popen([*enter, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=10)
    counts = json.loads(said)
    assert counts["lost"]["harsh"] > 0.1 * counts["seen"]["harsh"], "the link was not as bad as it should be"
    assert counts["lost"].get("mild", 0) > 0


def kill_bootd(door: FrontDoor, running: RunningLab) -> int:
    """SIGKILL, in the process namespace of the lab; the process it was."""
    pid = int(running.status()["parts"]["bootd"])
    enter = ["nsenter", f"--target={max(door.supervisor())}", "--pid", "--mount"]
    subprocess.run([*enter, "sh", "-c", f"kill -9 {pid}"], check=True, timeout=10)
    return pid


def wait_started(running: RunningLab, path: str, timeout_s: float) -> None:
    """Until a transfer of a file has begun."""
    for event in events.follow(running.state.events, until=time.time() + timeout_s):
        if isinstance(event, Transfer) and (event.path, event.state) == (path, "started"):
            return
    raise AssertionError(f"nobody asked for {path} within {timeout_s:g} s")


def boots_over_a_bad_link(door: FrontDoor, running: RunningLab) -> None:
    """A bad link all the way to the kernel, and the server killed while it sends the system."""
    blade = running.lab.blades[0]
    with bad_link(door):
        running.power(blade, "on")
        wait_started(running, "labos/labos.cpio", BOOT_S)
        time.sleep(1)
        killed = kill_bootd(door, running)
        wait_blades(running, [blade], until="os", timeout_s=BOOT_S)
    told = list(running.events())
    lives = [part.pid for part in told if isinstance(part, Part) and (part.part, part.state) == ("bootd", "started")]
    assert len(lives) == 2 and killed == lives[0]
    [up] = [event for event in told if isinstance(event, Phoned) and event.stage == "os"]
    whole = [event for event in told if isinstance(event, Transfer) and event.state == "done" and event.time < up.time]
    assert {"labos/vmlinuz", "labos/labos.cpio", "labos/oem.cpio.gz"} <= {event.path for event in whole}


@pytest.mark.qemu
@pytest.mark.apart
def test_a_blade_boots_over_a_bad_link_from_a_server_that_is_killed(tmp_path: Path) -> None:
    with lab_of(tmp_path, METHODS["ipxe"]) as (door, running):
        boots_over_a_bad_link(door, running)


@pytest.mark.soak
@pytest.mark.parametrize("method", [name for name in METHODS if name != "ipxe"])
def test_every_other_way_to_boot_does_so_too(tmp_path: Path, method: str) -> None:
    with lab_of(tmp_path, METHODS[method]) as (door, running):
        boots_over_a_bad_link(door, running)


# --- the relay itself ---


def udp(source: int, target: int, payload: bytes = b"") -> bytes:
    head = source.to_bytes(2) + target.to_bytes(2) + bytes(4)
    return bytes(12) + b"\x08\0\x45" + bytes(8) + b"\x11" + bytes(10) + head + payload


def tcp(source: int, target: int, payload: bytes = b"") -> bytes:
    head = source.to_bytes(2) + target.to_bytes(2) + bytes(8) + b"\x50" + bytes(7)
    return bytes(12) + b"\x08\0\x45" + bytes(8) + b"\x06" + bytes(10) + head + payload


def test_a_frame_fares_as_the_file_it_is_of() -> None:
    faults = relay.Faults(1)
    kinds = [
        faults._kind(frame)
        for frame in (
            udp(68, 67), udp(1000, 69, b"\0\1/labos/vmlinuz\0octet\0"), udp(5000, 1000), udp(1000, 5000),
            udp(1000, 69, b"\0\1pxelinux.0\0octet\0"), udp(5001, 1000), udp(4789, 4789),
            tcp(2000, 80), tcp(2000, 80, b"GET /labos/labos.cpio HTTP/1.1\r\n"), tcp(80, 2000, b"x"),
            tcp(2000, 80, b"GET /labos/oem.cpio.gz HTTP/1.1\r\n"), tcp(80, 2000), tcp(2000, 2377),
            tcp(2000, 80, b"POST /v1/stage HTTP/1.1"), bytes(60),
        )
    ]  # fmt: skip
    assert kinds == [
        "harsh", "harsh", "mild", "mild", "harsh", "harsh", "none", "harsh", "mild", "mild", "harsh", "harsh", "none",
        "none", "none",
    ]  # fmt: skip


def test_the_same_seed_is_the_same_link() -> None:
    def fates(seed: int) -> list[relay.Fate]:
        faults = relay.Faults(seed)
        return [faults.judge(udp(68, 67)) for _ in range(2000)]

    assert fates(1) == fates(1) != fates(2)
    assert 340 < fates(1).count(relay.Fate(0)) < 460
    assert 60 < fates(1).count(relay.Fate(2)) < 140
