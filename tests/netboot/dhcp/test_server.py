"""The DHCP server's shell over a real socket: what it hears, what it writes first, and what does not end it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from labkit.diagnosis import listeners
from labkit.events import BootStarted, Dhcp, Trouble
from labkit.lab.state import write_whole
from labkit.netboot import boots
from labkit.netboot.dhcp import Message, encode
from labkit.netboot.dhcp import leases as leasebook
from labkit.netboot.dhcp import server as dhcpd
from labkit.netboot.dhcp.leases import LeaseBook
from labkit.netboot.dhcp.replies import Reply
from labkit.netboot.dhcp.server import DhcpServer
from tests.rig.dhcp import PXE_BIOS, Seen, make_clients, make_lab, request, selecting

BLADE3, ADDRESS3 = "52:54:00:4d:00:03", IPv4Address("10.77.0.13")
POOL = (IPv4Address("10.77.0.100"), IPv4Address("10.77.0.254"))


class Rig:
    """A server on loopback."""

    def __init__(self, folder: Path) -> None:
        self.seen, self.leases = Seen(), folder / "leases.json"
        self.clients = make_clients(folder, self.seen, make_lab(pool=POOL))
        self.sent: list[tuple[Reply, LeaseBook]] = []
        self.boots: list[list[dict[str, object]]] = []
        self.saves = 0

    def keep(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep replies with the books that were on disk when they left, and count writings of leases."""
        save = leasebook.save

        def counted(book: LeaseBook, path: Path) -> None:
            self.saves += 1
            save(book, path)

        def sent(server: DhcpServer, sock: socket.socket, reply: Reply) -> None:
            self.sent.append((reply, leasebook.load(self.leases)))
            self.boots.append(json.loads(path.read_text())["boots"] if path.exists() else [])

        path = self.leases.with_name("boots.json")
        monkeypatch.setattr(leasebook, "save", counted)
        monkeypatch.setattr(DhcpServer, "_send", sent)

    def run(self, datagrams: list[bytes], until: Callable[[], bool], handler: Any = None) -> None:
        """Send datagrams, then serve until they have had their effect."""

        async def serving() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(handler)
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
            ):
                sock.bind(("127.0.0.1", 0))
                server = DhcpServer(sock, self.clients)
                for datagram in datagrams:
                    client.sendto(datagram, sock.getsockname())
                server.start(loop)
                async with asyncio.timeout(5):
                    while not until():
                        await asyncio.sleep(0.005)
                server.stop(loop)

        asyncio.run(serving())


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = Rig(tmp_path)
    rig.keep(monkeypatch)  # there is no client at port 68 to send to
    return rig


def test_a_lease_is_on_disk_before_its_ack_leaves(rig: Rig) -> None:
    rig.run([encode(request(Message.REQUEST, BLADE3, selecting(ADDRESS3)))], lambda: bool(rig.sent))
    [(reply, on_disk)] = rig.sent
    assert reply.packet.yiaddr == ADDRESS3
    assert on_disk.leases[ADDRESS3].mac == BLADE3


def test_a_storm_costs_few_writings(rig: Rig) -> None:
    macs = [f"02:00:00:00:00:{number:02x}" for number in range(100)]
    asked = [encode(request(Message.REQUEST, mac, selecting(POOL[0] + at))) for at, mac in enumerate(macs)]
    rig.run(asked, lambda: len(rig.sent) == 100)
    assert rig.saves < 10
    assert all(on_disk.leases[reply.packet.yiaddr].mac == reply.packet.mac for reply, on_disk in rig.sent)


def test_an_offer_is_not_worth_a_writing(rig: Rig) -> None:
    rig.run([encode(request(Message.DISCOVER, BLADE3))], lambda: bool(rig.sent))
    assert rig.saves == 0


def test_a_rack_that_is_switched_on_costs_one_writing_of_its_boots(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def counted(path: Path, text: str) -> None:
        written.append(path)
        write_whole(path, text)

    monkeypatch.setattr(boots, "write_whole", counted)
    macs = [f"52:54:00:4d:00:0{slot}" for slot in (1, 2, 3)]
    rig.run([encode(request(Message.DISCOVER, mac, PXE_BIOS)) for mac in macs], lambda: bool(rig.seen.of(Trouble)))
    assert len(rig.sent) == 3 and len(written) == 1
    assert [{boot["blade"] for boot in on_disk} for on_disk in rig.boots] == [{"blade1", "blade2", "blade3"}] * 3
    assert [(event.part, event.blade) for event in rig.seen.of(Trouble)] == [("plan", "blade3")], (
        "planned a little later"
    )


def test_a_full_disk_is_told_and_nothing_is_promised(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(book: LeaseBook, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leasebook, "save", full)
    rig.run([encode(request(Message.REQUEST, BLADE3, selecting(ADDRESS3)))], lambda: bool(rig.seen.of(Trouble)))
    assert rig.sent == []
    assert "No space left on device" in rig.seen.of(Trouble)[0].detail


def test_bad_packets_and_faults_end_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = iter([RuntimeError("a fault")])
    sought = rig.clients.boots.sought

    def faulty(blade: str) -> object:
        for error in lookups:
            raise error
        return sought(blade)

    monkeypatch.setattr(rig.clients.boots, "sought", faulty)
    discover = encode(request(Message.DISCOVER, BLADE3, PXE_BIOS))
    rig.run([b"", os.urandom(300), b"\0" * 9000, discover, discover], lambda: bool(rig.sent))
    assert len(rig.sent) == 1
    details = [event.detail for event in rig.seen.of(Trouble) if event.part == "dhcp"]
    assert len(details) == 4
    assert details[0].startswith("a message that is not right: ") and "(from 127.0.0.1 port " in details[0]
    assert details[-1].startswith(f"DISCOVER of {BLADE3} from 127.0.0.1 port ")
    assert ": RuntimeError: a fault (" in details[-1]
    [begun] = rig.seen.of(BootStarted)
    assert [(event.reply, event.boot) for event in rig.seen.of(Dhcp)] == [("OFFER", begun.boot)]


def test_what_cannot_be_put_into_bytes_or_planned_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path)
    faults: list[dict[str, Any]] = []

    def broken(*_: object) -> Any:
        raise RuntimeError("a fault")

    monkeypatch.setattr(dhcpd, "encode", broken)
    monkeypatch.setattr(rig.clients, "_plan", broken)
    discover = encode(request(Message.DISCOVER, BLADE3, PXE_BIOS))
    rig.run([discover], lambda: len(rig.seen.of(Trouble)) == 2, lambda loop, context: faults.append(context))
    parts = {event.part: event.detail for event in rig.seen.of(Trouble)}
    assert parts["dhcp"].startswith(f"OFFER of {BLADE3} for 255.255.255.255: RuntimeError: a fault")
    assert parts["plan"].startswith("RuntimeError: a fault")
    assert not faults


def test_the_servers_own_question_is_answered_and_told_to_nobody(tmp_path: Path) -> None:
    rig, own = Rig(tmp_path), IPv4Address("127.0.0.1")
    rig.clients.lab = replace(rig.clients.lab, network=replace(rig.clients.lab.network, server=own))
    before = rig.clients.leases

    async def asking() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            server = DhcpServer(sock, rig.clients)
            server.start(loop)
            async with asyncio.timeout(5):
                await listeners._dhcp(own, sock.getsockname()[1])
            server.stop(loop)

    asyncio.run(asking())
    assert rig.clients.leases is before and not rig.seen.events


def test_a_socket_that_is_gone_is_a_fault_of_the_server(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        server = DhcpServer(sock, make_clients(tmp_path, Seen(), make_lab()))
    with pytest.raises(OSError, match="Bad file descriptor"):
        server._readable(sock)


def test_a_reply_that_cannot_be_sent_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    away = IPv4Address("255.255.255.254")  # reserved (RFC 1112): no way leads there
    rig.run([encode(request(Message.INFORM, ciaddr=away))], lambda: bool(rig.seen.of(Trouble)))
    assert rig.seen.of(Trouble)[0].detail.startswith("no reply to 255.255.255.254: ")
