"""Whose address it is: the kernel's table, ARP packets, a proxy's rules, and the router that is none."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from labkit.events import UnknownMachine
from labkit.lab import BootMethod, DhcpMode, Lab
from labkit.netboot import arp
from labkit.netboot.dhcp import Message, Packet
from labkit.netboot.dhcp.decide import decide
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.replies import EVERYWHERE, Peer
from labkit.netboot.router_advertisement import ADVERTISEMENT
from tests.rig.dhcp import (
    ADDRESS,
    ELSEWHERE,
    HTTP_EFI,
    MAC,
    NOW,
    PXE_BIOS,
    PXE_EFI,
    STRANGER,
    bound,
    make_lab,
    only,
    request,
)
from tests.rig.net import BLADE1, BLADE2, Net, wait_until

TABLE = """\
IP address       HW type     Flags       HW address            Mask     Device
10.77.0.11       0x1         0x2         52:54:00:4D:00:01     *        eth1
10.77.0.12       0x1         0x0         00:00:00:00:00:00     *        eth1
10.77.0.13       0x1         0x6         52:54:00:4d:00:03     *        eth1
10.77.0.14       0x1         0x2         52:54:00:4d:00:04     *        eth0
nonsense
"""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.77.0.11", "52:54:00:4d:00:01"),
        ("10.77.0.12", ""),
        ("10.77.0.13", "52:54:00:4d:00:03"),
        ("10.77.0.14", ""),
        ("10.77.0.1", ""),
    ],
    ids=["known", "nobody answered", "written by hand", "on another card", "not there"],
)
def test_the_kernels_table(tmp_path: Path, address: str, expected: str) -> None:
    (tmp_path / "arp").write_text(TABLE)
    assert arp.mac_at(IPv4Address(address), "eth1", tmp_path / "arp") == expected
    assert arp.mac_at(IPv4Address(address), "eth1", tmp_path / "none") == ""


def test_a_probe_byte_for_byte() -> None:
    assert arp.encode_probe(bytes.fromhex("5254004d0001"), ADDRESS) == bytes.fromhex(
        "0001 0800 06 04 0001 5254004d0001 00000000 000000000000 0a4d000b"
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("0001 0800 06 04 0002 5254004d0001 0a4d000b 000000000000 00000000", (ADDRESS, MAC)),
        ("0001 0800 06 04 0001 5254004d0001 0a4d000b 000000000000 0a4d0001 0000", (ADDRESS, MAC)),
        ("0001 0800 06 04 0001 5254004d0001 00000000 000000000000 0a4d000b", None),
        ("0006 0800 06 04 0002 5254004d0001 0a4d000b 000000000000 00000000", None),
        ("0001 0800 06 04 0002", None),
        ("", None),
    ],
    ids=["an answer", "a question, padded", "a probe", "not Ethernet", "cut", "nothing"],
)
def test_who_speaks_in_an_arp_packet(data: str, expected: tuple[IPv4Address, str] | None) -> None:
    assert arp.decode_sender(bytes.fromhex(data)) == expected


# --- the proxy ---


def proxied(method: BootMethod = BootMethod.IPXE) -> Lab:
    lab = make_lab(method)
    return replace(lab, network=replace(lab.network, dhcp=DhcpMode.PROXY))


def proxy(packet: Packet, lab: Lab | None = None, peer: Peer | None = None) -> Decision:
    return decide(packet, lab or proxied(), bound(), NOW, peer=peer)


PEER = (ADDRESS, 4011)


def test_a_proxy_offers_to_everybody_and_answers_whom_it_was_asked_by() -> None:
    offer = only(proxy(request(Message.DISCOVER, options=PXE_EFI)))
    assert (offer.to, offer.port) == (EVERYWHERE, 68)
    relayed = only(proxy(request(Message.DISCOVER, options=PXE_EFI, giaddr=ADDRESS + 1)))
    assert (relayed.to, relayed.port) == (ADDRESS + 1, 67)
    for message in (Message.REQUEST, Message.INFORM):
        ack = only(proxy(request(message, options=PXE_EFI, ciaddr=ADDRESS), peer=PEER))
        assert (ack.to, ack.port, ack.packet.ciaddr) == (ADDRESS, 4011, ADDRESS)


@pytest.mark.parametrize(
    ("packet", "peer"),
    [
        (request(Message.DISCOVER), None),
        (request(Message.DISCOVER, STRANGER, PXE_BIOS), None),
        (request(Message.DISCOVER, STRANGER), None),
        (request(Message.REQUEST, options=PXE_BIOS), None),
        (request(Message.INFORM, options=PXE_BIOS), None),
        (request(Message.DECLINE, options=PXE_BIOS), None),
        (request(Message.RELEASE, options=PXE_BIOS), None),
        (request(Message.DISCOVER, options=PXE_BIOS, giaddr=ELSEWHERE), None),
        (request(Message.DISCOVER, options=PXE_BIOS), PEER),
        (request(Message.REQUEST), PEER),
        (request(Message.REQUEST, STRANGER, PXE_BIOS), PEER),
        (request(Message.DISCOVER, options={**PXE_BIOS, 93: b"\0\x63"}), None),
    ],
    ids=[
        "an OS", "a stranger", "a stranger's OS", "the router's REQUEST", "the router's INFORM", "DECLINE", "RELEASE",
        "a foreign relay", "DISCOVER to 4011", "an OS at 4011", "a stranger at 4011", "no loader for it",
    ],
)  # fmt: skip
def test_what_a_proxy_leaves_to_the_router(packet: Packet, peer: Peer | None) -> None:
    decision = proxy(packet, peer=peer)
    assert (decision.replies, decision.leases, decision.must_save) == ((), bound(), False)


def test_only_strangers_that_want_to_boot_are_told_of() -> None:
    assert proxy(request(Message.DISCOVER, STRANGER)).events == ()
    told = proxy(request(Message.DISCOVER, STRANGER, PXE_BIOS)).events
    assert [event.mac for event in told if isinstance(event, UnknownMachine)] == [STRANGER]


def test_firmware_behind_a_proxy_begins_a_boot() -> None:
    assert proxy(request(Message.DISCOVER, options=PXE_BIOS)).boots == "blade1"
    assert proxy(request(Message.DISCOVER)).boots == ""


def test_a_proxy_without_a_loader_is_silent() -> None:
    """An offer of PXEClient without a file ends in PXE-E55."""
    assert proxy(request(Message.DISCOVER, options=HTTP_EFI), proxied(BootMethod.PXELINUX)).replies == ()


# --- a router that is none ---


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with Net(tmp_path_factory.mktemp("advertise")) as net:
        net.start()
        yield net


@pytest.mark.netns
def test_a_machine_of_another_vlan_uses_no_address_here(net: Net) -> None:
    """Its packets come with a tag (IEEE 802.1Q), and the kernel hands them to who listens for ARP on the interface."""
    space, other = net.plug("b2", BLADE2), IPv4Address("10.77.0.12")
    answer = arp.ARP.pack(1, 0x0800, 6, 4, 2, bytes.fromhex(BLADE2.replace(":", "")), bytes(4), b"\xff" * 6, bytes(4))

    def frame(address: IPv4Address, tag: bytes) -> bytes:
        head = b"\xff" * 6 + bytes.fromhex(BLADE2.replace(":", "")) + tag + b"\x08\x06"
        return head + answer[:14] + address.packed + answer[18:]

    async def probing() -> None:
        found: dict[IPv4Address, str] = {}
        settled = asyncio.Event()

        def told(address: IPv4Address, mac: str) -> None:
            found[address] = mac
            settled.set()

        with (
            net.socket(net.server, socket.SOCK_DGRAM, socket.AF_PACKET) as ours,
            net.socket(space, socket.SOCK_RAW, socket.AF_PACKET) as theirs,
        ):
            ours.bind(("br0", arp.ETH_P_ARP))
            theirs.bind(("eth0", 0))
            prober = arp.Prober(ours)
            prober.start(asyncio.get_running_loop())
            for address in (ADDRESS, other):
                prober.probe(address, partial(told, address))
            theirs.send(frame(ADDRESS, b"\x81\0\0\5"))
            theirs.send(frame(other, b""))
            await asyncio.wait_for(settled.wait(), 10)
            prober.stop()
        assert found == {other: BLADE2}

    asyncio.run(probing())


@pytest.mark.netns
def test_who_looks_for_a_router_hears_that_there_is_none(net: Net) -> None:
    space = net.plug("b1", BLADE1)
    solicitation = struct.pack("!BBHI", 133, 0, 0, 0)
    with net.socket(space, socket.SOCK_RAW, socket.AF_INET6, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.settimeout(0.3)

        def advertised() -> bytes:
            """Nothing until duplicate address detection has let both sides have an address."""
            try:
                sock.sendto(solicitation, ("ff02::2", 0))
                while (heard := sock.recv(1500))[:1] != ADVERTISEMENT[:1]:
                    pass
            except OSError:
                return b""
            return heard

        heard = wait_until(advertised)
    assert heard[:2] + heard[4:] == ADVERTISEMENT[:2] + ADVERTISEMENT[4:]  # the rest is the checksum
    assert "default" not in net.inside(space, "ip", "-6", "route", "show")
