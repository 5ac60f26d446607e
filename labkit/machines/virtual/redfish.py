"""Virtual slots over Redfish: ``python -m labkit.machines.virtual.redfish``, one process for all slots of a lab.

Each slot answers at its own address, over HTTPS, as one system (`labkit.machines.virtual.redfish_answers`), and presses
the buttons that its IPMI presses: it asks the supervisor over the socket that is the slots' alone. It runs as their
user. On a socket that is handed over as ``LABKIT_FDS`` (``control=5``) it answers ``reload {}``: the slots are those
that it is handed now.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from labkit.errors import ControlError
from labkit.events import Emitter
from labkit.events.watchdog import Vital
from labkit.lab import Blade, certificates
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.machines.virtual import redfish_answers as answers
from labkit.machines.virtual.redfish_answers import Boot, Json, Refused
from labkit.machines.virtual.slots import Slots

LARGEST_BODY_B = 16 << 10
SESSION_S = 1800.0
MOST_SESSIONS = 16
PRESS_S = 6.0
"""A machine that takes longer to start is started all the same, and whoever asked hears that it is on its way."""
TRIES, AGAIN_S = 50, 0.1
"""How long a slot's address, which is just being plugged in, is waited for."""

OPEN = ("/redfish", answers.ROOT.rstrip("/"))
"""What is told to anybody (DSP0266, section 13.2)."""


@dataclass
class Session:
    """One who is logged in at a slot, until nothing was heard of him for `SESSION_S`."""

    slot: int
    identity: str
    token: str
    heard: float


class Service:
    """The slots of a lab. ``now`` is a clock that only goes forward."""

    def __init__(self, slots: Slots, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._boots: dict[int, Boot] = {}
        self._sessions: list[Session] = []
        self._pressing: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self.take(slots)

    def take(self, slots: Slots) -> None:
        """Be these slots from now on."""
        self._slots = slots
        self._by_address = {blade.bmc.address: blade for blade in slots.blades}

    async def listen(self) -> None:
        """Listen at each slot's address, and nowhere else. Raises OSError where one cannot be had."""
        await self.close()
        context = certificates.server_context(self._slots.chain)
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        for blade in self._slots.blades:
            for left in reversed(range(TRIES)):
                try:
                    await web.TCPSite(self._runner, blade.bmc.address, blade.bmc.port, ssl_context=context).start()
                    break
                except OSError:
                    if not left:
                        raise
                await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    def application(self) -> web.Application:
        """The service, for aiohttp."""
        app = web.Application(middlewares=[self._guard], client_max_size=LARGEST_BODY_B)
        system, session = f"{answers.SYSTEMS}/{{name}}", f"{answers.SESSIONS}/{{identity}}"
        for method, path, handler in (
            ("GET", "/redfish", self._versions),
            ("GET", answers.ROOT.rstrip("/"), self._root),
            ("GET", answers.SYSTEMS, self._systems),
            ("GET", system, self._system),
            ("PATCH", system, self._change),
            ("POST", f"{system}/Actions/ComputerSystem.Reset", self._reset),
            ("GET", answers.SESSION_SERVICE, self._session_service),
            ("GET", answers.SESSIONS, self._list_sessions),
            ("POST", answers.SESSIONS, self._log_in),
            ("GET", session, self._session),
            ("DELETE", session, self._log_out),
        ):
            for written in (path, f"{path}/"):  # which are the same (DSP0266, section 6.5)
                app.router.add_route(method, written, handler)
        return app

    # --- who may ask, and what is said to who may not ----------------------------------------------------------------

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let in who may; every refusal, our own or aiohttp's, has the body that DSP0266 wants."""
        try:
            self._check(request)
            response = await handler(request)
        except Refused as refused:
            response = web.json_response(refused.body, status=refused.status)
            if refused.status == 401:
                response.headers["WWW-Authenticate"] = 'Basic realm="Redfish", charset="UTF-8"'
        except web.HTTPException as error:
            response = _of_aiohttp(request, error)
        except ControlError as error:
            response = web.json_response(answers.error("InternalError", error.what, error.fix or "None."), status=500)
        response.headers["OData-Version"] = "4.0"
        response.headers["Cache-Control"] = "no-store"
        return response

    def _check(self, request: web.Request) -> None:
        """Raise Refused for who may not ask this."""
        is_login = request.method == "POST" and request.path.rstrip("/") == answers.SESSIONS
        if is_login or (request.method == "GET" and request.path.rstrip("/") in OPEN):
            return
        if not (self._has_token(request) or self._has_password(request)):
            raise Refused(401, "NoValidSession", "There is no valid session established.", "Log in.")

    def _has_password(self, request: web.Request) -> bool:
        kind, _, coded = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            user, colon, password = base64.b64decode(coded.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return bool(colon) and self._is_right(request, user, password)

    def _is_right(self, request: web.Request, user: bytes, password: bytes) -> bool:
        """Compared in the same time whatever is wrong with it."""
        right_user = hmac.compare_digest(user, self._blade(request).bmc.user.encode())
        return hmac.compare_digest(password, self._slots.password.reveal().encode()) and right_user

    def _has_token(self, request: web.Request) -> bool:
        given = request.headers.get("X-Auth-Token", "").encode(errors="replace")
        for one in self._alive(request):
            if hmac.compare_digest(one.token.encode(), given):
                one.heard = self._now()
                return True
        return False

    def _alive(self, request: web.Request) -> list[Session]:
        self._sessions = [one for one in self._sessions if self._now() - one.heard < SESSION_S]
        return [one for one in self._sessions if one.slot == self._blade(request).slot]

    def _blade(self, request: web.Request) -> Blade:
        """Whose slot is asked: each has an address of its own."""
        name = request.transport.get_extra_info("sockname") if request.transport is not None else None
        blade = self._by_address.get(name[0]) if name else None
        if blade is None:
            raise Refused(503, "ServiceShuttingDown", "This slot is empty.")
        return blade

    # --- what is asked -----------------------------------------------------------------------------------------------

    async def _versions(self, request: web.Request) -> web.Response:
        return web.json_response({"v1": answers.ROOT})

    async def _root(self, request: web.Request) -> web.Response:
        return web.json_response(answers.root())

    async def _systems(self, request: web.Request) -> web.Response:
        members = [answers.system_path(self._blade(request))]
        return web.json_response(answers.collection(answers.SYSTEMS, "ComputerSystem", "Systems", members))

    async def _system(self, request: web.Request) -> web.Response:
        return web.json_response(await self._now_is(self._named(request)))

    async def _change(self, request: web.Request) -> web.Response:
        blade = self._named(request)
        self._boots[blade.slot] = answers.changed(self._boot(blade), await _body(request))
        return web.json_response(await self._now_is(blade))

    async def _reset(self, request: web.Request) -> web.Response:
        blade, body = self._named(request), await _body(request)
        is_on = await self._is_on(blade)
        wanted = answers.reset_type(body, is_on=is_on)
        task = asyncio.ensure_future(self._press(blade, answers.presses(wanted, is_on=is_on)))
        self._pressing.add(task)
        task.add_done_callback(self._pressing.discard)
        done, _ = await asyncio.wait((task,), timeout=PRESS_S)
        if not done:
            task.add_done_callback(_heard)
            return web.Response(status=202)
        task.result()
        return web.Response(status=204)

    async def _press(self, blade: Blade, buttons: tuple[tuple[str, int], ...]) -> None:
        for button, value in buttons:
            await rpc.acall(self._slots.control, "slot_set", slot=blade.slot, button=button, value=value)
            if button == "reset" or (button, value) == ("power", 1):
                self._boots[blade.slot] = self._boot(blade).used()

    async def _is_on(self, blade: Blade) -> bool:
        return bool((await rpc.acall(self._slots.control, "slot_power", slot=blade.slot))["on"])

    async def _now_is(self, blade: Blade) -> Json:
        return answers.system(blade, is_on=await self._is_on(blade), boot=self._boot(blade))

    def _boot(self, blade: Blade) -> Boot:
        return self._boots.get(blade.slot, Boot())

    def _named(self, request: web.Request) -> Blade:
        blade = self._blade(request)
        if request.match_info["name"] != blade.name:
            raise _missing(request)
        return blade

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def _session_service(self, request: web.Request) -> web.Response:
        return web.json_response(answers.session_service(SESSION_S))

    async def _list_sessions(self, request: web.Request) -> web.Response:
        members = [f"{answers.SESSIONS}/{one.identity}" for one in self._alive(request)]
        return web.json_response(answers.collection(answers.SESSIONS, "Session", "Sessions", members))

    async def _log_in(self, request: web.Request) -> web.Response:
        body = await _body(request)
        user, password = body.get("UserName"), body.get("Password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise Refused(400, "PropertyMissing", "The properties UserName and Password are required, as strings.")
        if not self._is_right(request, user.encode(errors="replace"), password.encode(errors="replace")):
            raise Refused(401, "NoValidSession", "The user name or the password is wrong.", "Log in.")
        if len(self._alive(request)) >= MOST_SESSIONS:
            raise Refused(503, "SessionLimitExceeded", "There are as many sessions as there may be.", "End one.")
        made = Session(self._blade(request).slot, secrets.token_hex(8), secrets.token_urlsafe(32), self._now())
        self._sessions.append(made)
        told = answers.session(made.identity, user)
        return web.json_response(told, status=201, headers={"X-Auth-Token": made.token, "Location": told["@odata.id"]})

    async def _session(self, request: web.Request) -> web.Response:
        one = self._chosen(request)
        return web.json_response(answers.session(one.identity, self._blade(request).bmc.user))

    async def _log_out(self, request: web.Request) -> web.Response:
        gone = self._chosen(request)
        self._sessions = [one for one in self._sessions if one is not gone]
        return web.Response(status=204)

    def _chosen(self, request: web.Request) -> Session:
        for one in self._alive(request):
            if one.identity == request.match_info["identity"]:
                return one
        raise _missing(request)


async def _body(request: web.Request) -> Json:
    """The object in a request. Raises Refused for what is none."""
    try:
        found = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise Refused(400, "MalformedJSON", "The request body is not valid JSON.") from None
    if not isinstance(found, dict):
        raise Refused(400, "UnrecognizedRequestBody", "The request body is not a JSON object.")
    return found


def _missing(request: web.Request) -> Refused:
    return Refused(404, "ResourceMissingAtURI", f"There is no resource at {request.path}.")


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    """A refusal of aiohttp's own, with a body as DSP0266 has it."""
    said = f"{request.method} of {request.path} was refused: {error.reason}."
    body = _missing(request).body if error.status == 404 else answers.error("GeneralError", said, "None.")
    kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return web.json_response(body, status=error.status, headers=kept)


def _heard(task: asyncio.Task[None]) -> None:
    """Of a press that took too long: that it failed goes into the log, since whoever asked has his answer."""
    if not task.cancelled() and (error := task.exception()) is not None:
        print(f"a button failed: {error}", file=sys.stderr, flush=True)


async def _serve(sock: socket.socket) -> None:
    stop = rpc.set_by_signals(asyncio.Event())
    service = Service(take(Slots))

    async def reload(request: dict[str, Any]) -> dict[str, Any]:
        service.take(take(Slots))
        await service.listen()
        return {}

    await service.listen()
    server = await rpc.serve(sock, {"reload": reload})
    await stop.wait()
    server.close()
    with contextlib.suppress(OSError):
        await service.close()


def main() -> int:
    """Serve until SIGTERM."""
    sock = rpc.handed_sockets()["control"]
    Vital("redfish", Emitter(int(os.environ["LABKIT_EVENTS_FD"]))).run(_serve(sock))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
