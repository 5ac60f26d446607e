"""The HTTP server on loopback with a blade that is booting, and a swarm desk that remembers; with TLS where wanted."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from labkit.errors import ControlError
from labkit.events import Transfer
from labkit.lab import certificates
from labkit.lab.state import State
from labkit.netboot.http import server
from labkit.netboot.http.door import Doors
from labkit.netboot.http.inventories import Inventories
from labkit.netboot.http.phone_home import HEADER, PhoneHome
from labkit.netboot.http.server import Files, application
from labkit.netboot.http.tls import Handshakes, TlsSite
from labkit.netboot.metrics import Counters

from .dhcp import Seen, make_clients, make_lab, on_loopback

IMAGE = bytes(range(256)) * 40_000


class Desk:
    """A swarm desk: answers at once, refuses what it is told to refuse, remembers all."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refusing: dict[str, int] = {}
        self.membership = "yes"

    async def __call__(self, verb: str, *, timeout_s: float = 0, **fields: Any) -> dict[str, Any]:
        self.asked.append((verb, fields))
        if self.refusing.get(verb, 0):
            self.refusing[verb] -= 1
            raise ControlError("the swarm does not exist yet")
        if verb == "member":
            return {"member": self.membership}
        if verb == "unlock":
            return {"body": {"UnlockKey": "SWMKEY-1-secret"}}
        return {"body": {"JoinToken": "SWMTKN-1", "RemoteAddrs": ["10.77.0.2:2377"]}} if verb == "join" else {}

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.asked]


class Rig:
    """A server on loopback, with blade1 at 127.0.0.1 and booting."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        self.seen, self.desk = Seen(), Desk()
        self.counters = Counters()
        lab = on_loopback(make_lab())
        lab = replace(lab, network=replace(lab.network, tls=tls))
        self.state = State(folder / "state")
        self.state.make()
        self.numbers: list[Any] = []
        self.clients = make_clients(folder, self.counters.counted(self.seen), lab)
        self.boot = self.clients.boots.begin("blade1", "power")
        image = folder / "vmlinuz"
        written = folder.parent / "vmlinuz"  # once, beside the folders of all tests: ten megabytes for each are slow
        if not written.exists():
            written.write_bytes(IMAGE)
        os.link(written, image)
        self.image = image
        self.files = Files(self.clients.lookup, {"labos/vmlinuz": image}, self.clients.emit)
        self.inventories = Inventories(self.clients, folder / "inventory")
        self.home = PhoneHome(self.clients, self.desk, self.inventories)
        self.ticket = {HEADER: self.clients.boots.ticket(self.boot).reveal()}

    def put_image(self, content: bytes) -> None:
        """Another image in its place, as a file of its own: the one that was there is that of other tests too."""
        self.image.unlink()
        self.image.write_bytes(content)

    def run(self, talk: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
        """Serve while a client talks. ``self.root`` is where, and with TLS ``self.private``, by ``self.state.ca``."""

        async def serving() -> None:
            app = application(self.files, self.home.handlers(), self.clients.emit, self.counters, self.ask_swarm)
            runner = server.runner(app, self.clients.emit, 0.1)
            await runner.setup()
            sock = socket.create_server(("127.0.0.1", 0))
            assert runner.server is not None
            doors = Doors(self.files, runner.server)
            listening = await asyncio.get_running_loop().create_server(doors, sock=sock)
            self.port = sock.getsockname()[1]
            self.root = f"http://127.0.0.1:{self.port}"
            if self.clients.lab.network.tls:
                private = socket.create_server(("127.0.0.1", 0))
                context = certificates.server_context(
                    certificates.chain(certificates.ensure_boot_server(self.state, "127.0.0.1"))
                )
                await TlsSite(runner, private, context, Handshakes(self.clients).failed).start()
                self.private = f"https://127.0.0.1:{private.getsockname()[1]}"
            try:
                async with aiohttp.ClientSession() as client:
                    await talk(client)
            finally:
                listening.close()
                doors.close()
                await runner.cleanup()

        asyncio.run(serving())

    async def ask_swarm(self) -> list[Any]:
        """What swarmd would tell for ``/metrics``."""
        return self.numbers

    async def raw(self, request: bytes) -> int:
        """The status that raw bytes get."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()

    def states(self) -> list[tuple[str, str]]:
        return [(event.path, event.state) for event in self.seen.of(Transfer)]
