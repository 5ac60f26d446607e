"""The HTTP server: the same files as over TFTP, and the way home for blades that have booted.

GET and HEAD answer from `labkit.netboot.roster`; image files go from the page cache to the socket (sendfile), with
ranges. The POSTs of `phonehome` carry the boot's ticket.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from labkit.events import Event, Transfer, Trouble
from labkit.netboot.paths import plain
from labkit.netboot.roster import Refusal
from labkit.netboot.tftpd import Lookup
from labkit.plan import ImageFile, Rendered

LARGEST_BODY_B = 16 << 10
BINARY = "application/octet-stream"

Response = web.StreamResponse
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Files:
    """GET and HEAD of what a boot may fetch."""

    def __init__(self, lookup: Lookup, catalogue: Mapping[str, Path], emit: Callable[[Event], None]) -> None:
        self._lookup, self._catalogue, self._emit = lookup, catalogue, emit

    async def get(self, request: web.Request) -> Response:
        """Answer one request; every file asked for is an event, and a body that breaks off a ``failed`` one."""
        address, path = request.remote or "", plain(request.path)
        found = self._lookup(address, path) if path is not None else Refusal("not a path of this server")
        if isinstance(found, ImageFile):
            file = self._catalogue.get(found.name)
            if file is None or not _is_there(file):
                found = Refusal(f"the image {found.name} is not there")
        if isinstance(found, Refusal):
            shown = path or request.path[:100]
            self._emit(Transfer(protocol="http", path=shown, state="missing", address=address, reason=found.reason))
            raise web.HTTPNotFound(text=f"{found.reason}\n")
        assert path is not None
        if isinstance(found, Rendered):
            return await self._send(request, path, _in_memory(request, found.content), len(found.content))
        file = self._catalogue[found.name]
        response = web.FileResponse(file, headers={"Content-Type": BINARY})
        return await self._send(request, path, response, file.stat().st_size)

    async def _send(self, request: web.Request, path: str, response: Response, size_b: int) -> Response:
        """Send a response whole, with events around it."""
        began = time.monotonic()
        started = Transfer(protocol="http", path=path, state="started", address=request.remote or "", size_b=size_b)

        def tell(state: str, reason: str = "", sent_b: int = 0) -> None:
            seconds = round(time.monotonic() - began, 4)
            self._emit(replace(started, state=state, reason=reason, sent_b=sent_b, seconds=seconds))

        is_body = request.method == "GET"
        if is_body:
            self._emit(started)
        try:
            await response.prepare(request)
            await response.write_eof()
        except (OSError, RuntimeError) as error:  # RuntimeError: the transport was closed under sendfile
            tell("failed", f"the connection broke: {error}")
            raise ConnectionResetError(str(error)) from None  # which aiohttp takes for what it is: nobody to answer
        if is_body and response.status in (200, 206):
            tell("done", sent_b=response.content_length or 0)
        elif is_body:
            tell("failed", f"status {response.status}")
        return response


def _in_memory(request: web.Request, content: bytes) -> web.Response:
    """A response from memory, or the one range of it that was asked for (RFC 9110 section 14)."""
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    try:
        wanted = request.http_range
    except ValueError:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
    if wanted.start is None and wanted.stop is None:
        return web.Response(body=content, headers=headers, content_type=BINARY)
    start, stop, _ = wanted.indices(len(content))
    if start >= stop:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return web.Response(status=206, body=content[start:stop], headers=headers, content_type=BINARY)


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False


async def _healthz(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def application(files: Files, posts: Mapping[str, Handler], emit: Callable[[Event], None]) -> web.Application:
    """The whole server as an aiohttp application. ``posts`` maps paths to handlers."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            emit(Trouble(part="http", detail=f"{request.method} {request.path[:100]}: {type(error).__name__}: {error}"))
            raise web.HTTPInternalServerError() from None

    app = web.Application(middlewares=[guard], client_max_size=LARGEST_BODY_B)
    app.router.add_get("/healthz", _healthz)
    for path, handler in posts.items():
        app.router.add_post(path, handler)
    app.router.add_get("/{path:.*}", files.get)
    return app
