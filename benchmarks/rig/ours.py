"""labkit's boot server as a benchmark runs it: the whole of it, with real plans, leases and events.

``python ours.py LAB STATE FILES INTERFACE``: serves the lab of a file, with a folder as its catalogue of images. With
``-`` for an interface every blade has its lease and is booting already; with another, DHCP is served there.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from pathlib import Path

from labkit import labfile
from labkit.events import Emitter
from labkit.lab import Lab
from labkit.netboot import leases
from labkit.netboot.bootd import Bootd
from labkit.netboot.leases import Lease, LeaseBook, LeaseState
from labkit.state import State


def all_leased(lab: Lab, path: Path) -> None:
    """A lease for every blade."""
    book = LeaseBook()
    for blade in lab.blades:
        book = book.put(Lease(blade.address, blade.macs[0], LeaseState.BOUND, time.time() + 86400))
    leases.save(book, path)


def main() -> None:
    lab_path, state_path, files, interface = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    lab, state = labfile.load(lab_path), State(state_path)
    state.make()
    server = str(lab.network.server)
    dhcp, tftp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    if interface == "-":
        all_leased(lab, state.path / "leases.json")
        dhcp.bind((server, 67))
    else:
        dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        dhcp.bind(("0.0.0.0", 67))
    tftp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    tftp.bind((server, 69))
    http = socket.create_server((server, lab.network.http_port), backlog=1024)
    catalogue = {str(path.relative_to(files)): path for path in files.rglob("*") if path.is_file()}

    async def serve() -> None:
        until = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.set)
        with state.events.open("a") as events:
            sockets = {"dhcp": dhcp, "tftp": tftp, "http": http}
            bootd = Bootd(lab, state, sockets, catalogue, Emitter(events.fileno()))
            if interface == "-":
                for blade in lab.blades:
                    bootd.roster.boots.begin(blade.name, "power")
            await bootd.serve(until)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
