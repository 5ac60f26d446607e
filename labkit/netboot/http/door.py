"""Where each connection comes in: a small file that is in memory is answered at once, all else goes to aiohttp.

While what arrives is one whole GET that says no more than who asks, for a small file that is ready, it is answered
here. The first request that is anything else (a condition, a range, another method, an escaped path, half a request, a
file that nobody may have, a client that reads slowly) is handed to aiohttp as it came, and the connection with it. So
nothing is decided twice: what is not plain is none of this module's business.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from labkit.boot import ImageFile, Rendered
from labkit.events import Transfer
from labkit.netboot.http import server
from labkit.netboot.http.ranges import Version, date, select
from labkit.netboot.http.server import BINARY, KEPT_B, Files, digest, version_of
from labkit.netboot.paths import plain

_SAID = rb"(?:(?i:user-agent|accept|accept-encoding|pragma|cache-control):[ -~]*\r\n|(?i:connection: *keep-alive)\r\n)*"
PLAIN = re.compile(rb"GET (/[\w./-]*) HTTP/1\.1\r\n" + _SAID + rb"(?i:host):[ -~]*\r\n" + _SAID + rb"\r\n")
LONGEST_B = 1024


@dataclass(frozen=True)
class Ready:
    """The whole answer to a plain GET, status 200, and the event that it begins with."""

    headers: Mapping[str, str]
    content: bytes
    started: Transfer


def ready(files: Files, address: str, asked: str) -> Ready | None:
    """What an address gets for a plain GET of a small file that is in memory; None for all that aiohttp has to answer.

    Raises OSError when an image file is not there any more.
    """
    path = plain(asked)
    found = files.lookup(address, path) if path is not None else None
    headers = {"Content-Type": BINARY}
    if isinstance(found, Rendered) and len(found.content) <= KEPT_B:
        content, version = found.content, Version(len(found.content), digest(found.content))
        headers["Cache-Control"] = "no-store"
    elif isinstance(found, ImageFile) and found.name in files.kept:
        version, content = files.kept[found.name]
        if version != version_of(files.catalogue[found.name].stat()):
            return None
    else:
        return None
    assert path is not None
    headers |= {**select("GET", {}, version).headers, "Content-Length": str(version.size_b)}
    started = Transfer(protocol="http", path=path, state="started", address=address, size_b=version.size_b)
    return Ready(headers, content, started)


class Doors:
    """The protocols of a listening socket, for `asyncio.loop.create_server`. ``server`` makes those of aiohttp."""

    def __init__(self, files: Files, server: Callable[[], asyncio.Protocol]) -> None:
        self.files, self.server = files, server
        self.open: set[asyncio.Transport] = set()

    def __call__(self) -> asyncio.Protocol:
        return _Door(self)

    def close(self) -> None:
        """Drop the connections that are not aiohttp's by now."""
        for transport in list(self.open):
            transport.abort()


class _Door(asyncio.Protocol):
    """One connection, until aiohttp has it."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._address: str = (transport.get_extra_info("peername") or ("",))[0]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._doors.open.add(transport)
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(server.IDLE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        asked = PLAIN.fullmatch(data) if len(data) <= LONGEST_B else None
        if asked is not None and not self._transport.get_write_buffer_size():
            try:
                found = ready(self._doors.files, self._address, asked[1].decode())
            except Exception:  # it comes again where it is told, in aiohttp
                found = None
            if found is not None:
                self._answer(found)
                return
        self._left()
        handler = self._doors.server()
        self._transport.set_protocol(handler)
        handler.connection_made(self._transport)
        handler.data_received(data)

    def _answer(self, found: Ready) -> None:
        began, emit = time.monotonic(), self._doors.files.emit
        lines = (f"{name}: {value}\r\n" for name, value in found.headers.items())
        head = f"HTTP/1.1 200 OK\r\nDate: {date(int(time.time()))}\r\n{''.join(lines)}\r\n"
        emit(found.started)
        self._transport.write(head.encode() + found.content)
        seconds = round(time.monotonic() - began, 6)
        emit(replace(found.started, state="done", sent_b=len(found.content), seconds=seconds))

    def _look(self) -> None:
        """Hang up where nothing was heard for so long."""
        due = self._heard + server.IDLE_S
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._transport.close()

    def _left(self) -> None:
        self._timer.cancel()
        self._doors.open.discard(self._transport)
