"""The boot server's process, ``python -m labkit.netboot.bootd``: DHCP, TFTP and HTTP over sockets it was handed.

It runs without privileges. The environment says where everything is: ``LABKIT_LAB`` (the lab file), ``LABKIT_STATE``
(the state folder), ``LABKIT_EVENTS_FD`` (where events go), ``LABKIT_FDS`` (``dhcp=5,arp=6,tftp=7,http=8``, with
TLS ``https=9``, behind a router ``boot=9``, in a virtual lab ``icmp6=9``). It can be killed
at any time and goes on where it stopped: leases and boots are in the state folder.

On ``run/bootd.sock`` (`labkit.rpc`) it answers:

=======================  ===========================================================================
``power_on {blade}``     a new boot begins now → ``{"boot": id}``
``admit {blade}``        its current boot may join from now on → ``{"boot": id}``, an empty id without one
``boots {}``             → ``{"boots": {blade: {"id", "cause", "begun", "kernel", "joined", "opened", …}}}``
``rehearse {blade}``     this blade's card is answered, and no boot begins, until
``rehearsed {blade}``    that is over
``answers {answers}``    what the lab's listeners answered the supervisor (`labkit.answers`), for ``/metrics``
=======================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from labkit import authoring, certs, images, labfile, rpc
from labkit.errors import ControlError, LabkitError
from labkit.events import Emitter, Event
from labkit.lab import Blade, Lab
from labkit.netboot.advertise import Advertiser
from labkit.netboot.boots import BootBook
from labkit.netboot.dhcpd import DhcpServer
from labkit.netboot.httpd import Files, application
from labkit.netboot.metrics import Counters
from labkit.netboot.neighbours import Prober
from labkit.netboot.phonehome import PhoneHome, desk
from labkit.netboot.roster import Roster
from labkit.netboot.tftpd import TftpServer
from labkit.netboot.tls import Handshakes, TlsSite
from labkit.state import State
from labkit.vital import Vital

HELPERS = 64
"""Threads for what blocks: one for each blade that waits for its leave, and for opening files."""
HTTP_DEAD_MS = 60_000
"""How long a connection waits for a blade that lost its power (tcp(7), TCP_USER_TIMEOUT); then the transfer failed."""
CLOSE_S = 1.0


def parse_fds(text: str) -> dict[str, int]:
    """``dhcp=5,tftp=7`` as a mapping. Raises ValueError."""
    return {name: int(number) for name, _, number in (part.partition("=") for part in text.split(","))}


class Bootd:
    """The three servers and the control socket around one roster."""

    def __init__(
        self,
        lab: Lab,
        state: State,
        sockets: Mapping[str, socket.socket],
        catalogue: Mapping[str, Path],
        emit: Callable[[Event], None],
    ) -> None:
        self._state, self._sockets = state, sockets
        boots = BootBook(
            lab, state.key("tickets"), state.path / "boots.json",
            lambda blade, boot, ticket: authoring.prepare(lab, state, blade, boot, ticket),
        )  # fmt: skip
        self._counters = counters = Counters()
        self.roster = Roster(lab, boots, state.path / "leases.json", counters.counted(emit))
        prober = Prober(sockets["arp"]) if "arp" in sockets else None
        self._dhcp = DhcpServer(sockets["dhcp"], self.roster, prober, sockets.get("boot"))
        self._advertiser = Advertiser(sockets["icmp6"]) if "icmp6" in sockets else None
        self._tftp = TftpServer(sockets["tftp"], self.roster.lookup, catalogue, self.roster.emit)
        files = Files(self.roster.lookup, catalogue, self.roster.emit)
        home = PhoneHome(self.roster, desk(state.swarmd))
        app = application(files, home.handlers(), self.roster.emit, counters)
        self._http = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        self._context: ssl.SSLContext | None = None
        if lab.network.tls:
            made = certs.ensure_boot_server(state, str(lab.network.server))
            self._context = certs.server_context(made)
        for name in ("http", "https") if lab.network.tls else ("http",):
            sockets[name].setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, HTTP_DEAD_MS)

    async def serve(self, until: asyncio.Event) -> None:
        """Serve until the event is set. Raises OSError when the control socket cannot be made."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(HELPERS, thread_name_prefix="bootd"))
        self._tftp.start()
        self._dhcp.start(loop)
        if self._advertiser is not None:
            self._advertiser.start(loop)
        await self._http.setup()
        await web.SockSite(self._http, self._sockets["http"]).start()
        if self._context is not None:
            failed = Handshakes(self.roster).failed
            await TlsSite(self._http, self._sockets["https"], self._context, failed).start()
        control = await rpc.serve(rpc.listen(self._state.bootd), self._verbs())
        await until.wait()
        control.close()
        self._dhcp.stop(loop)
        if self._advertiser is not None:
            self._advertiser.stop(loop)
        self._tftp.stop()
        await self._http.cleanup()

    def _verbs(self) -> dict[str, rpc.Handler]:
        return {
            "power_on": self._power_on,
            "admit": self._admit,
            "boots": self._boots,
            "rehearse": self._rehearse,
            "rehearsed": self._rehearsed,
            "answers": self._take_answers,
        }

    async def _power_on(self, request: dict[str, Any]) -> dict[str, Any]:
        blade = self._blade(request)
        self.roster.end_rehearsal(blade)
        boot = self.roster.boots.begin(blade.name, "power")
        self.roster.begun(boot)
        return {"boot": boot.id}

    async def _admit(self, request: dict[str, Any]) -> dict[str, Any]:
        boot = self.roster.boots.open(self._blade(request).name)
        return {"boot": boot.id if boot is not None else ""}

    async def _rehearse(self, request: dict[str, Any]) -> dict[str, Any]:
        self.roster.rehearse(self._blade(request))
        return {}

    async def _rehearsed(self, request: dict[str, Any]) -> dict[str, Any]:
        self.roster.end_rehearsal(self._blade(request))
        return {}

    async def _take_answers(self, request: dict[str, Any]) -> dict[str, Any]:
        self._counters.answers = request["answers"]
        return {}

    def _blade(self, request: dict[str, Any]) -> Blade:
        try:
            return self.roster.lab.blade(str(request["blade"]))
        except KeyError:
            known = ", ".join(blade.name for blade in self.roster.lab.blades)
            raise ControlError(f"no blade {request['blade']} in this lab", fix=f"its blades are {known}") from None

    async def _boots(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "boots": {
                name: {key: value for key, value in asdict(boot).items() if key != "blade"}
                for name, boot in self.roster.boots.all().items()
            }
        }


def main() -> int:
    """Run the boot server until SIGTERM. The exit status is that of the error, or 0."""
    try:
        lab = labfile.load(Path(os.environ["LABKIT_LAB"]))
        state = State(Path(os.environ["LABKIT_STATE"]))
        sockets = {name: socket.socket(fileno=number) for name, number in parse_fds(os.environ["LABKIT_FDS"]).items()}
        emit = Emitter(int(os.environ["LABKIT_EVENTS_FD"]))
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a transfer takes three descriptors
        Vital("bootd", emit).run(_serve(Bootd(lab, state, sockets, images.catalogue(lab), emit)))
    except LabkitError as error:
        print(error, file=sys.stderr)
        return error.status
    return 0


async def _serve(bootd: Bootd) -> None:
    until = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, until.set)
    await bootd.serve(until)


if __name__ == "__main__":
    sys.exit(main())
