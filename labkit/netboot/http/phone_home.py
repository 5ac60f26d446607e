"""What a booted blade may say: join, how far it is, what became of its disk, what it is made of, that it leaves, that
it is full, and that its Docker does not start.

Every message carries the boot's ticket in ``X-Labkit-Ticket`` and counts only from the address leased to that blade.
Anything else is answered with 403, recorded, and told to swarmd, which then changes the join token. In a lab
that speaks TLS, what comes in clear is answered with 403 and recorded, whatever it carries; swarmd hears nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from labkit.errors import ControlError
from labkit.events import Event, Note, Phoned, Ticket, Trouble
from labkit.lab.process import rpc
from labkit.netboot.boots import Boot
from labkit.netboot.clients import ClientBook
from labkit.netboot.http.blade_disk import read_disk
from labkit.netboot.http.blade_failure import read_failure
from labkit.netboot.http.blade_space import read_space
from labkit.netboot.http.inventories import TOO_SOON, Inventories

HEADER = "X-Labkit-Ticket"
RETRY_S = 3
JOIN_WAIT_S = 10.0
LEAVE_WAIT_S = 75.0
"""It answers within 60 s; a little more, so that its answer is the one that counts."""
TOLD_TIMES = 20
PUT_OUT = "it was put out of the swarm while it ran, leaves, and joins again"
UNLOCKED = "its engine was started anew, waited for the swarm's key, and got it"
ASTRAY = "it is in another swarm than the lab's, which has been made anew since this blade joined"

Ask = Callable[..., Awaitable[dict[str, Any]]]
Handler = Callable[[web.Request], Awaitable[web.Response]]


def swarmd_at(path: Path) -> Ask:
    """How to ask the swarmd that listens at a socket: ``ask(verb, timeout_s=…, **fields)``."""

    def ask(verb: str, *, timeout_s: float = JOIN_WAIT_S, **fields: Any) -> Awaitable[dict[str, Any]]:
        return rpc.acall(path, verb, timeout_s=timeout_s, **fields)

    return ask


class PhoneHome:
    """The POST handlers. ``ask`` reaches swarmd."""

    def __init__(self, clients: ClientBook, ask: Ask, inventories: Inventories) -> None:
        self._clients, self._ask, self._inventories = clients, ask, inventories
        self._tasks: set[asyncio.Task[None]] = set()
        self._late: dict[str, str] = {}
        self._clear: dict[str, str] = {}
        self._astray: dict[str, str] = {}

    def handlers(self) -> dict[str, Handler]:
        """The handlers by path."""
        own = {"/v1/join": self.join, "/v1/stage": self.stage, "/v1/leave": self.leave, "/v1/left": self.left}
        own |= {"/v1/space": self.space, "/v1/member": self.member, "/v1/unlock": self.unlock}
        own |= {"/v1/failed": self.failed, "/v1/inventory": self.inventory}
        is_sealed = self._clients.lab.network.tls
        return {path: self._sealed(handler) if is_sealed else handler for path, handler in own.items()}

    def _sealed(self, handler: Handler) -> Handler:
        """A handler that hears what comes over TLS only."""

        async def answer(request: web.Request) -> web.Response:
            return await handler(request) if request.secure else self._in_clear(request)

        return answer

    def _in_clear(self, request: web.Request) -> web.Response:
        """Refuse without a look at the ticket. It is told once a boot: a blade from before TLS asks again and again."""
        boot, address = self._clients.boot_at(request.remote or ""), request.remote or ""
        reason = f"it came in clear, and this lab hears blades at {self._clients.lab.network.home_root} only"
        if boot is None or self._clear.get(boot.blade) != boot.id:
            blade = boot.blade if boot is not None else ""
            self._clear |= {boot.blade: boot.id} if boot is not None else {}
            self._clients.emit(Ticket(blade=blade, state="refused", address=address, reason=reason))
        return web.Response(status=403, text=f"{reason}\n")

    async def join(self, request: web.Request) -> web.Response:
        """The body of Docker's ``/swarm/join`` for this blade, until it has joined.

        503 while there is no swarm, or when the boot's join window is not open: the blade asks again.
        """
        boot = self._identified(request)
        if boot.joined and not boot.again:
            raise self._refused(request, boot.blade, "this boot has joined already")
        lab, own = self._clients.lab, request.remote or ""
        blade = lab.blade(boot.blade)
        if own != str(blade.address):  # only behind a proxy: the router gave it another one
            fix = f"write 'address: {own}' for it, and reserve that address at the router"
            detail = f"{blade.name} has the address {own}, and lab.yaml says {blade.address}: {fix}"
            self._clients.emit(Trouble(blade=blade.name, part="dhcp", detail=detail))
        if not self._clients.boots.is_open(boot):
            return self._too_late(boot, own)
        try:
            answer = await self._ask("join", blade=blade.name, boot=boot.id, cause=boot.cause, address=own)
        except ControlError as error:
            return _later(error.what)
        self._clients.emit(Ticket(blade=boot.blade, boot=boot.id, state="redeemed", address=request.remote or ""))
        return _for_engine(answer)

    async def unlock(self, request: web.Request) -> web.Response:
        """The body of Docker's ``/swarm/unlock``, for a blade that manages a swarm which is locked with a key.

        503 where there is nothing to unlock, or nobody knows the key.
        """
        boot = self._identified(request)
        try:
            answer = await self._ask("unlock", blade=boot.blade, boot=boot.id)
        except ControlError as error:
            return _later(error.what)
        self._clients.emit(Note(blade=boot.blade, boot=boot.id, detail=UNLOCKED))
        return _for_engine(answer)

    async def stage(self, request: web.Request) -> web.Response:
        """How far the blade is; ``joined`` closes its join window."""
        boot = self._identified(request)
        form = await request.post()
        stage = str(form.get("stage", ""))
        if stage not in ("os", "joined"):
            raise web.HTTPBadRequest(text="stage is os or joined\n")
        uptime_s, init_s, ignition_s = (_seconds(form.get(name)) for name in ("uptime_s", "init_s", "ignition_s"))
        self._clients.emit(
            Phoned(
                blade=boot.blade, boot=boot.id, stage=stage, address=request.remote or "",
                uptime_s=uptime_s, init_s=init_s, ignition_s=ignition_s,
                clock_off_s=_offset(form.get("clock_off_s")),
            )
        )  # fmt: skip
        disk = read_disk(form.get("disk", ""))
        if disk is not None and self._clients.boots.told_disk(boot, disk.mark, disk.words):
            self._clients.emit(disk.event(boot.blade, boot.id))
        if stage == "joined":
            self._clients.boots.joined(boot.blade)
            self._tell("joined", blade=boot.blade, boot=boot.id)
        return web.Response(text="noted\n")

    async def member(self, request: web.Request) -> web.Response:
        """Whether the blade's boot is still on the swarm's list: 410 is the word to leave and to join again.

        ``swarm`` is the certificate of its swarm's authority. 409 says that this is another swarm than the lab's: what
        runs there is not for the lab to end. 503 where nobody knows.
        """
        boot = self._identified(request)
        if not boot.joined:
            return web.Response(text="it has not joined yet\n")
        authority = str((await request.post()).get("swarm", ""))
        try:
            answer = await self._ask("member", blade=boot.blade, boot=boot.id, swarm=authority)
        except ControlError as error:
            return _later(error.what)
        verdict = answer["member"]
        if verdict == "yes":
            return web.Response(text="it is a member\n")
        if verdict == "removed" and not boot.again:
            self._clients.boots.put_out(boot.blade)
            self._clients.emit(Note(blade=boot.blade, boot=boot.id, detail=PUT_OUT))
        if verdict == "another" and self._astray.get(boot.blade) != boot.id:
            self._astray[boot.blade] = boot.id
            fix = f"see there what still runs (./lab ssh {boot.blade} docker ps), then reboot the blade in order"
            self._clients.emit(Trouble(blade=boot.blade, boot=boot.id, part="swarm", detail=ASTRAY, fix=fix))
        return web.Response(status=410 if verdict == "removed" else 409, text=f"{verdict}\n")

    async def space(self, request: web.Request) -> web.Response:
        """The memory that Docker has on the blade is full, or has room again."""
        return await self._noted(request, read_space, "state is full or room\n")

    async def failed(self, request: web.Request) -> web.Response:
        """A unit that the blade cannot do without is down for good."""
        return await self._noted(request, read_failure, "unit is the name of a systemd unit\n")

    async def _noted(self, request: web.Request, read: Callable[..., Event | None], otherwise: str) -> web.Response:
        """Tell the event that a form says of a blade and its boot; for one that makes no sense, what it should be."""
        boot = self._identified(request)
        event = read(await request.post(), boot.blade, boot.id)
        if event is None:
            raise web.HTTPBadRequest(text=otherwise)
        self._clients.emit(event)
        return web.Response(text="noted\n")

    async def inventory(self, request: web.Request) -> web.Response:
        """What the blade is made of, once a boot: 429 where it says so again at once."""
        boot = self._identified(request)
        blade, text = self._clients.lab.blade(boot.blade), await said(request)
        why = await asyncio.to_thread(self._inventories.take_blade, blade, boot.id, text)
        return answered(why)

    def _too_late(self, boot: Boot, address: str) -> web.Response:
        """A boot whose window is not open gets no token. It is told once; a blade that asks again is no attack."""
        reason = f"the join window of this boot is not open; to open it: ./lab swarm admit {boot.blade}"
        if self._late.get(boot.blade) != boot.id:
            self._late[boot.blade] = boot.id
            self._clients.emit(Ticket(blade=boot.blade, boot=boot.id, state="late", address=address, reason=reason))
        return _later(reason)

    async def leave(self, request: web.Request) -> web.Response:
        """Wait until swarmd has drained the node; 200 is the word to leave. ``going=reboot``: it will be back."""
        boot = self._identified(request)
        if (await request.post()).get("going") == "reboot":
            self._clients.boots.returning(boot.blade)
        return await self._relayed(request, "leave", LEAVE_WAIT_S)

    async def left(self, request: web.Request) -> web.Response:
        """The blade has left: swarmd removes its node."""
        return await self._relayed(request, "left", LEAVE_WAIT_S)

    async def _relayed(self, request: web.Request, verb: str, timeout_s: float) -> web.Response:
        boot = self._identified(request)
        try:
            await self._ask(verb, timeout_s=timeout_s, blade=boot.blade, boot=boot.id)
        except ControlError as error:
            return _later(error.what)
        return web.Response(text="ok\n")

    # --- tickets ---

    def _identified(self, request: web.Request) -> Boot:
        """The boot whose ticket a request carries, from its own address. Raises HTTPForbidden otherwise."""
        shown = request.headers.get(HEADER, "").encode("utf-8", "surrogateescape")
        boot = self._clients.boot_at(request.remote or "")
        if boot is not None and hmac.compare_digest(shown, self._clients.boots.ticket(boot).reveal().encode()):
            return boot
        owner = self._owner(shown)
        if owner is not None:
            raise self._refused(request, owner.blade, "this blade's ticket came from an address that is not its own")
        blade = boot.blade if boot is not None else ""
        raise self._refused(request, blade, "no ticket" if not shown else "not the ticket of a boot that is under way")

    def _owner(self, shown: bytes) -> Boot | None:
        boots = self._clients.boots
        for boot in boots.all().values():
            if hmac.compare_digest(shown, boots.ticket(boot).reveal().encode()):
                return boot
        return None

    def _refused(self, request: web.Request, blade: str, reason: str) -> web.HTTPForbidden:
        self._clients.emit(Ticket(blade=blade, state="refused", address=request.remote or "", reason=reason))
        self._tell("refused", blade=blade)
        return web.HTTPForbidden(text=f"{reason}\n")

    def _tell(self, verb: str, **fields: str) -> None:
        """Tell swarmd without making the blade wait; one that is just restarting is told again."""
        if verb == "refused" and any(task.get_name() == "refused" for task in self._tasks):
            return  # one that is on its way covers this one too

        async def telling() -> None:
            for _ in range(TOLD_TIMES):
                try:
                    await self._ask(verb, **fields)
                    return
                except ControlError as error:
                    failure = error.what
                await asyncio.sleep(RETRY_S)
            detail = f"the swarm desk did not hear '{verb}': {failure}"
            self._clients.emit(Trouble(blade=fields["blade"], part="bootd", detail=detail))

        task = asyncio.get_running_loop().create_task(telling(), name=verb)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def said(request: web.Request) -> str:
    """The body of a request as text. Raises HTTPRequestEntityTooLarge."""
    return (await request.read()).decode("utf-8", "replace")


def answered(why: str) -> web.Response:
    """What somebody gets who hands in an inventory that is not kept for a reason, or is."""
    return web.Response(status={"": 200, TOO_SOON: 429}.get(why, 400), text=f"{why or 'noted'}\n")


def _later(why: str) -> web.Response:
    """Not now: the blade asks again (RFC 9110, section 10.2.3)."""
    return web.Response(status=503, headers={"Retry-After": str(RETRY_S)}, text=f"{why}\n")


def _for_engine(answer: dict[str, Any]) -> web.Response:
    """What swarmd gave for the engine, which holds a secret."""
    body = json.dumps(answer["body"]).encode()
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})


def _offset(value: object) -> float:
    """By how many seconds a clock was off, from a form; 0 where there is no number that makes sense."""
    text = str(value)
    return float(text) if re.fullmatch(r"-?[0-9]{1,11}", text) else 0.0


def _seconds(value: object) -> float:
    """A time from a form, -1 where there is none that makes sense."""
    try:
        seconds = float(str(value))
    except ValueError:
        return -1.0
    return round(seconds, 3) if 0 <= seconds < 1e9 else -1.0
