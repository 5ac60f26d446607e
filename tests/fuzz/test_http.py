"""HTTP by its grammar, whole and broken off, over real sockets: each connection ends, each answer is one."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest

from labkit.events import Trouble
from labkit.netboot.http import server
from tests.rig.fuzzing import Fuzz, mutated
from tests.rig.http_server import Rig

MENU = b"menu of blade1\n"
LAST = b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
METHODS = (
    [b"GET"] * 9 + [b"HEAD"] * 3 + [b"POST"] * 3 + [b"PUT", b"OPTIONS", b"CONNECT", b"get", b"", b"G\x1bT", b"X" * 40]
)
TARGETS = (
    [b"/pxelinux.cfg/default"] * 6
    + [b"/labos/vmlinuz"] * 2
    + [
        b"/healthz",
        b"/metrics",
        b"/v1/boot",
        b"/v1/joined",
        b"/v1/space",
        b"/",
        b"*",
        b"/../../etc/passwd",
        b"/%2e%2e/x",
        b"/%zz",
        b"http://10.77.0.1/pxelinux.cfg/default",
        b"//pxelinux.cfg/default",
        b"/x?mac=52%3A54&x=<script>",
        b"/\xc3\xa9",
        b"/\x1b]52;c;eA==\a",
        b"pxelinux.cfg/default",
        b"/" + b"y" * 9000,
        b"/#fragment",
        b"/a b",
        b"",
    ]
)
VERSIONS = (
    [b"HTTP/1.1"] * 9 + [b"HTTP/1.0"] * 3 + [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1", b"", b"FTP/1.1"]
)
FIELDS = {
    b"Range": [
        b"bytes=0-3",
        b"bytes=5-",
        b"bytes=-5",
        b"bytes=0-0,4-9",
        b"bytes=9-2",
        b"bytes=x",
        b"bytes=0-" + b"9" * 40,
        b"lines=1-2",
        b"bytes=" + b"0-1," * 500,
    ],
    b"If-Range": [b'"x"', b"Thu, 01 Jan 1970 00:00:00 GMT"],
    b"If-Modified-Since": [b"Thu, 01 Jan 1970 00:00:00 GMT", b"x"],
    b"Connection": [b"close", b"keep-alive", b"Upgrade", b"x"],
    b"Expect": [b"100-continue", b"x"],
    b"Upgrade": [b"h2c", b"websocket"],
    b"Content-Length": [b"0", b"5", b"-1", b"+5", b"5, 5", b"x", b"9" * 30],
    b"Transfer-Encoding": [b"chunked", b"gzip, chunked", b"x"],
    b"Content-Type": [
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=b",
        b"multipart/form-data",
        b"x",
    ],
    b"Content-Encoding": [b"gzip", b"deflate"],
    b"Accept-Encoding": [b"gzip, peerdist"],
    b"X-Labkit-Ticket": [b"x", b"\xff"],
    b"User-Agent": [b"UefiHttpBoot/1.0", b"iPXE/1.21", b"x\x1b[2J", b"u" * 3000],
    b"Cookie": [b"a=b; " * 50],
    b"": [b"x"],
    b"A B": [b"x"],
    b"X\0": [b"\0"],
    b"Host": [b"other", b""],
}
BODIES = [
    b"",
    b"hello",
    b"a=b&c=%zz",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\n",
    b"fffffffffffffffff\r\n",
    b"5;x=y\r\nhello\r\n0\r\nT: x\r\n\r\n",
    b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n--b--\r\n',
    b"\x1f\x8b\x08\0",
    b"\xff" * 3000,
]
STATUSES = {100, 200, 206, 304, 400, 403, 404, 405, 411, 413, 414, 415, 416, 417, 429, 431, 501, 503, 505}


def request(chance: random.Random) -> bytes:
    """A request as it may be written, most often one that is right."""
    end = chance.choices((b"\r\n", b"\n"), (20, 1))[0]
    usual = (b"GET", chance.choice((b"/pxelinux.cfg/default", b"/labos/vmlinuz", b"/healthz")), b"HTTP/1.1")
    parts = (chance.choice(METHODS), chance.choice(TARGETS), chance.choice(VERSIONS))
    lines = [b" ".join(one if chance.random() < 0.7 else other for one, other in zip(usual, parts, strict=True))]
    if chance.random() < 0.95:
        lines.append(b"Host: lab")
    for _ in range(chance.choices((0, 1, 2, 5, 200), (12, 6, 2, 1, 0.1))[0]):
        name = chance.choice(list(FIELDS))
        lines.append(
            name + chance.choices((b": ", b":", b" : ", b":\t"), (40, 3, 1, 1))[0] + chance.choice(FIELDS[name])
        )
    body = chance.choice(BODIES) if chance.random() < 0.2 else b""
    if body and chance.random() < 0.6:
        lines.append(b"Content-Length: %d" % len(body) if chance.random() < 0.7 else b"Transfer-Encoding: chunked")
    whole = end.join(lines) + end * 2 + body
    return mutated(whole, chance) if chance.random() < 0.2 else whole


async def talk_nonsense(rig: Rig, chance: random.Random) -> str:
    """One connection: requests, in pieces, perhaps broken off; then one that is right and says that it is the last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    data = b"".join(request(chance) for _ in range(chance.choices((1, 2, 5), (6, 2, 1))[0]))
    is_left = chance.random() < 0.15
    whole = data[: chance.randrange(len(data) + 1)] if is_left else data + LAST
    try:
        at = 0
        while at < len(whole) and not writer.transport.is_closing():
            step = chance.choice((1, 7, 100, len(whole)))
            writer.write(whole[at : at + step])
            at += step
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        if is_left:
            return "broken off"
        async with asyncio.timeout(20):
            answers = await reader.read(-1)
    except ConnectionError:  # the server has said what it had to say, and more was on its way
        return "reset"
    finally:
        writer.transport.abort()
    return check(answers)


def check(answers: bytes) -> str:
    """What a connection was answered with: the first status. Each answer's head is printable, and known."""
    if not answers:
        return "no answer"
    head, _, _ = answers.partition(b"\r\n\r\n")
    first, *fields = head.decode("ascii").split("\r\n")
    version, status = first.split(" ")[:2]
    assert version in ("HTTP/1.1", "HTTP/1.0") and int(status) in STATUSES, first
    for field in fields:
        name, colon, value = field.partition(": ")
        assert name.isascii() and colon and value.isprintable() and value.strip(), field
    assert b"\x1b" not in answers.split(b"\r\n\r\n")[0]
    return status


def test_http(tmp_path: Path, fuzz: Fuzz, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(server, "IDLE_S", 1.0)  # what waits for the rest of a request waits no minute for it
    rig = Rig(tmp_path)
    rig.put_image(bytes(range(256)) * 256)

    async def talk(client: aiohttp.ClientSession) -> None:
        for chance in fuzz.rounds():
            for kind in await asyncio.gather(*(talk_nonsense(rig, chance) for _ in range(20))):
                fuzz.count(kind)
            async with client.get(f"{rig.root}/pxelinux.cfg/default") as answer:
                assert (answer.status, await answer.read()) == (200, MENU)
            for trouble in rig.seen.of(Trouble):
                assert trouble.detail.isprintable() and len(trouble.detail) < 200
                assert "sent what is no HTTP: " in trouble.detail or trouble.detail.startswith("it asks so much")
            assert caplog.records == []
            rig.seen.events.clear()

    rig.run(talk)
