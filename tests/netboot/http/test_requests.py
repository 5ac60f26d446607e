"""Requests as clients write them, well or badly, byte by byte over real sockets."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from labkit.events import Transfer, Trouble
from labkit.netboot.http import server
from tests.rig.http_server import Rig

HOST = b"Host: lab\r\n"
MENU_11 = b"GET /pxelinux.cfg/default HTTP/1.1\r\n" + HOST
MENU = b"menu of blade1\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/", "/..%2f..%2fetc/passwd", "/%2e%2e/etc/passwd", "/labos/%00vmlinuz", "/labos%5c..%5c..%5cx",
        "/labos/vmlinuz/..", "//etc/passwd", "/%ff", "/" + "x" * 3000,
    ],
)  # fmt: skip
def test_anything_else_is_missing(rig: Rig, path: str) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        assert await rig.raw(f"GET {path} HTTP/1.0\r\n\r\n".encode()) == 404

    rig.run(talk)
    [event] = rig.seen.of(Transfer)
    assert (event.state, event.protocol, event.blade) == ("missing", "http", "blade1")


@pytest.mark.parametrize(
    ("asked", "statuses", "bodies"),
    [
        (b"GET http://10.77.0.1:80/pxelinux.cfg/default HTTP/1.1\r\n" + HOST + b"\r\n", [200], MENU),
        (b"GET //pxelinux.cfg//default HTTP/1.1\r\n" + HOST + b"\r\n", [200], MENU),
        (b"GET /./pxelinux.cfg%2Fdefault?mac=52%3A54 HTTP/1.1\r\n" + HOST + b"\r\n", [200], MENU),
        (b"GET /pxelinux.cfg/default HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", [200], MENU),
        (b"\r\n" + MENU_11 + b"\r\n", [200], MENU),
        (MENU_11 + b"Expect: 100-continue\r\n\r\n", [100, 200], MENU),
        (b"GET /pxelinux.cfg/default HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", [200], MENU),
        (MENU_11 + b"Expect: 200-maybe\r\n\r\n", [417], b""),
        (MENU_11 + b"Expect: \xff\r\n\r\n", [200], MENU),
        ((MENU_11 + b"\r\n") * 3, [200] * 3, MENU * 3),
        (MENU_11 + b"Content-Length: 5\r\n\r\nhello" + MENU_11 + b"\r\n", [200] * 2, MENU * 2),
        (MENU_11 + CHUNKED + MENU_11 + b"\r\n", [200] * 2, MENU * 2),
        (MENU_11 + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n", [200], MENU),
        (MENU_11 + b"Accept-Encoding: gzip, peerdist\r\nX-P2P-PeerDist: Version=1.1\r\n\r\n", [200], MENU),
        (b"HEAD /pxelinux.cfg/default HTTP/1.1\r\n" + HOST + b"Range: bytes=0-3\r\n\r\n", [200], b""),
    ],
    ids=[
        "absolute", "double slashes", "dots, escapes and a query", "1.0 kept open", "an empty line before", "continue",
        "continue, 1.0", "another expectation", "one that is no text", "three at once",
        "a body in GET", "a chunked body in GET", "upgrade",
        "encodings", "HEAD of a range",
    ],
)  # fmt: skip
def test_requests_as_clients_write_them(rig: Rig, asked: bytes, statuses: list[int], bodies: bytes) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(asked)
        got = b""
        for status in statuses:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *fields = head.strip().split("\r\n")
            assert int(first.split()[1]) == status
            length = {name.lower(): value for name, _, value in (line.partition(":") for line in fields)}
            assert all(value.strip() for value in length.values())  # an empty one has stopped firmware
            if status == 200 and not asked.startswith(b"HEAD"):
                got += await reader.readexactly(int(length["content-length"]))
        assert got == bodies
        writer.close()

    rig.run(talk)


@pytest.mark.parametrize(
    "asked",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n",
        b"GET pxelinux.cfg/default HTTP/1.1\r\n" + HOST + b"\r\n",
        MENU_11 + b"X: a\r\n b\r\n\r\n",
        MENU_11 + b"X : a\r\n\r\n",
        MENU_11 + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        MENU_11 + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        MENU_11 + b"".join(b"X%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        MENU_11 + b"X: " + b"y" * 100_000,
        b"GET /" + b"y" * 100_000,
    ],
    ids=[
        "no host", "two hosts", "no slash", "a folded header", "a space before the colon", "two lengths of a body",
        "two lengths", "a flood of headers", "an endless header", "an endless path",
    ],
)  # fmt: skip
def test_what_is_no_http_is_an_event_and_no_word_in_the_log(
    rig: Rig, asked: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        assert await rig.raw(asked) == 400

    rig.run(talk)
    [trouble] = rig.seen.of(Trouble)
    assert trouble.part == "http" and trouble.detail.startswith("127.0.0.1 sent what is no HTTP: ")
    assert len(trouble.detail) < 150 and trouble.detail.isprintable()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"GET /pxelinux.cfg/default HTTP/2.0", b"HTTP/1.1 505"),
        (b"GET /nothing HTTP/0.9", b"HTTP/1.1 505"),
        (b"GET /nothing HTTP/0.9\r\nExpect: 100-continue", b"HTTP/1.1 505"),
        (b"CONNECT /pxelinux.cfg/default HTTP/1.1", b"HTTP/1.1 404"),
        (b"CONNECT * HTTP/1.1", b"HTTP/1.1 404"),
    ],
)
def test_what_this_server_is_not_is_answered_in_its_own_version(rig: Rig, line: bytes, answer: bytes) -> None:
    """aiohttp repeats the client's version, and leaves a CONNECT without an answer or an end."""

    async def talk(client: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        try:
            writer.write(line + b"\r\n" + HOST + b"Connection: close\r\n\r\n")
            async with asyncio.timeout(10):
                assert (await reader.read(-1)).startswith(answer)
        finally:
            writer.close()
            await writer.wait_closed()

    rig.run(talk)
    assert rig.seen.of(Trouble) == []


def test_a_body_that_cannot_be_unpacked_is_an_event_and_no_word_in_the_log(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        assert await rig.raw(MENU_11 + b"Content-Encoding: deflate\r\nContent-Length: 5\r\n\r\nhello") == 200
        async with asyncio.timeout(10):
            while not rig.seen.of(Trouble):
                await asyncio.sleep(0.01)

    rig.run(talk)
    [trouble] = rig.seen.of(Trouble)
    assert "sent what is no HTTP: " in trouble.detail and trouble.detail.isprintable()
    assert caplog.records == []


@pytest.mark.parametrize(
    "begun", [b"", b"GE", MENU_11, MENU_11 + b"\r\n" + MENU_11], ids=["silent", "two letters", "a head", "the second"]
)
def test_a_connection_without_a_whole_request_ends(rig: Rig, begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.2)

    async def talk(client: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(begun)

        async def drip() -> None:
            while True:
                writer.write(b"X" if begun else b"")
                await asyncio.sleep(0.02)

        dripping = asyncio.ensure_future(drip())
        async with asyncio.timeout(10):
            try:
                while await reader.read(1000):
                    pass
            except ConnectionResetError:
                pass  # a drop came too late
        dripping.cancel()
        writer.close()

    rig.run(talk)


def test_what_is_no_http_is_refused(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        for line in (b"GET /\xff\xfe HTTP/1.0\r\n\r\n", b"\0\1pxelinux.0\0octet\0\r\n\r\n", b"GET\r\n\r\n"):
            assert await rig.raw(line) == 400
        assert await rig.raw(b"GET /healthz HTTP/1.0\r\n\r\n") == 200

    rig.run(talk)
