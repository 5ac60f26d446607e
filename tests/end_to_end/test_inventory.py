"""What blades are made of, as they tell; and a machine that is in no lab file, from its first question to a blade."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from labkit.events import BootStarted, Inventoried, Phoned
from labkit.events.inventory import Inventory
from labkit.events.kept_inventories import name_of, read
from tests.rig.front_door import FrontDoor, new_lab

pytestmark = [pytest.mark.qemu, pytest.mark.soak]
RED = """\
name: made-of
network: {subnet: 10.88.0.0/24}
blades: [{name: red1, hardware: red, memory: 2048M, boot: ipxe}]
"""
UNKNOWN = """\
name: unknown
network: {subnet: 10.88.0.0/24, pool: [10.88.0.100, 10.88.0.120], discover: true}
memory: 1536M
disk: {device: /dev/vda, size: 3GiB}
blades: [{name: blade1}, {name: blade2}]
"""
ANNOUNCE = """
import socket, time
def tlv(kind, value): return (kind << 9 | len(value)).to_bytes(2, "big") + value
mac = bytes.fromhex("00005e005301")
frame = bytes.fromhex("0180c200000e") + mac + b"\\x88\\xcc" + tlv(1, b"\\4" + mac) + tlv(2, b"\\5Gi0/7")
frame += tlv(3, (120).to_bytes(2, "big")) + tlv(5, b"switch1") + tlv(7, b"\\0\\4\\0\\4") + tlv(0, b"")
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.bind(("slot1", 0))
    while True:
        try:
            sock.send(frame)
        except OSError:  # nobody has opened the tap yet
            pass
        time.sleep(3)
"""
"""A switch at slot 1 that announces itself (IEEE 802.1AB): chassis, port, how long that holds, name, and a bridge."""
T = TypeVar("T")


@contextmanager
def switch(door: FrontDoor) -> Iterator[None]:
    network = f"--net=/proc/{door.supervisor()[-1]}/ns/net"
    process = subprocess.Popen(["nsenter", network, sys.executable, "-c", ANNOUNCE])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def wait_for(found: Callable[[], T | None], timeout_s: float, what: str) -> T:
    until = time.monotonic() + timeout_s
    while (one := found()) is None:
        assert time.monotonic() < until, what
        time.sleep(1)
    return one


def told(door: FrontDoor, name: str, timeout_s: float = 600) -> Inventory:
    """What is kept of a machine in the lab owner's folder, once it is there."""
    kept = wait_for(lambda: read(door.state / "inventory", name), timeout_s, f"{name} did not tell what it is made of")
    return kept.inventory


def test_a_blade_tells_what_it_is_made_of(tmp_path: Path) -> None:
    with new_lab(tmp_path, RED) as door:
        running = door.up()
        [red1] = running.lab.blades
        with switch(door):
            running.power(red1, "on")
            made = told(door, "red1")
        assert sum(bar.size_mib for bar in made.bars) == made.installed_mib == 2048
        assert made.macs == red1.macs and made.disks == () and made.threads == 1
        assert [(card.has_link, card.driver) for card in made.cards] == [(True, "e1000e"), *[(False, "e1000e")] * 3]
        assert (made.cards[0].speed, made.cards[0].neighbour, made.cards[0].port) == ("1 Gbit/s", "switch1", "Gi0/7")
        assert made.bmc == "ipmi", "its system sees its slot's controller"
        assert made.uuid == f"00000000-0000-4000-8000-{red1.macs[0].replace(':', '')}"
        shown = json.loads(door("inventory", "--json").stdout)
        assert shown["red1"]["inventory"]["memory_mib"] == made.memory_mib
        assert "2.0 GiB" in door("inventory").stdout and "DIMM" in door("inventory", "red1").stdout


def test_a_machine_that_is_in_no_lab_file_becomes_a_blade(tmp_path: Path) -> None:
    with new_lab(tmp_path, UNKNOWN) as door:
        running = door.up()
        blade2 = running.lab.blade("blade2")
        [mac] = blade2.macs
        running.power(blade2, "on")
        assert "stays on" in door("forget", "blade2").stdout, "from here on it is a machine that is in no lab file"
        found = told(door, name_of(mac))
        assert (found.installed_mib, found.macs) == (1536, (mac,))
        assert [(disk.name, disk.size_b) for disk in found.disks] == [("vda", 3 << 30)]
        assert (running.state.disks / "blade2.raw").stat().st_blocks == 0, "nothing was written to its disk"
        words = door("machines").stdout
        assert mac in words and "1 core, 1.5 GiB, 1 disk (3.2 GB), 1 card" in words
        console = running.state.console("blade2")
        waits = f"labkit: it waits to be taken in: ./lab adopt {mac}"
        wait_for(lambda: waits in console.read_text(errors="replace") or None, 60, "its console says nothing of it")

        adopted = door("adopt", mac)
        assert "knows blade2 now" in adopted.stdout, adopted.stdout + adopted.stderr
        seen = len(list(running.events()))

        def boots_as_a_blade() -> bool | None:
            since = [event for event in list(running.events())[seen:] if event.blade == "blade2"]
            kinds = [type(event) for event in since]
            return True if BootStarted in kinds and Phoned in kinds[kinds.index(BootStarted) :] else None

        wait_for(boots_as_a_blade, 600, "it did not boot as a blade once it was taken in")
        assert told(door, "blade2").disks == found.disks
        last = [event for event in running.events() if isinstance(event, Inventoried)][-1]
        assert (last.blade, last.memory_mib) == ("blade2", 1536)
