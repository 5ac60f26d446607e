"""The boot server's process, ``python -m labkit.netboot.bootd``: DHCP, TFTP and HTTP over sockets it was handed.

It runs as a user of its own, without privileges. It is handed a `Settings`, and the environment says where the rest is:
``LABKIT_STATE`` (the state folder), ``LABKIT_EVENTS_FD`` (where events go), ``LABKIT_FDS``
(``dhcp=5,arp=6,tftp=7,http=8,control=9``, with TLS ``https=10``, behind a router ``boot=10``, in a virtual lab
``icmp6=10``). It can be killed at any time and goes on where it stopped: leases and boots are in `State.books`.

On the control socket (`labkit.lab.process.rpc`) it answers:

=======================  ===========================================================================
``power_on {blade}``     a new boot begins now → ``{"boot": id}``
``admit {blade}``        its current boot may join from now on → ``{"boot": id}``, an empty id without one
``boots {}``             → ``{"boots": {blade: {"id", "cause", "begun", "kernel", "joined", "opened", …}}}``
``rehearse {blade}``     this blade's card is answered, and no boot begins, until
``rehearsed {blade}``    that is over
``answers {answers}``    what the lab's listeners answered the supervisor, for ``/metrics``
=======================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from labkit import images
from labkit.boot import BaseConfig
from labkit.errors import ControlError
from labkit.events import Emitter, Event
from labkit.events.watchdog import Vital
from labkit.lab import Blade, certificates
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.netboot import plans
from labkit.netboot.arp import Prober
from labkit.netboot.boots import BootBook
from labkit.netboot.clients import ClientBook
from labkit.netboot.configd import asker
from labkit.netboot.dhcp.server import DhcpServer
from labkit.netboot.http.phone_home import PhoneHome, swarmd_at
from labkit.netboot.http.server import Files, application
from labkit.netboot.http.tls import Handshakes, TlsSite
from labkit.netboot.metrics import Counters
from labkit.netboot.router_advertisement import Advertiser
from labkit.netboot.settings import Settings
from labkit.netboot.tftp.server import TftpServer

HELPERS = 64
"""Threads for what blocks: one for each blade that waits for its leave, and for opening files."""
HTTP_DEAD_MS = 60_000
"""How long a connection waits for a blade that lost its power (tcp(7), TCP_USER_TIMEOUT); then the transfer failed."""
CLOSE_S = 1.0


class Bootd:
    """The three servers and the control socket around one `ClientBook`.

    ``books`` is the folder of its leases and boots, ``swarmd`` the socket of swarmd; ``config`` says what a
    person wrote for a blade.
    """

    def __init__(
        self,
        given: Settings,
        books: Path,
        swarmd: Path,
        sockets: Mapping[str, socket.socket],
        catalogue: Mapping[str, Path],
        emit: Callable[[Event], None],
        config: Callable[[Blade], BaseConfig | None] = plans.base_config,
    ) -> None:
        lab, self._sockets = given.lab, sockets

        def prepare(blade: Blade, boot: str, ticket: Secret) -> plans.Planned:
            return plans.prepare_with(given.own, config(blade), lab, blade, boot, ticket)

        boots = BootBook(lab, given.tickets, books / "boots.json", prepare)
        self._counters = counters = Counters()
        self.clients = ClientBook(lab, boots, books / "leases.json", counters.counted(emit))
        prober = Prober(sockets["arp"]) if "arp" in sockets else None
        self._dhcp = DhcpServer(sockets["dhcp"], self.clients, prober, sockets.get("boot"))
        self._advertiser = Advertiser(sockets["icmp6"]) if "icmp6" in sockets else None
        self._tftp = TftpServer(sockets["tftp"], self.clients.lookup, catalogue, self.clients.emit)
        files = Files(self.clients.lookup, catalogue, self.clients.emit)
        home = PhoneHome(self.clients, swarmd_at(swarmd))
        app = application(files, home.handlers(), self.clients.emit, counters)
        self._http = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        self._context = certificates.server_context(given.chain) if given.chain is not None else None
        for name in ("http", "https") if lab.network.tls else ("http",):
            sockets[name].setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, HTTP_DEAD_MS)

    async def serve(self, until: asyncio.Event) -> None:
        """Serve until the event is set."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(HELPERS, thread_name_prefix="bootd"))
        self._tftp.start()
        self._dhcp.start(loop)
        if self._advertiser is not None:
            self._advertiser.start(loop)
        await self._http.setup()
        await web.SockSite(self._http, self._sockets["http"]).start()
        if self._context is not None:
            failed = Handshakes(self.clients).failed
            await TlsSite(self._http, self._sockets["https"], self._context, failed).start()
        control = await rpc.serve(self._sockets["control"], self._verbs())
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
        self.clients.end_rehearsal(blade)
        boot = self.clients.boots.begin(blade.name, "power")
        self.clients.begun(boot)
        return {"boot": boot.id}

    async def _admit(self, request: dict[str, Any]) -> dict[str, Any]:
        boot = self.clients.boots.open(self._blade(request).name)
        return {"boot": boot.id if boot is not None else ""}

    async def _rehearse(self, request: dict[str, Any]) -> dict[str, Any]:
        self.clients.rehearse(self._blade(request))
        return {}

    async def _rehearsed(self, request: dict[str, Any]) -> dict[str, Any]:
        self.clients.end_rehearsal(self._blade(request))
        return {}

    async def _take_answers(self, request: dict[str, Any]) -> dict[str, Any]:
        self._counters.answers = request["answers"]
        return {}

    def _blade(self, request: dict[str, Any]) -> Blade:
        try:
            return self.clients.lab.blade(str(request["blade"]))
        except KeyError:
            known = ", ".join(blade.name for blade in self.clients.lab.blades)
            raise ControlError(f"no blade {request['blade']} in this lab", fix=f"its blades are {known}") from None

    async def _boots(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "boots": {
                name: {key: value for key, value in asdict(boot).items() if key != "blade"}
                for name, boot in self.clients.boots.all().items()
            }
        }


def main() -> int:
    """Run the boot server until SIGTERM. Raises LabkitError."""
    given, state = take(Settings), State(Path(os.environ["LABKIT_STATE"]))
    handed = rpc.parse_fds(os.environ["LABKIT_FDS"])
    sockets = {name: socket.socket(fileno=number) for name, number in handed.items()}
    emit = Emitter(int(os.environ["LABKIT_EVENTS_FD"]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a transfer takes three descriptors
    catalogue, config = images.catalogue(given.lab), asker(state.configd)
    bootd = Bootd(given, state.books, state.swarmd, sockets, catalogue, emit, config)
    Vital("bootd", emit).run(_serve(bootd))
    return 0


async def _serve(bootd: Bootd) -> None:
    until = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, until.set)
    await bootd.serve(until)


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
