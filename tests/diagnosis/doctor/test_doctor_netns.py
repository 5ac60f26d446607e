"""The doctor on a real lab's machine, which is a network namespace here, beside other people's DHCP servers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.rig.net import Net

pytestmark = pytest.mark.netns

LAB = """
name: rack
network: {kind: interface, interface: br0, subnet: 10.77.0.0/24, server: 10.77.0.1}
bmc: {user: ADMIN, password_file: bmc.password}
blades:
  - {name: red1, slot: 1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.77.0.201}}
"""


@contextmanager
def dnsmasq(net: Net, space: str, interface: str, *options: str) -> Iterator[int]:
    """A DHCP server of somebody else's in a namespace; its process id."""
    words = [
        "dnsmasq",
        "--no-daemon",
        "--port=0",
        f"--interface={interface}",
        "--user=root",
        "--conf-file=",
        "--no-ping",
    ]
    words += [
        "--dhcp-authoritative",
        f"--dhcp-leasefile={net.folder}/{space}.leases",
        f"--pid-file={net.folder}/{space}",
    ]
    server = subprocess.Popen(["ip", "netns", "exec", space, *words, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None and "started" in server.stderr.readline()
        yield server.pid
    finally:
        server.terminate()
        server.communicate(timeout=10)


def visit(net: Net) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The doctor's exit status and its findings, by check."""
    words = [sys.executable, "-m", "labkit", "--lab", str(net.folder / "lab.yaml"), "doctor", "--json"]
    done = subprocess.run(
        ["ip", "netns", "exec", net.server, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["check"], []).append(finding)
    return done.returncode, found


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    net = Net(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "bmc.password").write_text("secret\n")
    (tmp_path / "bmc.password").chmod(0o600)
    try:
        net.plug("other", "00:00:5e:00:53:66")
        yield net
    finally:
        net.close()


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq-base is not installed")
def test_every_server_that_answers_is_listed_for_every_client(net: Net) -> None:
    net.inside(net.spaces[1], "ip", "address", "add", "10.77.0.66/24", "dev", "eth0")
    boot = "--dhcp-match=set:efi,option:client-arch,7", "--dhcp-boot=tag:efi,evil.efi", "--dhcp-boot=tag:!efi,evil.0"
    with dnsmasq(net, net.spaces[1], "eth0", "--dhcp-range=10.77.0.200,10.77.0.210", *boot):
        status, found = visit(net)
    assert status == 1
    [dhcp] = found["dhcp"]
    assert dhcp["state"] == "bad" and "another DHCP server answers: 10.77.0.66" in dhcp["what"]
    for client, file in (("bios", "evil.0"), ("ipxe", "evil.0"), ("uefi", "evil.efi"), ("http", "")):
        assert f"to {client}: 10.77.0.2" in dhcp["what"]
        assert not file or f"boot file {file}" in dhcp["what"]
    assert [one["state"] for one in found["interface"]] == ["ok"] and "br0 has 10.77.0.1/24" in found["interface"][0][
        "what"
    ]
    assert found["ports"][0]["what"] == "UDP 67, UDP 69, TCP 80, TCP 5000 are free"


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq-base is not installed")
def test_a_server_of_this_machines_own_holds_the_port(net: Net) -> None:
    with dnsmasq(net, net.server, "br0", "--dhcp-range=10.77.0.200,10.77.0.210", "--bind-interfaces") as pid:
        status, found = visit(net)
    assert status == 1
    assert [one["what"] for one in found["ports"]] == [f"UDP 67 is held by dnsmasq (process {pid})"]
    assert found["dhcp"][0]["state"] == "ok", "it does not hear what its own machine sends"


def test_without_a_link(net: Net) -> None:
    net.inside(net.server, "ip", "link", "set", "br0", "down")
    status, found = visit(net)
    assert status == 1
    assert "br0 is down" in found["interface"][0]["what"] and found["interface"][0]["fix"] == "ip link set br0 up"
    assert found["dhcp"][0]["state"] == "skipped"


HOLD = """
import socket
server = socket.create_server(("::", 2049), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
input()
"""


def test_another_nfs_server_is_refused_by_up_with_what_to_do(net: Net) -> None:
    path = net.folder / "lab.yaml"
    path.write_text(f"{LAB}storage: {{share: true}}\n")
    words = ["ip", "netns", "exec", net.server, sys.executable]
    labkit = [*words, "-m", "labkit", "--lab", str(path), "--state", str(net.folder / "state")]
    with subprocess.Popen([*words, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == "ready\n"
            up = subprocess.run([*labkit, "up", "--yes"], capture_output=True, text=True, timeout=60, check=False)
        finally:
            other.kill()
            subprocess.run([*labkit, "down"], capture_output=True, timeout=60, check=False)
    assert up.returncode == 1 and "TCP port 2049 (share) at 10.77.0.1: another program has this port" in up.stderr
    assert "systemctl stop nfs-server" in up.stderr and "write share: false" in up.stderr
    assert not (net.folder / "state").exists(), "nothing was begun"
