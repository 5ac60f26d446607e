"""The HTTP server over real sockets, with aiohttp's client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from labkit.events import Transfer, Trouble
from labkit.netboot import metrics
from labkit.netboot.http import server
from labkit.netboot.http.phone_home import HEADER
from labkit.netboot.http.queue import Queue
from tests.rig.http_server import IMAGE, Rig


def test_files_of_the_boot(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
            assert (answer.status, await answer.read()) == (200, IMAGE)
            assert answer.headers["Content-Type"] == "application/octet-stream"
        async with client.get(f"{rig.root}/pxelinux.cfg/default") as answer:
            assert await answer.read() == b"menu of blade1\n"
        async with client.head(f"{rig.root}/labos/vmlinuz") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(IMAGE)))
        async with client.head(f"{rig.root}/pxelinux.cfg/default") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, "15")

    rig.run(talk)
    assert rig.states() == [
        ("labos/vmlinuz", "started"),
        ("labos/vmlinuz", "done"),
        ("pxelinux.cfg/default", "started"),
        ("pxelinux.cfg/default", "done"),
    ]
    done = rig.seen.of(Transfer)[1]
    assert (done.sent_b, done.size_b, done.blade, done.boot) == (len(IMAGE), len(IMAGE), "blade1", rig.boot.id)
    assert done.seconds > 0


@pytest.mark.parametrize("tls", [False, True])
def test_a_long_transfer_is_told_of(tmp_path: Path, tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOVING_EVERY_S", 0.0)
    rig = Rig(tmp_path, tls=tls)

    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
            assert await answer.read() == IMAGE

    rig.run(talk)
    told = [(event.state, event.sent_b) for event in rig.seen.of(Transfer)]
    moved = [("moving", sent_b) for sent_b in (4 << 20, 8 << 20, len(IMAGE))]
    assert told == [("started", 0), *moved, ("done", len(IMAGE))]
    assert "moving" not in metrics.render(rig.counters.totals(), {}), "it is one transfer"


@pytest.mark.parametrize(
    ("path", "wanted", "status", "body", "shown"),
    [
        ("labos/vmlinuz", "bytes=256-259", 206, b"\0\1\2\3", f"bytes 256-259/{len(IMAGE)}"),
        ("labos/vmlinuz", "bytes=-2", 206, b"\xfe\xff", f"bytes {len(IMAGE) - 2}-{len(IMAGE) - 1}/{len(IMAGE)}"),
        ("pxelinux.cfg/default", "bytes=0-3", 206, b"menu", "bytes 0-3/15"),
        ("pxelinux.cfg/default", "bytes=8-", 206, b"blade1\n", "bytes 8-14/15"),
        ("pxelinux.cfg/default", "bytes=-7", 206, b"blade1\n", "bytes 8-14/15"),
        ("pxelinux.cfg/default", "bytes=99-", 416, b"", "bytes */15"),
        ("labos/vmlinuz", "bytes=99999999-", 416, b"", f"bytes */{len(IMAGE)}"),
        ("pxelinux.cfg/default", "lines=1-2", 200, b"menu of blade1\n", None),
    ],
)
def test_ranges(rig: Rig, path: str, wanted: str, status: int, body: bytes, shown: str) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/{path}", headers={"Range": wanted}) as answer:
            assert answer.status == status
            assert status == 416 or await answer.read() == body
            assert answer.headers.get("Content-Range") == shown

    rig.run(talk)


def test_a_range_of_an_image_is_done_with_its_own_length(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/labos/vmlinuz", headers={"Range": "bytes=0-9"}) as answer:
            await answer.read()

    rig.run(talk)
    assert rig.seen.of(Transfer)[-1].sent_b == 10


def test_an_image_that_is_gone_is_missing(rig: Rig) -> None:
    rig.image.unlink()

    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
            assert answer.status == 404

    rig.run(talk)
    assert rig.seen.of(Transfer)[0].reason == "the image labos/vmlinuz is not there"


def test_a_connection_is_kept_open(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Large and small files, one after the other; a second start of an answer that is sent was a fault once."""

    async def talk(client: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        for path, content in (("labos/vmlinuz", IMAGE), ("pxelinux.cfg/default", b"menu of blade1\n")) * 2:
            writer.write(f"GET /{path} HTTP/1.1\r\nHost: lab\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(len(content)) == content
        writer.close()

    rig.run(talk)
    assert [record.getMessage() for record in caplog.records] == []
    assert [state for _, state in rig.states()] == ["started", "done"] * 4


@pytest.mark.parametrize("path", ["labos/vmlinuz", "pxelinux.cfg/default"])
def test_a_file_that_is_known_already_is_not_sent(rig: Rig, path: str) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/{path}") as answer:
            etag, content = answer.headers["ETag"], await answer.read()
        async with client.get(f"{rig.root}/{path}", headers={"If-None-Match": etag}) as answer:
            assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", etag)
        resumed = {"Range": "bytes=4-", "If-Range": etag}
        async with client.get(f"{rig.root}/{path}", headers=resumed) as answer:
            assert (answer.status, await answer.read()) == (206, content[4:])
        rig.put_image(b"another image")
        rig.clients.boots.begin("blade1", "power")  # which has another archive, but the same menu
        async with client.get(f"{rig.root}/{path}", headers=resumed) as answer:
            same = path != "labos/vmlinuz"
            assert (answer.status, await answer.read()) == ((206, content[4:]) if same else (200, b"another image"))

    rig.run(talk)
    told = [(event.state, event.reason, event.sent_b) for event in rig.seen.of(Transfer) if event.path == path]
    assert told[3] == ("done", "not modified", 0)


def test_a_storm_is_queued(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once, the others in their order; who waits has a morsel every now and then, and all get all of it."""
    rig.files.queue = Queue(2)
    monkeypatch.setattr(server, "MORSEL_EVERY_S", 0.02)
    rig.put_image(IMAGE * 2)

    async def talk(client: aiohttp.ClientSession) -> None:
        holding = [await asyncio.open_connection("127.0.0.1", rig.port, limit=4096) for _ in range(2)]
        for reader, writer in holding:  # they have their turn, and read nothing
            writer.write(b"GET /labos/vmlinuz HTTP/1.0\r\n\r\n")
            await reader.readline()
        done: list[int] = []

        async def wait(number: int) -> None:
            async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
                body = await answer.content.readexactly(2 * server.MORSEL_B)  # while nobody else makes room
                assert rig.files.queue.running == 2
                body += await answer.read()
                assert body == IMAGE * 2
                done.append(number)

        waiting = []
        for number in range(4):
            waiting.append(asyncio.ensure_future(wait(number)))
            while rig.files.queue.waiting <= number:
                await asyncio.sleep(0.005)
        async with client.get(f"{rig.root}/metrics") as answer:
            page = await answer.text()
        assert "\nlabkit_http_large_running 2\nlabkit_http_large_waiting 4\n" in page.replace(
            "# HELP labkit_http_large_waiting large files that wait for their turn\n"
            "# TYPE labkit_http_large_waiting gauge\n", ""
        )  # fmt: skip
        async with client.get(f"{rig.root}/pxelinux.cfg/default") as answer:
            assert answer.status == 200  # a small file waits for nobody
        await asyncio.sleep(0.2)
        for _, writer in holding:
            writer.transport.abort()
        await asyncio.gather(*waiting)

    rig.run(talk)
    assert (rig.files.queue.running, rig.files.queue.waiting) == (0, 0)
    assert sorted(state for path, state in rig.states() if path == "labos/vmlinuz") == (
        ["done"] * 4 + ["failed"] * 2 + ["started"] * 6
    )


def test_numbers_for_prometheus(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/pxelinux.cfg/default") as answer:
            await answer.read()
        async with client.get(f"{rig.root}/metrics") as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
            page = await answer.text()
        assert 'labkit_transfers_total{protocol="http",state="done"} 1\n' in page
        assert 'labkit_transfer_bytes_total{protocol="http"} 15\n' in page
        assert "blade1" not in page and rig.ticket[HEADER] not in page
        assert "labkit_swarm" not in page, "there is none"
        rig.numbers = [["labkit_swarm_nodes", {"role": "worker", "state": "ready"}, 3], ["of_no_meaning", {}, 1]]
        async with client.get(f"{rig.root}/metrics") as answer:
            page = await answer.text()
        assert 'labkit_swarm_nodes{role="worker",state="ready"} 3\n' in page and "of_no_meaning" not in page

    rig.run(talk)


def test_health_and_methods(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/healthz") as answer:
            assert await answer.text() == "ok\n"
        async with client.put(f"{rig.root}/labos/vmlinuz", data=b"x") as answer:
            assert answer.status == 405
        async with client.post(f"{rig.root}/labos/vmlinuz") as answer:
            assert answer.status == 405

    rig.run(talk)


def test_a_fault_is_told_and_ends_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(address: str, path: str) -> Any:
        raise RuntimeError("a fault in the lookup")

    monkeypatch.setattr(rig.files, "lookup", broken)

    async def talk(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{rig.root}/x") as answer:
            assert answer.status == 500
        async with client.get(f"{rig.root}/healthz") as answer:
            assert answer.status == 200

    rig.run(talk)
    [trouble] = rig.seen.of(Trouble)
    assert trouble.detail.startswith("GET /x from 127.0.0.1: RuntimeError: a fault in the lookup")
