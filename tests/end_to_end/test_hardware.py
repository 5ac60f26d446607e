"""Blades that have nothing virtual about them, from their cards' own firmware to nginx; and a virtual lab's way out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labkit.events import Dhcp
from tests.rig.fleet import sh
from tests.rig.front_door import FrontDoor, new_lab

pytestmark = [pytest.mark.qemu, pytest.mark.soak]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/virtual-red-chassis.yaml"
OUTSIDE = "203.0.113.1"
OTHERS = """\
name: hardware
network: {subnet: 10.84.0.0/24}
blades:
  - {name: red1, hardware: red, boot: ipxe, plugged: [3]}
  - {name: pc1, hardware: pc, boot: ipxe}
"""


def answered(door: FrontDoor, names: list[str], timeout_s: float) -> None:
    """Run the whole workbook, to an answer of each blade."""
    done = door("run", "--runs", str(door.folder / "runs"), timeout_s=timeout_s)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(tuple(names))]
    assert [(row[0], row[-1]) for row in rows] == [(name, "200") for name in names]


def run(door: FrontDoor, blade: str, command: str) -> str:
    """What a command says on a blade."""
    done = door("ssh", blade, "--", command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_red_blades_boot_as_the_articles_do(tmp_path: Path) -> None:
    """The example as it stands: everything over TFTP, four cards, the cable in the first, the second, or in two."""
    with new_lab(tmp_path, EXAMPLE.read_text()) as door:
        answered(door, ["red1", "red2", "red3"], 3600)
        lab = door.connect()
        used = {(event.blade, event.mac) for event in lab.events() if isinstance(event, Dhcp) and event.reply == "ACK"}
        cards = {blade.name: blade.macs for blade in lab.lab.blades}
        assert used == {("red1", cards["red1"][0]), ("red2", cards["red2"][1]), ("red3", cards["red3"][0])}
        assert "10.0.40.12" in door("why", "red2").stdout
        for blade in cards:
            loaded = run(door, blade, "cut -d' ' -f1 /proc/modules").split()
            assert {"e1000e", "ahci", "ipmi_si"} <= set(loaded)
            assert not [module for module in loaded if module.startswith("virtio")]
            assert run(door, blade, "ls /dev/ipmi0") == "/dev/ipmi0\n", "its system sees its slot's controller"
        assert run(door, "red3", "ip -4 -o addr show scope global | grep -c 10.0.40.") == "1\n"


def test_red_blades_and_office_machines_boot_by_ipxe(tmp_path: Path) -> None:
    with new_lab(tmp_path, OTHERS) as door:
        answered(door, ["red1", "pc1"], 3600)
        assert "8139" in run(door, "pc1", "readlink /sys/class/net/en*/device/driver")
        assert run(door, "pc1", "ls /dev/nvme0n1") == "/dev/nvme0n1\n"


@pytest.fixture
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """A machine with a default route, and at its other end a name server's address and a web server's."""
    tag = f"lki{os.getpid()}"
    with ExitStack() as stack:
        for space in (tag, f"{tag}w"):
            sh(f"ip netns add {space}; ip -n {space} link set lo up")
            stack.callback(sh, f"ip netns delete {space}")
        sh(
            f"ip -n {tag} link add eth1 type veth peer name eth1 netns {tag}w;"
            f"ip -n {tag} address add 198.51.100.2/24 dev eth1; ip -n {tag} link set eth1 up;"
            f"ip -n {tag}w address add 198.51.100.1/24 dev eth1; ip -n {tag}w link set eth1 up;"
            f"ip -n {tag}w address add {OUTSIDE}/32 dev lo;"
            f"ip -n {tag} route add default via 198.51.100.1"
        )
        words = ["ip", "netns", "exec", f"{tag}w", sys.executable, "-m", "http.server", "80", "--bind", OUTSIDE]
        web = subprocess.Popen([*words, "--directory", str(tmp_path_factory.mktemp("web"))], stderr=subprocess.DEVNULL)
        stack.callback(web.wait)
        stack.callback(web.kill)
        yield ("nsenter", f"--net=/run/netns/{tag}")  # `ip netns exec` hides the control groups that Docker needs


def test_a_virtual_lab_has_a_way_out_when_it_asks_for_one(connected: tuple[str, ...], tmp_path: Path) -> None:
    text = (
        f"name: out\nnetwork: {{subnet: 10.84.0.0/24, internet: true, dns: [{OUTSIDE}]}}\nblades: [{{name: blade1}}]\n"
    )

    def rules() -> str:
        return subprocess.run([*connected, "nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout

    with new_lab(tmp_path, text) as ours:
        door = FrontDoor(ours.folder, connected)
        try:
            answered(door, ["blade1"], 1800)
            asked = f"exec 3<>/dev/tcp/{OUTSIDE}/80; echo 'GET / HTTP/1.0' >&3; echo >&3; head -n 1 <&3"
            assert run(door, "blade1", f'timeout 10 bash -c "{asked}"').startswith("HTTP/1.0 200")
            assert OUTSIDE in run(door, "blade1", "resolvectl dns")
            assert "masquerade" in rules()
        finally:
            door("down", timeout_s=120)
        assert rules() == "", "what was there goes with the lab"
