"""A lab as its owner has it: a network card, blades with BMCs, and this machine's own Docker as the manager.

The "machine" is a network and mount namespace with a card ``eth1`` and a Docker engine; the blades are QEMU machines in
another namespace, which `rack` plays. What labkit knows of them comes through the cable.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labkit import images
from labkit.lab import lab_yaml
from labkit.swarm.engine import engine
from tests.rig import rack
from tests.rig.fleet import Machine, sh, until
from tests.rig.front_door import FrontDoor

LAB = """\
name: rack
network: {kind: interface, interface: eth1, subnet: 10.87.0.0/24, server: 10.87.0.2}
boot: ipxe
os: labos
bmc: {user: ADMIN, password_file: bmc.password}
blades:
  - {name: red1, slot: 1, macs: ["52:54:00:57:00:01"], address: 10.87.0.11, bmc: {address: 10.87.0.201}}
"""


class OwnEngine(Machine):
    """The Docker engine of the "machine": it reads /etc/docker/certs.d where labkit writes it."""

    def start(self, command: list[str], data_at: str) -> None:
        trusting = "rm -r /etc/docker/certs.d; ln -s /run/host/etc/docker/certs.d /etc/docker/certs.d; exec "
        super().start(["sh", "-c", trusting + shlex.join(command)], data_at)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """``./lab`` on that machine, with the rack plugged in and nothing running."""
    folder = tmp_path_factory.mktemp("rack")
    (folder / "lab.yaml").write_text(LAB)
    (folder / "bmc.password").write_text("of-its-own\n")
    (folder / "bmc.password").chmod(0o600)
    images.ensure_images(lab_yaml.load(folder / "lab.yaml"), progress=print)
    tag = f"lkr{os.getpid()}"
    with ExitStack() as stack:
        for space in (tag, f"{tag}b"):
            sh(f"ip netns add {space}; ip -n {space} link set lo up")
            stack.callback(sh, f"ip netns delete {space}")
        sh(
            f"ip -n {tag} link add eth1 type veth peer name uplink netns {tag}b;"
            f"ip -n {tag} address add 10.87.0.2/24 dev eth1; ip -n {tag} link set eth1 up"
        )
        hardware = [sys.executable, "-m", rack.__name__, str(folder / "lab.yaml"), str(folder / "rack")]
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]  # so that its machines end with it
        background(stack, ["ip", "netns", "exec", f"{tag}b", *alone, *hardware])
        (folder / "own.crt").touch()
        own = OwnEngine(images.tree(), folder / "engine", tag, "server", tag, folder / "own.crt")
        (own.run / "work").mkdir()
        (own.run / "etc").mkdir()
        stack.callback(own.kill)
        own.on()
        script = f"""
            mount -t overlay overlay -o lowerdir=/etc,upperdir={own.run}/etc,workdir={own.run}/work /etc
            mount -t tmpfs tmpfs /run && ln -s {own.sock} /run/docker.sock
            echo ready; exec sleep infinity"""
        words = ["nsenter", f"--net=/run/netns/{tag}", "unshare", "--mount", "sh", "-ec", script]
        machine = background(stack, words)
        door = FrontDoor(folder, ("nsenter", f"--target={machine.pid}", "--net", "--mount"))
        stack.callback(door, "down", timeout_s=60)
        yield door


def background(stack: ExitStack, words: list[str]) -> subprocess.Popen[str]:
    """A program that says it is ready, and is ended with the stack."""
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=root)
    stack.callback(process.wait, 10)
    stack.callback(process.kill)
    assert process.stdout is not None
    with process.stdout as stream:
        assert stream.readline() == "ready\n"
    return process


@pytest.mark.soak
def test_a_real_lab_from_doctor_to_nginx_and_away(door: FrontDoor) -> None:
    """What docs/real-blades.md has people do with real blades, in its order."""
    looked = door("doctor")
    assert looked.returncode == 0, looked.stdout
    refused = door("up")
    assert refused.returncode != 0 and "--yes" in refused.stderr
    up = door("up", "--yes")
    assert up.returncode == 0, up.stderr
    rehearsed = door("rehearse", "red1")
    assert rehearsed.returncode == 0, rehearsed.stdout + rehearsed.stderr
    done = door("run", "--runs", str(door.folder / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("red1"))
    assert row[-1] == "200"
    assert "on" in door("power", "status", "red1").stdout
    assert door("power", "shutdown", "red1").returncode == 0
    until(lambda: listed(door) == ["server"], 120)

    own = Path(door.folder, "engine/run")
    assert door("down").returncode == 0
    assert door.leftovers() == []
    assert not list(own.glob("etc/docker/certs.d/*")), "the trust in the lab's registry is taken back"
    with engine(own / "docker.sock") as client:
        assert client.info()["Swarm"]["LocalNodeState"] == "active", "the swarm is left alone"


@pytest.mark.soak
def test_a_lab_that_is_up_knows_how_warm_its_rack_is(door: FrontDoor) -> None:
    up = door("up", "--yes")
    assert up.returncode == 0, up.stderr
    told = door("power", "sensors", "red1")
    assert told.stdout == "red1:\n  inlet1  22 °C  ok\n", told.stderr
    until(lambda: "measured" in door("events").stdout, 60)
    page = subprocess.run([*door.prefix, "curl", "-s", "http://10.87.0.2/metrics"], capture_output=True, text=True)
    assert 'labkit_blade_temperature_celsius{slot="1"} 22\n' in page.stdout
    owners = {entry.name: entry.owner() for entry in (door.state / "run").iterdir()}
    assert owners["sensord.sock"] == owners["control.sock"]
    assert "asked no more" not in door("events").stdout
    assert door("down").returncode == 0 and door.leftovers() == []


def listed(door: FrontDoor) -> list[str]:
    """The swarm's nodes, by hostname."""
    return sorted(node["hostname"] for node in json.loads(door("swarm", "nodes", "--json").stdout))
