"""TFTP against the server itself: requests by their grammar, transfers that go wrong half-way, and noise."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from labkit.events import Trouble
from labkit.netboot import tftp
from labkit.netboot.tftp import Data
from tests.rig.fuzzing import Fuzz, mutated
from tests.rig.seeds import TFTP_SEEDS
from tests.rig.tftp_server import MENU, Client, Rig

PACKETS = 100
PATHS = [
    b"menu",
    b"image",
    b"multiple",
    b"gone",
    b"folder",
    b"unbuilt",
    b"nothing",
    b"/menu",
    b"../menu",
    b"\\menu",
    b"",
    b"x" * 500,
    b"m\xc3\xa9nu",
    b"\xff\xfe",
    b"menu%3A",
    b"\x1b[2Jmenu",
    b"//menu",
    b"./menu",
]
MODES = [b"octet"] * 8 + [b"OCTET", b"netascii", b"NetASCII", b"mail", b"", b"binary"]
OPTIONS = {
    b"blksize": [b"8", b"512", b"1428", b"1468", b"65464", b"7", b"0", b"65465", b"-1", b"x", b"", b"1e3", b"9" * 40],
    b"tsize": [b"0", b"0", b"1", b"-1", b"x", b"9" * 40],
    b"timeout": [b"1", b"255", b"0", b"256", b"x"],
    b"windowsize": [b"1", b"4", b"64", b"65535", b"0", b"65536", b"x"],
    b"multicast": [b""],
    b"rollover": [b"0", b"1"],
    b"utimeout": [b"1"],
    b"": [b""],
    b"x" * 60: [b"y" * 300],
}


def request(chance: random.Random) -> bytes:
    """A read or write request, most often one that is right."""
    opcode = chance.choices((1, 2), (12, 1))[0]
    parts = [chance.choices(PATHS, (12, 8, *[1] * (len(PATHS) - 2)))[0], chance.choice(MODES)]
    for _ in range(chance.choices((0, 1, 2, 3, 9), (4, 4, 4, 2, 1))[0]):
        name = chance.choice(list(OPTIONS))
        parts += [name.upper() if chance.random() < 0.2 else name, chance.choice(OPTIONS[name])]
    whole = opcode.to_bytes(2, "big") + b"".join(part + b"\0" for part in parts)
    return whole if chance.random() < 0.9 else whole[: chance.randrange(len(whole) + 1)]


def answer(chance: random.Random, heard: tftp.Packet) -> bytes:
    """What a client says in a transfer: most often the next acknowledgement, else one from elsewhere, or an end."""
    block = heard.block if isinstance(heard, Data) else 0
    block = chance.choices((block, block + 1, block - 1, 0, chance.randrange(65536)), (20, 1, 1, 1, 1))[0] & 0xFFFF
    match chance.choices(range(5), (20, 1, 1, 1, 1))[0]:
        case 0:
            return b"\0\4" + block.to_bytes(2, "big")
        case 1:
            return (
                b"\0\5\0"
                + bytes((chance.randrange(10),))
                + chance.choice((b"stop\0", b"\x1b]0;x\a\0", b"", b"x" * 600))
            )
        case 2:
            return b"\0\3" + block.to_bytes(2, "big") + b"data from a reader"
        case 3:
            return request(chance)
        case _:
            return mutated(b"\0\4" + block.to_bytes(2, "big"), chance)


def transfer(chance: random.Random, client: Client) -> str:
    """One transfer, a few packets far, then left to itself as a machine that was switched off leaves it."""
    client.sock.sendto(request(chance), client.server)
    client.sock.settimeout(0.05)
    kind = "silent"
    for _ in range(chance.choice((1, 4, 40))):
        try:
            heard = client.hear()
        except TimeoutError:
            break
        kind = type(heard).__name__.lower()
        if client.peer is None or isinstance(heard, tftp.Error):
            break
        client.sock.sendto(answer(chance, heard), client.peer)
    if client.peer is not None:
        client.sock.sendto(b"\0\5\0\0gone\0", client.peer)  # else half an hour's worth of them wait for their time
    return kind


def test_tftp(tmp_path: Path, fuzz: Fuzz) -> None:
    rig = Rig(tmp_path)
    errors = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # nothing may ever be sent where an error came from
    errors.bind(("127.0.0.1", 0))
    errors.setblocking(False)
    try:
        for chance in fuzz.rounds():
            for _ in range(4):
                with rig.client() as client:
                    fuzz.count(transfer(chance, client))
            with rig.client() as client:
                for _ in range(PACKETS):
                    seed = request(chance) if chance.random() < 0.5 else chance.choice(TFTP_SEEDS)
                    data = mutated(seed, chance)
                    (errors if data[:2] == b"\0\5" else client.sock).sendto(data, rig.address)
                with rig.client() as whole:  # when this one is answered, all before it have been heard
                    assert whole.get("menu") == MENU
                fuzz.count("noise", PACKETS)
                client.sock.setblocking(False)
                try:
                    while True:
                        assert isinstance(tftp.decode(client.sock.recv(70000)), tftp.Error | tftp.Oack | Data)
                except BlockingIOError:
                    pass
            with pytest.raises(BlockingIOError):
                errors.recv(70000)
            assert not rig.seen.of(Trouble)
            rig.seen.events.clear()
    finally:
        errors.close()
        rig.close()
