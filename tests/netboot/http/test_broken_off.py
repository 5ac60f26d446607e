"""Transfers that break off or hardly move: clients that go away or read nothing, a file that is cut short."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

import aiohttp
import pytest

from labkit.events import Transfer, Trouble
from tests.rig.http_server import IMAGE, Rig


def test_a_transfer_that_breaks_off_failed(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        sock = socket.create_connection(("127.0.0.1", rig.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\n\r\n")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sock.recv, 1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()  # a reset, as when the power goes
        await asyncio.to_thread(rig.seen.wait_for, Transfer, where=lambda event: event.state == "failed")

    rig.run(talk)
    [failed] = [event for event in rig.seen.of(Transfer) if event.state != "started"]
    assert (failed.state, failed.size_b) == ("failed", len(IMAGE))
    assert failed.reason.startswith("the connection broke")
    assert rig.seen.of(Trouble) == []


def test_blades_that_go_away_in_the_middle_leave_nothing_behind(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """After the head, in the body, by reset or by farewell: a ``failed`` event each, and no word of a fault."""
    rig.put_image(IMAGE * 2)  # more than the buffers of both ends hold

    async def gone(after_b: int, *, by_reset: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=4096)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\n\r\n")
        await reader.readexactly(after_b)
        if by_reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async def talk(client: aiohttp.ClientSession) -> None:
        await asyncio.gather(*(gone(20 + 997 * number, by_reset=number % 2 == 0) for number in range(24)))
        await asyncio.to_thread(rig.seen.wait_for, Transfer, 24, where=lambda event: event.state == "failed")
        async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
            assert await answer.read() == IMAGE * 2

    rig.run(talk)
    failed = [event for event in rig.seen.of(Transfer) if event.state == "failed"]
    assert all(event.reason.startswith("the connection broke") for event in failed)
    assert all(0 < event.sent_b < event.size_b for event in failed)
    assert [record.getMessage() for record in caplog.records] == []
    assert rig.seen.of(Trouble) == []
    assert (rig.files.queue.running, rig.files.queue.waiting) == (0, 0)


def test_a_file_that_becomes_shorter_ends_the_connection(rig: Rig) -> None:
    rig.put_image(IMAGE * 2)

    async def talk(client: aiohttp.ClientSession) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port, limit=4096)
        writer.write(b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\n\r\n")
        await reader.readline()
        os.truncate(rig.image, 10)
        while await reader.read(1 << 20):
            pass
        writer.close()

    rig.run(talk)
    failed = rig.seen.of(Transfer)[-1]
    assert (failed.state, failed.reason) == (
        "failed", "the connection broke: the file became shorter while it was sent"
    )  # fmt: skip


def test_a_slow_client_holds_up_nobody(rig: Rig) -> None:
    async def talk(client: aiohttp.ClientSession) -> None:
        slow = socket.create_connection(("127.0.0.1", rig.port))
        slow.sendall(b"GET /labos/vmlinuz HTTP/1.1\r\nHost: lab\r\n\r\n")
        for _ in range(3):
            async with client.get(f"{rig.root}/labos/vmlinuz") as answer:
                assert len(await answer.read()) == len(IMAGE)
        slow.close()

    rig.run(talk)
