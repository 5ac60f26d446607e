"""Mutated packets of real firmware by the ten thousand: nothing breaks, and nobody is answered who must not be."""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from labkit.events import Trouble
from labkit.lab import DhcpMode, Lab
from labkit.netboot import tftp
from labkit.netboot.dhcp import BOOTREPLY, COOKIE, NOWHERE, Message, Option, decode, encode
from labkit.netboot.dhcp.replies import Reply
from labkit.netboot.dhcp.server import DhcpServer
from labkit.netboot.tftp import Data
from tests.rig.dhcp import ADDRESS, POOL, Seen, make_clients, make_lab
from tests.rig.seeds import DHCP_SEEDS, TFTP_SEEDS
from tests.rig.tftp_server import MENU, Rig

FEW, MANY = 6_000, 100_000
PLAIN, POOLED = make_lab(), make_lab(pool=POOL)
PROXY = replace(PLAIN, network=replace(PLAIN.network, dhcp=DhcpMode.PROXY))


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A packet with one to five faults: bits, numbers at their ends, parts that are missing, doubled or elsewhere."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(6):
            case 0:
                data[at:to] = chance.randbytes(to - at)
            case 1:
                data[at:to] = bytes((chance.choice((0, 1, 127, 128, 254, 255)),)) * (to - at)
            case 2:
                del data[at:to]
            case 3:
                data[at:at] = data[at:to]
            case 4:
                del data[at:]
            case 5:
                part = data[at:to]
                del data[at:to]
                here = chance.randrange(len(data) + 1)
                data[here:here] = part
    return bytes(data)


@pytest.mark.parametrize("lab", [PLAIN, POOLED, PROXY], ids=["server", "pool", "proxy"])
@pytest.mark.parametrize("count", [pytest.param(FEW // 3), pytest.param(MANY // 3, marks=pytest.mark.soak)])
def test_mutated_dhcp(tmp_path: Path, lab: Lab, count: int) -> None:
    seen, chance = Seen(), random.Random(count)
    answered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        server = DhcpServer(sock, make_clients(tmp_path, seen, lab))
        for number in range(count):
            data = mutated(DHCP_SEEDS[number % len(DHCP_SEEDS)], chance)
            for reply in server._answer(data, (ADDRESS, 4011), is_boot=number % 3 == 0):
                answered += 1
                assert_may_be_answered(data, reply, lab)
    faults = [event.detail for event in seen.of(Trouble) if event.part == "dhcp"]
    assert not [fault for fault in faults if not fault.startswith(("a message that is not right: ", "blade1 ("))]
    assert answered > count // 50  # or the faults are so crude that nothing but the first check is tried


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


@pytest.mark.parametrize("count", [pytest.param(FEW), pytest.param(MANY, marks=pytest.mark.soak)])
def test_mutated_tftp(tmp_path: Path, count: int) -> None:
    """Against the server itself. Errors come from a socket of their own, since nothing may ever be sent there."""
    rig, chance = Rig(tmp_path), random.Random(count)
    errors = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    errors.bind(("127.0.0.1", 0))
    errors.setblocking(False)
    try:
        for at in range(0, count, 200):
            with rig.client() as client:
                for number in range(200):
                    data = mutated(TFTP_SEEDS[number % len(TFTP_SEEDS)], chance)
                    (errors if data[:2] == b"\0\5" else client.sock).sendto(data, rig.address)
                replies = []
                with rig.client() as whole:  # when this one is answered, all before it have been heard
                    assert whole.get("menu") == MENU, f"after packet {at}"
                client.sock.setblocking(False)
                try:
                    while True:
                        replies.append(tftp.decode(client.sock.recv(70000)))
                except BlockingIOError:
                    pass
                assert all(isinstance(reply, tftp.Error | tftp.Oack | Data) for reply in replies)
            with pytest.raises(BlockingIOError):
                errors.recv(70000)
        assert not rig.seen.of(Trouble)
    finally:
        errors.close()
        rig.close()
