"""The live page for the browsers of this machine: it listens on loopback, and only whoever has its address gets in.

The address holds a token, since every user of this machine reaches loopback, and buttons that the lab's owner may press
are on the page. A page of somebody else's in the same browser gets nowhere: where its name was made to lead here (DNS
rebinding), Host is not ours; where it sends a request on its own behalf, Origin is not (RFC 6454).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import secrets
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from labkit.errors import LabkitError, MachineError
from labkit.lab.process import rpc
from labkit.netboot.http.server import runner
from labkit.workbook.watch.follower import Follower
from labkit.workbook.watch.page import SCRIPT, watch_page
from labkit.workbook.watch.view import BUTTONS, Seen, draw

Press = Callable[[str, str], str]
"""Presses a button of a blade, by its name and one of `BUTTONS`; what there is to say of it. Raises LabkitError."""

TICK_S, BEAT_S, CLOSE_S = 0.5, 5.0, 0.5
MOST_B = 1024
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
"""Any port: it may be another at the near end of an SSH tunnel."""
_SCRIPT_SHA = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src 'sha256-{_SCRIPT_SHA}'; style-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Pictures have their colours in ``style`` attributes; there is one script, and nothing comes from elsewhere."""


def listen(port: int) -> socket.socket:
    """A socket on loopback; any free port for 0. Raises MachineError."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        fix = f"another --port, above 1023; ss -lntp 'sport = :{port}' names who has it"
        raise MachineError(f"{error.strerror}", where=f"port {port}", fix=fix) from None


class _Board:
    """The parts as they are now, drawn once for all who watch, and not while nobody does."""

    def __init__(self, follower: Follower) -> None:
        self._follower, self._lock, self._drawn = follower, asyncio.Lock(), 0.0
        self._seen: Seen | None = None
        self._parts: dict[str, str] = {}

    async def parts(self) -> dict[str, str]:
        async with self._lock:
            clock = asyncio.get_running_loop().time
            if not self._parts or clock() - self._drawn >= TICK_S:
                await asyncio.to_thread(self._draw)
                self._drawn = clock()
        return self._parts

    def _draw(self) -> None:
        seen = self._follower.look()
        if seen is not self._seen:
            self._parts, self._seen = draw(seen), seen


def application(follower: Follower, press: Press, token: str) -> web.Application:
    """The page at ``/TOKEN/``, its stream at ``events`` and its buttons at ``power`` below that."""
    board = _Board(follower)

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not LOOPBACK.fullmatch(host):
            raise web.HTTPForbidden(text="this page is for the browsers of its own machine\n")
        if request.method != "GET" and request.headers.get("Origin") != f"http://{host}":
            raise web.HTTPForbidden(text="a button is pressed on the page itself, and nowhere else\n")
        if not secrets.compare_digest(request.match_info.get("token", "").encode(), token.encode()):
            raise web.HTTPForbidden(text="open the address that ./lab watch printed\n")
        return await handler(request)

    async def secure(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(HEADERS)

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=watch_page(follower.lab), content_type="text/html")

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        sent: dict[str, str] = {}
        told = 0.0
        try:
            await response.prepare(request)
            while True:
                parts, now = await board.parts(), asyncio.get_running_loop().time()
                fresh = {name: html for name, html in parts.items() if sent.get(name) != html}
                if fresh or now - told >= BEAT_S:
                    await response.write(b"data: %s\n\n" % json.dumps(fresh).encode())
                    sent, told = parts, now
                await asyncio.sleep(TICK_S)
        except ConnectionError:  # the page was closed
            return response

    async def power(request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            blade, state = str(asked["blade"]), str(asked["state"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise web.HTTPBadRequest(text='a button is {"blade": name, "state": state}\n') from None
        if state not in BUTTONS:
            raise web.HTTPBadRequest(text=f"state is one of {', '.join(BUTTONS)}\n")
        try:
            return web.Response(text=await asyncio.to_thread(press, blade, state))
        except LabkitError as error:
            return web.Response(text=str(error), status=409)

    app = web.Application(middlewares=[guard], client_max_size=MOST_B)
    app.on_response_prepare.append(secure)
    app.router.add_get("/{token}/", page, allow_head=False)
    app.router.add_get("/{token}/events", stream, allow_head=False)
    app.router.add_post("/{token}/power", power)
    return app


async def serve(sock: socket.socket, app: web.Application) -> None:
    """Serve until SIGINT or SIGTERM."""
    its = runner(app, lambda event: None, CLOSE_S)
    await its.setup()
    await web.SockSite(its, sock).start()
    await rpc.set_by_signals(asyncio.Event()).wait()
    await its.cleanup()
