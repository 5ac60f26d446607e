"""labkit's boot server as a benchmark runs it: the whole of it, with real plans, leases and events.

``python ours.py LAB STATE FILES HOW``: serves the lab of a file, with a folder as its catalogue of images. HOW is
``bridge``: on the interface ``br0``, as the supervisor opens its sockets for a virtual lab; or ``loopback``: where
every blade has its lease and is booting already.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from pathlib import Path

from labkit.events import Emitter
from labkit.lab import Lab, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.netboot.bootd import Bootd
from labkit.netboot.dhcp import leases
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState
from labkit.netboot.ports import open_sockets
from labkit.netboot.settings import Settings


def all_leased(lab: Lab, path: Path) -> None:
    """A lease for every blade."""
    book = LeaseBook()
    for blade in lab.blades:
        book = book.put(Lease(blade.address, blade.macs[0], LeaseState.BOUND, time.time() + 86400))
    leases.save(book, path)


def loopback_sockets(lab: Lab) -> dict[str, socket.socket]:
    """TFTP and HTTP for clients of this machine itself; nobody asks the third."""
    server = str(lab.network.server)
    dhcp, tftp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    dhcp.bind((server, 67))
    tftp.bind((server, 69))
    return {"dhcp": dhcp, "tftp": tftp, "http": socket.create_server((server, lab.network.http_port), backlog=256)}


def main() -> None:
    lab_path, state_path, files = map(Path, sys.argv[1:4])
    is_loopback = sys.argv[4] == "loopback"
    lab, state = lab_yaml.load(lab_path), State(state_path)
    state.make()
    if is_loopback:
        all_leased(lab, state.path / "leases.json")
    sockets = loopback_sockets(lab) if is_loopback else open_sockets(lab)
    catalogue = {str(path.relative_to(files)): path for path in files.rglob("*") if path.is_file()}

    async def serve() -> None:
        until = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.set)
        with state.events.open("a") as events:
            sockets["control"] = rpc.listen(state.bootd)
            given, emit = Settings.of(lab, state), Emitter(events.fileno())
            bootd = Bootd(given, state.path, state.swarmd, sockets, catalogue, emit)
            if is_loopback:
                for blade in lab.blades:
                    bootd.clients.boots.begin(blade.name, "power")
            await bootd.serve(until)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
