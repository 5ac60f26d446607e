"""The HTTP server: the same files as over TFTP, and the way home for blades that have booted.

GET and HEAD answer from `labkit.netboot.clients`; image files go from the page cache to the socket (sendfile), with
ranges and conditions. The POSTs of `phonehome` carry the boot's ticket. The same is served over TLS where the lab has
it; files are then read, encrypted and sent a block at a time.

When a whole rack is switched on, all blades want their large files at once. At most `MOST_LARGE` of them are then sent
at full speed, the others in the order in which they asked: the first blades run early, and none gets so thin a share
that its firmware gives up. Who waits has its headers at once and a morsel of the file every few seconds, which keeps
firmware patient that would take silence for a dead server.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import os
import stat
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpVersion11, RawRequestMessage
from yarl import URL

from labkit.boot import ImageFile, Rendered
from labkit.events import MOVING_EVERY_S, Event, Transfer, Trouble
from labkit.events.watchdog import reason
from labkit.lab.plain_text import shown
from labkit.netboot import metrics
from labkit.netboot.clients import Refusal
from labkit.netboot.http.queue import Queue
from labkit.netboot.http.ranges import Selection, Version, select
from labkit.netboot.metrics import Counters
from labkit.netboot.paths import plain
from labkit.netboot.tftp.server import Lookup

LARGEST_BODY_B = 16 << 10
LARGE_B = 4 << 20
"""What is sent of a file of this size and more waits for its turn; and so much of it is sent before one looks up."""
MOST_LARGE = 16
MORSEL_B, MORSEL_EVERY_S = 64 << 10, 3.0
IDLE_S = 75.0
"""How long a connection may stand on which no whole request comes: it never asked, asks drop by drop, or is done."""
BLOCK_B = 256 << 10
"""What is encrypted at once."""
KEPT_B = 32 << 10
"""Image files up to this size are kept in memory once they were asked for."""
BINARY = "application/octet-stream"
UNSPOKEN = web.RequestKey("unspoken", bool)
"""Marks a request in a version of HTTP that this server does not speak."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Files:
    """GET and HEAD of what a boot may fetch."""

    def __init__(self, lookup: Lookup, catalogue: Mapping[str, Path], emit: Callable[[Event], None]) -> None:
        self.lookup, self.catalogue, self.emit = lookup, catalogue, emit
        self.queue = Queue(MOST_LARGE)
        self.kept: dict[str, tuple[Version, bytes]] = {}  # small image files, as they were when last sent

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; every file asked for is an event, and a body that breaks off a ``failed`` one."""
        address, path = request.remote or "", plain(request.path)
        found = self.lookup(address, path) if path is not None else Refusal("not a path of this server")
        if isinstance(found, ImageFile):
            try:
                file = await asyncio.to_thread(_opened, self.catalogue[found.name])
            except (KeyError, OSError):
                found = Refusal(f"the image {found.name} is not there")
        if isinstance(found, Refusal):
            named = path or shown(request.path[:100])
            missing = Transfer(protocol=request.scheme, path=named, state="missing", address=address)
            self.emit(replace(missing, reason=found.reason))
            raise web.HTTPNotFound(text=f"{found.reason}\n")
        assert path is not None
        if isinstance(found, Rendered):
            content = found.content
            selection = select(request.method, request.headers, Version(len(content), digest(content)))
            part = content[selection.start : selection.start + selection.length]
            return await _Sending(request, path, len(content), selection, self.emit).send_bytes(part)
        with file:
            version = version_of(os.fstat(file.fileno()))
            if version.size_b <= KEPT_B:
                content = await asyncio.to_thread(os.pread, file.fileno(), KEPT_B, 0)
                self.kept[found.name] = version, content
            selection = select(request.method, request.headers, version)
            return await _Sending(request, path, version.size_b, selection, self.emit).send_file(file, self.queue)


class _Sending:
    """One answer, with its events: ``started``, ``moving`` where it is long, ``done`` or ``failed``. A HEAD is none."""

    def __init__(
        self, request: web.Request, path: str, size_b: int, selection: Selection, emit: Callable[[Event], None]
    ) -> None:
        self._request, self._selection, self._emit = request, selection, emit
        self._began = self._told_at = time.monotonic()
        self._event = Transfer(
            protocol=request.scheme, path=path, state="started", address=request.remote or "", size_b=size_b
        )  # fmt: skip
        self._sent_b = 0

    async def send_bytes(self, part: bytes) -> web.StreamResponse:
        """Answer from memory."""
        headers = {**self._selection.headers, "Cache-Control": "no-store"}
        response = web.Response(status=self._selection.status, headers=headers, body=part, content_type=BINARY)

        async def body() -> None:
            await response.write_eof()
            self._sent_b = len(part)

        return await self._told(response, body)

    async def send_file(self, file: io.FileIO, queue: Queue) -> web.StreamResponse:
        """Answer from the page cache, a large part of it when its turn has come."""
        selection = self._selection
        response = web.StreamResponse(status=selection.status, headers={**selection.headers, "Content-Type": BINARY})
        if selection.status != 304:
            response.content_length = selection.length

        async def body() -> None:
            if self._request.method == "GET" and selection.length:
                await self._stream(response, file, queue)
            await response.write_eof()

        return await self._told(response, body)

    async def _stream(self, response: web.StreamResponse, file: io.FileIO, queue: Queue) -> None:
        length = self._selection.length

        async def send(most_b: int) -> None:
            end_b = min(self._sent_b + most_b, length)
            while self._sent_b < end_b:
                until_b = min(self._sent_b + LARGE_B, end_b)
                sent = self._encrypt(response, file, until_b) if self._request.secure else self._sendfile(file, until_b)
                await sent
                if self._sent_b != until_b:
                    raise OSError("the file became shorter while it was sent")
                if time.monotonic() - self._told_at >= MOVING_EVERY_S:
                    self._told_at = time.monotonic()
                    self._tell("moving", "")

        if length < LARGE_B:
            return await send(length)
        await queue.enter(lambda: send(MORSEL_B), MORSEL_EVERY_S)
        try:
            await send(length)
        finally:
            queue.leave()

    async def _sendfile(self, file: io.FileIO, until_b: int) -> None:
        """From the page cache to the socket."""
        transport, start, begun_b = self._request.transport, self._selection.start, self._sent_b
        if transport is None:
            raise ConnectionResetError("the client is gone")
        try:
            if until_b > begun_b:
                loop = asyncio.get_running_loop()
                await loop.sendfile(transport, file, start + begun_b, until_b - begun_b)
        finally:
            self._sent_b = max(file.tell() - start, begun_b)  # where sendfile stands, or stopped

    async def _encrypt(self, response: web.StreamResponse, file: io.FileIO, until_b: int) -> None:
        """Through this process, as a TLS connection needs it; each block once there is room for it."""
        start = self._selection.start
        while self._sent_b < until_b:
            count = min(BLOCK_B, until_b - self._sent_b)
            block = await asyncio.to_thread(os.pread, file.fileno(), count, start + self._sent_b)
            if not block:
                return
            await response.write(block)
            self._sent_b += len(block)

    async def _told(self, response: web.StreamResponse, body: Callable[[], Awaitable[None]]) -> web.StreamResponse:
        """Send a whole answer, with events around it."""
        if self._request.method == "GET":
            self._emit(self._event)
        try:
            await response.prepare(self._request)
            await body()
        except (OSError, RuntimeError) as error:  # RuntimeError: the transport was closed under sendfile
            self._tell("failed", f"the connection broke: {error}")
            response.force_close()
            if self._request.transport is not None:
                self._request.transport.abort()
            return response
        except asyncio.CancelledError:
            self._tell("failed", "the server was stopped")
            raise
        status = self._selection.status
        if status in (200, 206, 304):
            self._tell("done", "not modified" if status == 304 else "")
        else:
            self._tell("failed", f"status {status}")
        return response

    def _tell(self, state: str, reason: str) -> None:
        if self._request.method == "GET":
            seconds = round(time.monotonic() - self._began, 4)
            self._emit(replace(self._event, state=state, reason=reason, sent_b=self._sent_b, seconds=seconds))


def _opened(path: Path) -> io.FileIO:
    """A regular file, unbuffered. Raises OSError."""
    file = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path.name} is not a regular file")
    return file


def version_of(status: os.stat_result) -> Version:
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return Version(status.st_size, etag, int(status.st_mtime))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def runner(app: web.Application, emit: Callable[[Event], None], close_s: float) -> web.AppRunner:
    """The application with what it needs among strangers: whoever sends no HTTP is told of in one event, where the
    library would write its traceback, and all that was sent, into the log.
    """

    def is_fault_of_ours(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ConnectionError):  # who has hung up while 100 Continue was on its way
            return False
        if not isinstance(error, HttpProcessingError | web.RequestPayloadError):
            return True
        who = record.args[0] if isinstance(record.args, tuple) and record.args else "somebody"
        said = ascii(" ".join(str(getattr(error, "message", error)).split())[:100])[1:-1]
        emit(Trouble(part="http", detail=f"{who} sent what is no HTTP: {said}"))
        return False

    log = logging.Logger(__name__)
    log.parent = logging.getLogger()
    log.addFilter(is_fault_of_ours)
    return _Runner(app, access_log=None, logger=log, keepalive_timeout=IDLE_S, shutdown_timeout=close_s)


class _Runner(web.AppRunner):
    """aiohttp's own, but for a CONNECT, which its parser gives no URL, so that the connection hung for good; for
    another version of HTTP than 1, which it would give its answer too (RFC 9110 section 2.5); and for an Expect header
    that is no text, which it would repeat and cannot. What is not known there may be passed over (section 10.1.1).
    """

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        make = server.request_factory

        def request(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
            is_spoken = message.version.major == 1
            if not is_spoken or not message.headers.get("Expect", "").isascii():
                headers = message.headers.copy()
                headers.popall("Expect", None)
                message = message._replace(headers=type(message.headers)(headers))
            message = message if is_spoken else message._replace(version=HttpVersion11)
            made = make(message if message.url is not None else message._replace(url=URL("/")), *rest)
            if not is_spoken:
                made[UNSPOKEN] = True
            return made

        server.request_factory = request
        return server


async def _of_nobody() -> Sequence[Any]:
    return ()


def application(
    files: Files,
    posts: Mapping[str, Handler],
    emit: Callable[[Event], None],
    counters: Counters,
    ask_others: Callable[[], Awaitable[Sequence[Any]]] = _of_nobody,
) -> web.Application:
    """The whole server as an aiohttp application. ``posts`` maps paths to handlers, ``ask_others`` gives the
    numbers that other parts have for ``/metrics``.
    """
    started = time.time()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if UNSPOKEN in request:
            refusal = web.HTTPVersionNotSupported()
            refusal.force_close()
            raise refusal
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            asked = f"{request.method} {shown(request.path[:100])} from {request.remote}"
            emit(Trouble(part="http", detail=f"{asked}: {reason(error)}"))
            raise web.HTTPInternalServerError() from None

    async def healthz(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def numbers(request: web.Request) -> web.Response:
        gauges = {
            "labkit_http_large_running": files.queue.running,
            "labkit_http_large_waiting": files.queue.waiting,
            "labkit_start_time_seconds": started,
        }
        page = metrics.render(counters.totals(), gauges, counters.answers, await ask_others())
        return web.Response(body=page.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app = web.Application(middlewares=[guard], client_max_size=LARGEST_BODY_B)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", numbers)
    for path, handler in posts.items():
        app.router.add_post(path, handler)
    app.router.add_get("/{path:.*}", files.get)
    return app
