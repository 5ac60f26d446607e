"""Machines that are no blades, where the lab has a pool for them: addresses in use, storms, and a server that dies."""

from __future__ import annotations

import json
import signal
import socket
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from labkit.events import Dhcp, Trouble, UnknownMachine
from labkit.netboot.dhcp import DhcpError, Message, Option, Packet, decode, encode
from tests.rig.dhcp import PXE_BIOS, request
from tests.rig.net import BLADE1, STRANGER, Net, wait_until

pytestmark = pytest.mark.netns

FIRST, SIZE = IPv4Address("10.77.4.0"), 1024
BLADES = {f"52:54:00:4d:00:{slot:02x}": IPv4Address("10.77.0.10") + slot for slot in range(1, 31)}
LAB = f"""
network: {{subnet: 10.77.0.0/16, pool: [{FIRST}, {FIRST + SIZE - 1}]}}
boot: pxelinux
blades:
"""
LAB += "".join(f'- {{name: blade{int(mac[-2:], 16)}, macs: ["{mac}"]}}\n' for mac in BLADES)
RELAY = IPv4Address("10.77.0.250")
MACHINES = 1000


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with Net(tmp_path_factory.mktemp("pool"), LAB) as net:
        net.start()
        yield net


def first_choice(mac: str) -> IPv4Address:
    """The address a card would be given on an empty network."""
    return FIRST + zlib.crc32(bytes.fromhex(mac.replace(":", ""))) % SIZE


def test_an_address_that_somebody_uses_is_not_given_away(net: Net) -> None:
    taken = first_choice(STRANGER)
    squatter = net.plug("q", "00:00:5e:00:53:77")
    net.inside(squatter, "ip", "address", "add", f"{taken}/16", "dev", "eth0")
    told = net.lease(net.plug("x", STRANGER))
    assert told["ip"] == str(FIRST + (int(taken) - int(FIRST) + 1) % SIZE)
    [trouble] = net.told(Trouble, part="dhcp")
    assert trouble.detail.startswith(f"{taken} of the pool is used by 00:00:5e:00:53:77")
    assert net.told(UnknownMachine, mac=STRANGER)  # it got an address, and could be a blade


def test_a_blade_whose_address_another_machine_uses_boots_and_it_is_told(net: Net) -> None:
    squatter = net.plug("p", "00:00:5e:00:53:78")
    net.inside(squatter, "ip", "address", "add", "10.77.0.11/16", "dev", "eth0")
    assert net.pxe(net.plug("b1", BLADE1))["ip"] == "10.77.0.11"
    [trouble] = wait_until(lambda: net.told(Trouble, blade="blade1"))
    net.inside(squatter, "ip", "address", "flush", "dev", "eth0")
    assert "00:00:5e:00:53:78 uses it too" in trouble.detail


class Storm:
    """Many machines behind one relay. ``offers`` and ``leases`` are by card."""

    def __init__(self, sock: socket.socket, macs: Iterable[str], options: Mapping[int, bytes]) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((str(RELAY), 67))
        self.sock, self.macs, self.options = sock, tuple(macs), options
        self.offers: dict[str, Packet] = {}
        self.leases: dict[str, IPv4Address] = {}

    def ask(self) -> None:
        """Everybody without a lease asks, for one or for the one offered."""
        for mac in self.macs:
            if mac in self.leases:
                continue
            offer = self.offers.pop(mac, None)
            chosen = {} if offer is None else {50: offer.yiaddr.packed, 54: offer.options[Option.SERVER_ID]}
            kind = Message.DISCOVER if offer is None else Message.REQUEST
            packet = replace(request(kind, mac, {**self.options, **chosen}, giaddr=RELAY), hops=1)
            self.sock.sendto(encode(packet), ("10.77.0.1", 67))

    def hear(self, for_s: float) -> None:
        """Take what is offered and leased in so long."""
        until = time.monotonic() + for_s
        while (left := until - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                packet = decode(self.sock.recv(4096))
            except (TimeoutError, DhcpError, ConnectionError):
                continue
            if packet.message is Message.OFFER:
                self.offers[packet.mac] = packet
            elif packet.message is Message.ACK:
                self.leases[packet.mac] = packet.yiaddr


@pytest.fixture(scope="module")
def relay(net: Net) -> str:
    space = net.plug("r", "00:00:5e:00:53:fd")
    net.inside(space, "ip", "address", "add", f"{RELAY}/16", "dev", "eth0")
    return space


def test_thirty_blades_at_once(net: Net, relay: str) -> None:
    """Each gets its own address, a loader over TFTP and a kernel over HTTP, and an archive that is no other's."""
    with net.socket(relay) as sock:
        storm = Storm(sock, BLADES, PXE_BIOS)
        for _ in range(4):
            storm.ask()
            storm.hear(0.5)
    assert storm.leases == BLADES
    for address in BLADES.values():
        net.inside(relay, "ip", "address", "add", f"{address}/16", "dev", "eth0")
    wanted = ("tftp://10.77.0.1/pxelinux.0", "http://10.77.0.1/labos/vmlinuz", "http://10.77.0.1/labos/oem.cpio.gz")
    fetching = [
        net.background(
            relay, "curl", "-sf", "-m", "60", "--interface", str(address), url, "-o", place(net, address, url)
        )
        for url in wanted
        for address in BLADES.values()
    ]
    assert {process.wait(90) for process in fetching} == {0}
    for url in wanted[:2]:
        whole = (net.images / url.removeprefix("tftp://10.77.0.1/").removeprefix("http://10.77.0.1/")).read_bytes()
        assert all(place(net, address, url).read_bytes() == whole for address in BLADES.values())
    assert len({place(net, address, wanted[2]).read_bytes() for address in BLADES.values()}) == len(BLADES)


def place(net: Net, address: IPv4Address, url: str) -> Path:
    """Where a test keeps what a blade fetched."""
    return net.folder / f"{address}-{url.rsplit('/', 1)[-1]}"


def test_a_thousand_machines_at_once_from_a_server_that_is_killed_again_and_again(net: Net, relay: str) -> None:
    """Whoever got an ACK has its lease in the file, whenever the server died, and nobody has another's."""
    with net.socket(relay) as sock:
        storm = Storm(sock, (f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(MACHINES)), {})
        for killed_after_s in (0.02, 0.1, 0.3):
            storm.ask()
            storm.hear(0.6)
            storm.ask()
            storm.hear(killed_after_s)
            kept = kill_and_read(net)
            storm.hear(0.1)  # what was on its way
            assert {mac: kept.get(mac) for mac in storm.leases} == storm.leases
            net.start()
        assert len(storm.leases) > 0
        for _ in range(20):
            if len(storm.leases) < MACHINES:
                storm.ask()
                storm.hear(0.6)
    assert len(storm.leases) == MACHINES
    assert len(set(storm.leases.values())) == MACHINES
    kept = kill_and_read(net)
    assert {mac: kept.get(mac) for mac in storm.leases} == storm.leases
    assert len(net.told(Dhcp, blade="")) < 500  # a storm of strangers does not fill the disk
    (net.state.path / ".leases.json.1").touch()  # as if it had died in the middle of a writing
    net.start()
    assert list(net.state.path.glob(".leases*")) == []


def kill_and_read(net: Net) -> dict[str, IPv4Address]:
    """SIGKILL, and what the lease file says then."""
    assert net.stop(signal.SIGKILL) == -signal.SIGKILL
    file = net.state.path / "leases.json"
    rows = json.loads(file.read_text())["leases"] if file.exists() else []
    return {row["mac"]: IPv4Address(row["address"]) for row in rows if row["state"] == "bound"}
