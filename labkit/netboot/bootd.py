"""The boot server's process, ``python -m labkit.netboot.bootd``: DHCP, TFTP and HTTP over sockets it was handed.

It runs as a user of its own, without privileges. It is handed a `Settings`, and the environment says where the rest is:
``LABKIT_STATE`` (the state folder), ``LABKIT_EVENTS_FD`` (where events go), ``LABKIT_FDS``
(``dhcp=5,arp=6,tftp=7,http=8,control=9``, with TLS ``https=10``, behind a router ``boot=10``, in a virtual lab
``icmp6=10``). It can be killed at any time and goes on where it stopped: leases and boots are in `State.books`.

On the control socket (`labkit.lab.process.rpc`) it answers:

=======================  ===========================================================================
``power_on {blade}``     a new boot begins now → ``{"boot": id}``
``expect {blade}``       as ``power_on``, unless it is booted: then its next boot is ours → ``{"boot": id}``, or empty
``admit {blade}``        its current boot may join from now on → ``{"boot": id}``, an empty id without one
``hold {blade, why}``    it gets no kernel until it is let go → ``{"held": whether that is new}``
``release {blade}``      it may boot again → ``{"held": whether it was held}``
``boots {}``             → ``{"boots": {blade: {"id", "cause", "begun", "kernel", "joined", "version", …}}}``
``versions {}``          what a boot would bring now → ``{"versions": {blade: version}, "wrong": {blade: why not}}``
``rehearse {blade}``     this blade's card is answered, and no boot begins, until
``rehearsed {blade}``    that is over
``inventory {name}``     what is kept of a blade, or of a stranger's card → ``{"inventory": {…} or null}``
``answers {answers}``    what the lab's listeners answered the supervisor, for ``/metrics``
``reload {}``            the blades are those of the `Settings` that it is handed now
=======================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labkit import images
from labkit.boot import BaseConfig, BootSecrets
from labkit.errors import ControlError
from labkit.events import Emitter, Event, Held, Note
from labkit.events.kept_inventories import mac_of
from labkit.events.watchdog import Vital
from labkit.lab import Blade, ChassisKind, certificates
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.lab.state import State
from labkit.netboot import plans
from labkit.netboot.arp import Prober
from labkit.netboot.boots import BootBook
from labkit.netboot.clients import ClientBook
from labkit.netboot.configd import asker
from labkit.netboot.configs import base_config
from labkit.netboot.dhcp.server import DhcpServer
from labkit.netboot.http.door import Doors
from labkit.netboot.http.inventories import Inventories
from labkit.netboot.http.phone_home import Ask, PhoneHome, swarmd_at
from labkit.netboot.http.server import Files, application, runner
from labkit.netboot.http.strangers import Strangers
from labkit.netboot.http.tls import BACKLOG, Handshakes, TlsSite
from labkit.netboot.metrics import Counters
from labkit.netboot.router_advertisement import Advertiser
from labkit.netboot.settings import Settings
from labkit.netboot.tftp.server import TftpServer

MAY_WIPE = "somebody lets its next boot wipe its disk, of which this was said last: {}"
MAY_NOT_WIPE = "its next boot does not wipe its disk"
HELPERS = 64
"""Threads for what blocks: one for each blade that waits for its leave, and for opening files."""
HTTP_DEAD_MS = 60_000
"""How long a connection waits for a blade that lost its power (tcp(7), TCP_USER_TIMEOUT); then the transfer failed."""
CLOSE_S = 1.0
NUMBERS_S = 3.0
"""How long /metrics waits for swarmd, which may wait for a swarm without a leader."""


class Bootd:
    """The three servers and the control socket around one `ClientBook`.

    ``books`` is the folder of its leases and boots, ``swarmd`` the socket of swarmd; ``config`` says what a
    person wrote for a blade, and ``others`` are sockets of parts that have numbers for ``/metrics`` too.
    """

    def __init__(
        self,
        given: Settings,
        books: Path,
        swarmd: Path,
        sockets: Mapping[str, socket.socket],
        catalogue: Mapping[str, Path],
        emit: Callable[[Event], None],
        config: Callable[[Blade], BaseConfig | None] | None = None,
        others: Sequence[Path] = (),
    ) -> None:
        lab, self._sockets = given.lab, sockets

        def prepare(blade: Blade, boot: str, secrets: BootSecrets) -> plans.Planned:
            now, files = self.clients.lab, images.identities(catalogue)
            written = config(blade) if config is not None else base_config(now, blade)
            return plans.prepare_with(given.own, written, now, blade, boot, secrets, files)

        boots = BootBook(lab, given.tickets, books / "boots.json", prepare)
        self._counters = counters = Counters()
        self.clients = ClientBook(lab, boots, books / "leases.json", counters.counted(emit))
        prober = Prober(sockets["arp"]) if "arp" in sockets else None
        self._dhcp = DhcpServer(sockets["dhcp"], self.clients, prober, sockets.get("boot"))
        self._advertiser = Advertiser(sockets["icmp6"]) if "icmp6" in sockets else None
        self._tftp = TftpServer(sockets["tftp"], self.clients.lookup, catalogue, self.clients.emit)
        self._files = files = Files(self.clients.lookup, catalogue, self.clients.emit)
        ask = swarmd_at(swarmd)
        self._inventories = Inventories(self.clients, books / "inventory")
        home = PhoneHome(self.clients, ask, self._inventories)

        async def ask_numbers(part: Ask) -> list[Any]:
            with contextlib.suppress(ControlError):  # who asks for numbers has those that there are
                return list((await part("numbers", timeout_s=NUMBERS_S))["numbers"])
            return []

        async def ask_others() -> Sequence[Any]:
            told = await asyncio.gather(*(ask_numbers(part) for part in (ask, *(swarmd_at(path) for path in others))))
            return [one for numbers in told for one in numbers]

        posts = home.handlers() | Strangers(self.clients, self._inventories).handlers()
        app = application(files, posts, self.clients.emit, counters, ask_others)
        self._http = runner(app, self.clients.emit, CLOSE_S)
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
        assert self._http.server is not None
        doors = Doors(self._files, self._http.server)
        listening = await loop.create_server(doors, sock=self._sockets["http"], backlog=BACKLOG)
        if self._context is not None:
            failed = Handshakes(self.clients).failed
            await TlsSite(self._http, self._sockets["https"], self._context, failed).start()
        for boot in self.clients.boots.all().values():
            if boot.held:  # since before this server, or this lab, was started
                self.clients.emit(Held(blade=boot.blade, state="held", detail=boot.held))
        control = await rpc.serve(self._sockets["control"], self._verbs())
        await until.wait()
        control.close()
        self._dhcp.stop(loop)
        if self._advertiser is not None:
            self._advertiser.stop(loop)
        self._tftp.stop()
        listening.close()
        doors.close()
        await self._http.cleanup()

    def _verbs(self) -> dict[str, rpc.Handler]:
        return {
            "power_on": self._power_on,
            "expect": self._expect,
            "admit": self._admit,
            "hold": self._hold,
            "release": self._release,
            "disk": self._disk,
            "let_wipe": self._let_wipe,
            "boots": self._boots,
            "versions": self._versions,
            "rehearse": self._rehearse,
            "rehearsed": self._rehearsed,
            "inventory": self._inventory,
            "answers": self._take_answers,
            "reload": self._reload,
        }

    async def _power_on(self, request: dict[str, Any]) -> dict[str, Any]:
        blade = self._blade(request)
        self.clients.end_rehearsal(blade)
        boot = self.clients.boots.begin(blade.name, "power")
        self.clients.begun(boot)
        return {"boot": boot.id}

    async def _expect(self, request: dict[str, Any]) -> dict[str, Any]:
        blade = self._blade(request)
        self.clients.end_rehearsal(blade)
        boot = self.clients.boots.expect(blade.name)
        if boot is not None:
            self.clients.begun(boot)
        return {"boot": boot.id if boot is not None else ""}

    async def _admit(self, request: dict[str, Any]) -> dict[str, Any]:
        boot = self.clients.boots.open(self._blade(request).name)
        return {"boot": boot.id if boot is not None else ""}

    async def _hold(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, why = self._blade(request), str(request["why"])
        is_new = self.clients.boots.hold(blade.name, why)
        if is_new:
            self.clients.emit(Held(blade=blade.name, state="held", detail=why))
        return {"held": is_new}

    async def _release(self, request: dict[str, Any]) -> dict[str, Any]:
        blade = self._blade(request)
        was_held = self.clients.boots.release(blade.name)
        if was_held:
            self.clients.emit(Held(blade=blade.name, state="released"))
        return {"held": was_held}

    async def _disk(self, request: dict[str, Any]) -> dict[str, Any]:
        boot = self.clients.boots.current(self._blade(request).name)
        return {"words": boot.disk, "found": bool(boot.found)} if boot is not None else {"words": "", "found": False}

    async def _let_wipe(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, allowed = self._blade(request), bool(request["allowed"])
        boot = self.clients.boots.let_wipe(blade.name, allowed=allowed)
        if boot is None:
            what = f"no boot of {blade.name} has found a disk so far"
            raise ControlError(what, fix=f"boot it once: ./lab power on {blade.name}; ./lab why {blade.name}")
        detail = MAY_WIPE if allowed else MAY_NOT_WIPE
        self.clients.emit(Note(blade=blade.name, boot=boot.id, detail=detail.format(boot.disk)))
        return {}

    async def _rehearse(self, request: dict[str, Any]) -> dict[str, Any]:
        self.clients.rehearse(self._blade(request))
        return {}

    async def _rehearsed(self, request: dict[str, Any]) -> dict[str, Any]:
        self.clients.end_rehearsal(self._blade(request))
        return {}

    async def _inventory(self, request: dict[str, Any]) -> dict[str, Any]:
        name = str(request["name"])
        is_known = any(blade.name == name for blade in self.clients.lab.blades) or mac_of(name)
        kept = self._inventories.of(name) if is_known else None
        return {"inventory": kept.as_json() if kept is not None else None}

    async def _take_answers(self, request: dict[str, Any]) -> dict[str, Any]:
        self._counters.answers = request["answers"]
        return {}

    async def _reload(self, request: dict[str, Any]) -> dict[str, Any]:
        self.clients.take_lab(take(Settings).lab)
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

    async def _versions(self, request: dict[str, Any]) -> dict[str, Any]:
        versions, wrong = await asyncio.to_thread(self.clients.boots.versions)
        return {"versions": versions, "wrong": wrong}


def main() -> int:
    """Run the boot server until SIGTERM. Raises LabkitError."""
    given, state = take(Settings), State(Path(os.environ["LABKIT_STATE"]))
    sockets = rpc.handed_sockets()
    emit = Emitter(int(os.environ["LABKIT_EVENTS_FD"]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a transfer takes three descriptors
    catalogue, config = images.catalogue(given.lab), asker(state.configd)
    others = [] if given.lab.chassis.kind is ChassisKind.VIRTUAL else [state.sensord]
    bootd = Bootd(given, state.books, state.swarmd, sockets, catalogue, emit, config, others)
    Vital("bootd", emit).run(_serve(bootd))
    return 0


async def _serve(bootd: Bootd) -> None:
    await bootd.serve(rpc.set_by_signals(asyncio.Event()))


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
