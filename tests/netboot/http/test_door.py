"""Small files over connections that stay open: answered at once while a request is plain, by aiohttp from then on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from labkit.events import Transfer, Trouble
from labkit.netboot.http import door, server
from tests.rig.http_server import Rig

SMALL = b"small" * 100
PLAIN = b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\n\r\n"


class Line:
    """One connection, over which raw requests go one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
        for piece in pieces:
            self.writer.write(piece)
            await asyncio.sleep(0)
        return await self.answer(with_body=not pieces[0].startswith(b"HEAD"))

    async def answer(self, *, with_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        length = int(headers["content-length"]) if with_body else 0
        return int(head[0].split()[1]), headers, await self._reader.readexactly(length)

    async def ended(self) -> bool:
        return await self._reader.read() == b""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path)
    made.put_image(SMALL)
    return made


def talk(rig: Rig, requests: list[tuple[bytes, ...]]) -> list[tuple[int, dict[str, str], bytes]]:
    """The answers to requests over one connection, after the image was asked for once over another."""

    async def talking(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
            assert await answer.read() == rig.image.read_bytes()
        line = Line(*await asyncio.open_connection("127.0.0.1", rig.port))
        for pieces in requests:
            answers.append(await line.ask(*pieces))
        line.writer.close()

    answers: list[tuple[int, dict[str, str], bytes]] = []
    rig.run(talking)
    return answers


def shown(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in ("server", "date")}


@pytest.mark.parametrize("path", [b"/labos/vmlinuz", b"//labos/./vmlinuz", b"/pxelinux.cfg/default"])
def test_what_is_answered_at_once_says_what_aiohttp_says(rig: Rig, path: bytes) -> None:
    plain = PLAIN.replace(b"/labos/vmlinuz", path)
    other = plain.replace(b"\r\n\r\n", b"\r\nX-Other: 1\r\n\r\n")
    quick, again, usual = talk(rig, [(plain,), (plain,), (other,)])
    assert "server" not in quick[1] and "server" not in again[1] and "server" in usual[1]
    assert (quick[0], shown(quick[1]), quick[2]) == (usual[0], shown(usual[1]), usual[2])
    ours = [vars(event) | {"time": 0, "seconds": 0} for event in rig.seen.of(Transfer)[2:]]
    assert ours[:2] == ours[2:4] == ours[4:]


def test_a_connection_is_handed_on_whatever_comes(rig: Rig) -> None:
    part = PLAIN.replace(b"\r\n\r\n", b"\r\nRange: bytes=0-4\r\n\r\n")
    quick, ranged, head, missing, last = talk(
        rig, [(PLAIN,), (part,), (PLAIN.replace(b"GET", b"HEAD"),), (PLAIN.replace(b"vm", b"no"),), (PLAIN,)]
    )
    assert [answer[0] for answer in (quick, ranged, head, missing, last)] == [200, 206, 200, 404, 200]
    assert (quick[2], ranged[2], head[1]["content-length"], last[2]) == (SMALL, SMALL[:5], str(len(SMALL)), SMALL)


def test_a_request_in_pieces_and_two_in_one_are_answered(rig: Rig) -> None:
    async def talking(client: aiohttp.ClientSession) -> None:
        for pieces in ((PLAIN[:9], PLAIN[9:] + PLAIN), (PLAIN + PLAIN,)):
            line = Line(*await asyncio.open_connection("127.0.0.1", rig.port))
            assert (await line.ask(*pieces))[2] == (await line.answer())[2] == SMALL
            line.writer.close()

    rig.run(talking)


@pytest.mark.parametrize(
    "said",
    [
        b"GET /labos/vmlinuz HTTP/1.0\r\nHost: lab\r\n\r\n",
        b"get /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\nHost: other\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\nContent-Length: 4\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\nExpect: 100-continue\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\n\n",
        b"GET /labos/%76mlinuz HTTP/1.1\r\nHost: lab\r\n\r\n",
        b"GET /labos/vmlinuz?x HTTP/1.1\r\nHost: lab\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\nAccept: a\r\n b\r\n\r\n",
        b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\nAccept: \x00\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_none_of_its_business(said: bytes) -> None:
    assert door.PLAIN.fullmatch(said) is None


@pytest.mark.parametrize(
    "said",
    [
        b"GET /boot.ipxe HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: iPXE/1.21.1\r\nHost: 10.77.0.1\r\n\r\n",
        b"GET /boot.ipxe HTTP/1.1\r\nHost: 10.77.0.1\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
        b"GET /boot.ipxe HTTP/1.1\r\nHost: 10.77.0.1\r\nUser-Agent: Wget/1.21\r\nAccept: */*\r\n"
        b"Accept-Encoding: identity\r\nConnection: Keep-Alive\r\n\r\n",
    ],
)
def test_what_loaders_and_tools_ask_is_plain(said: bytes) -> None:
    assert door.PLAIN.fullmatch(said) is not None


def test_an_image_that_has_changed_is_read_anew(rig: Rig) -> None:
    async def talking(client: aiohttp.ClientSession) -> None:
        for content in (SMALL, b"another", b"a third"):
            rig.put_image(content)
            for _ in range(2):
                async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
                    assert await answer.read() == content
        rig.image.unlink()
        async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
            assert answer.status == 404

    rig.run(talking)


def test_a_fault_is_told_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(address: str, path: str) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(rig.files, "lookup", lookup)

    async def talking(client: aiohttp.ClientSession) -> None:
        line = Line(*await asyncio.open_connection("127.0.0.1", rig.port))
        assert (await line.ask(PLAIN))[0] == 500
        line.writer.close()

    rig.run(talking)
    assert len(rig.seen.of(Trouble)) == 1


def test_who_is_silent_is_hung_up_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.02)

    async def talking(client: aiohttp.ClientSession) -> None:
        for first in (b"", PLAIN.replace(b"labos/vmlinuz", b"pxelinux.cfg/default")):
            line = Line(*await asyncio.open_connection("127.0.0.1", rig.port))
            if first:
                await line.ask(first)
            assert await line.ended()
            line.writer.close()

    rig.run(talking)
