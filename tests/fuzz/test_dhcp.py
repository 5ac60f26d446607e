"""DHCP messages by their grammar and by mutation: nothing breaks, and nobody is answered who must not be."""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from labkit.events import Trouble
from labkit.lab import DhcpMode, Lab
from labkit.netboot.dhcp import BOOTREPLY, COOKIE, NOWHERE, Message, Option, decode, encode
from labkit.netboot.dhcp.replies import Reply
from labkit.netboot.dhcp.server import DhcpServer
from tests.rig.dhcp import ADDRESS, MAC, POOL, SECOND_CARD, SERVER, STRANGER, Seen, make_clients, make_lab
from tests.rig.fuzzing import Fuzz, mutated
from tests.rig.seeds import DHCP_SEEDS

PLAIN, POOLED = make_lab(), make_lab(pool=POOL)
PROXY = replace(PLAIN, network=replace(PLAIN.network, dhcp=DhcpMode.PROXY))
LABS = {"server": PLAIN, "pool": POOLED, "proxy": PROXY}
PACKETS = 150
MACS = [bytes.fromhex(mac.replace(":", "")) for mac in (MAC, SECOND_CARD, STRANGER)]
ADDRESSES = [
    NOWHERE,
    ADDRESS,
    SERVER,
    POOL[0],
    IPv4Address("10.77.0.12"),
    IPv4Address("192.168.1.9"),
    IPv4Address("255.255.255.255"),
    IPv4Address("127.0.0.1"),
]
CLASSES = [
    b"PXEClient:Arch:00000:UNDI:002001",
    b"PXEClient:Arch:00007:UNDI:003000",
    b"HTTPClient:Arch:00016:UNDI:003001",
    b"PXEClient",
    b"PXEClient:Arch:zzzzz",
    b"udhcp 1.35.0",
    b"",
    b"\xff" * 200,
]


def message(chance: random.Random) -> bytes:
    """One message, most often whole: each field from what is likely, and now and then from anything."""
    op = chance.choices((1, 2, chance.randrange(256)), (20, 1, 1))[0]
    htype, hlen = chance.choices(((1, 6), (6, 6), (32, 0), (1, 16), (1, 255)), (20, 1, 1, 1, 1))[0]
    head = bytes((op, htype, hlen, chance.choice((0, 0, 0, 1, 16, 255)))) + chance.randbytes(4)
    head += chance.choice((0, 4, 65535)).to_bytes(2, "big") + chance.choice((0, 0x8000, 0xFFFF)).to_bytes(2, "big")
    head += b"".join(some_address(chance, 6) for _ in range(4))
    head += chance.choice(MACS).ljust(16, chance.choice((b"\0", b"\0", b"\1")))
    within = [options(chance) if chance.random() < 0.1 else b"" for _ in range(2)]  # overloaded, told so or not
    head += (within[0] or some_name(chance, 64))[:64].ljust(64, b"\0")
    head += (within[1] or some_name(chance, 128))[:128].ljust(128, b"\0")
    cookie = chance.choices((COOKIE, b"", bytes(4), COOKIE[::-1]), (30, 1, 1, 1))[0]
    tail = options(chance) + chance.choices((b"\xff", b"", b"\xff" + bytes(60), b"\xff\xff"), (10, 2, 4, 1))[0]
    return head + cookie + tail


def options(chance: random.Random) -> bytes:
    """Options in any order, some twice, in parts, too long or too short for what they are."""
    made: list[bytes] = []
    if chance.random() < 0.95:
        made.append(
            option(chance, 53, bytes((chance.choices((1, 3, 4, 5, 7, 8, 0, 9, 255), (9, 9, 2, 1, 1, 2, 1, 1, 1))[0],)))
        )
    for _ in range(chance.randrange(12)):
        made.append(any_option(chance))
    chance.shuffle(made)
    return b"".join(made)


def any_option(chance: random.Random) -> bytes:
    match chance.randrange(14):
        case 0:
            return option(chance, 50, some_address(chance, 1))
        case 1:
            return option(chance, 54, chance.choice((SERVER.packed, SERVER.packed, chance.choice(ADDRESSES).packed)))
        case 2:
            return option(chance, 60, chance.choice(CLASSES))
        case 3:
            arches = chance.choice(((0,), (6,), (7,), (9,), (10,), (11,), (15,), (16,), (18,), (25,), (7, 0), (65535,)))
            return option(chance, 93, b"".join(arch.to_bytes(2, "big") for arch in arches))
        case 4:
            uuid = chance.choice(
                (b"\0" + bytes(16), b"\0" + b"\xff" * 16, b"\0" + chance.randbytes(16), b"\0" * 5, b"\1")
            )
            return option(chance, 97, uuid)
        case 5:
            return option(
                chance, 61, chance.choice((b"\1" + MACS[0], b"\1" + MACS[2], b"\xff" + chance.randbytes(18), b""))
            )
        case 6:
            return option(chance, 55, chance.randbytes(chance.choice((0, 4, 24, 255))))
        case 7:
            return option(chance, 57, chance.choice((0, 1, 300, 548, 576, 1500, 65535)).to_bytes(2, "big"))
        case 8:
            return option(chance, 52, bytes((chance.choice((0, 1, 2, 3, 4)),)))
        case 9:
            inner = b"".join(
                option(chance, chance.randrange(1, 13), chance.randbytes(chance.randrange(9))) for _ in range(3)
            )
            return option(chance, 82, inner)
        case 10:
            return option(
                chance, 12, chance.choice((b"blade1", b"\x1b]52;c;eA==\a", "ü\u202eb".encode(), b"<script>", b"${x}\n"))
            )
        case 11:
            return option(chance, 77, chance.choice((b"iPXE", b"\4iPXE", b"gPXE", b"#!ipxe\nshell", b"")))
        case 12:
            return option(chance, 175, option(chance, chance.choice((1, 16, 19, 22, 36, 235)), b"\1"))
        case _:
            return option(chance, chance.randrange(256), chance.randbytes(chance.choice((0, 1, 4, 30))))


def option(chance: random.Random, code: int, value: bytes) -> bytes:
    value = value[:255]
    length = chance.choices((len(value), chance.randrange(256), 0), (40, 1, 1))[0]
    whole = bytes((code, length)) + value
    if len(value) > 1 and chance.random() < 0.05:  # in two parts (RFC 3396)
        at = chance.randrange(1, len(value))
        whole = bytes((code, at)) + value[:at] + bytes((code, len(value) - at)) + value[at:]
    return whole * chance.choices((1, 2), (30, 1))[0] + bytes(chance.choices((0, 1, 7), (20, 1, 1))[0])


def some_address(chance: random.Random, usual: int) -> bytes:
    known = chance.choices(ADDRESSES, (usual * 3, *[1] * (len(ADDRESSES) - 1)))[0].packed
    return known if chance.random() < 0.95 else chance.randbytes(4)


def some_name(chance: random.Random, longest: int) -> bytes:
    return chance.choices((b"", b"pxelinux.0", b"/" * longest, chance.randbytes(longest)), (9, 2, 1, 1))[0]


@pytest.mark.parametrize("kind", LABS)
def test_dhcp(tmp_path: Path, kind: str, fuzz: Fuzz) -> None:
    lab, seen, answered, tried = LABS[kind], Seen(), 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for chance in fuzz.rounds():
            server = DhcpServer(sock, make_clients(tmp_path, seen, lab))
            for number in range(PACKETS):
                whole = message(chance) if chance.random() < 0.5 else chance.choice(DHCP_SEEDS)
                data = mutated(whole, chance) if chance.random() < 0.5 else whole
                replies = server._answer(data, (ADDRESS, 4011), is_boot=number % 3 == 0)
                for reply in replies:
                    assert_may_be_answered(data, reply, lab)
                fuzz.count("answered" if replies else "not answered")
                answered += bool(replies)
            tried += PACKETS
            faults = [event.detail for event in seen.of(Trouble) if event.part == "dhcp"]
            known = ("a message that is not right: ", "blade1 (", " declined ")
            assert not [fault for fault in faults if not any(words in fault for words in known)]
            assert all(fault.isprintable() for fault in faults)
            seen.events.clear()
    assert answered > tried // 50  # or the faults are so crude that nothing but the first check is tried


def assert_may_be_answered(data: bytes, reply: Reply, lab: Lab) -> None:
    """Told from the bytes alone, not by the code that decided."""
    mac = data[28:34].hex(":")
    assert data[:3] == b"\1\1\6" and data[236:240] == COOKIE
    assert lab.network.pool is not None or mac in {mac for blade in lab.blades for mac in blade.macs}
    again = decode(encode(reply.packet))
    assert (again.op, again.xid, again.mac) == (BOOTREPLY, int.from_bytes(data[4:8]), mac)
    assert again.message in (Message.OFFER, Message.ACK, Message.NAK)
    if lab.network.is_proxy:
        assert again.yiaddr == NOWHERE
        assert not {Option.LEASE_TIME, Option.SUBNET_MASK, Option.ROUTER} & set(again.options)
    else:
        pool = [POOL[0] + step for step in range(3)] if lab.network.pool else []
        assert again.yiaddr in (NOWHERE, *(blade.address for blade in lab.blades), *pool)
    if again.message is Message.NAK:
        assert (again.yiaddr, again.siaddr) == (NOWHERE, NOWHERE)
    assert isinstance(reply.to, IPv4Address)
