"""Run the boot server on an interface of this network namespace, with a folder of files as its image catalogue.

``python serve.py LAB STATE IMAGES INTERFACE``: a process of its own, because namespaces belong to processes.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

from labkit import labfile
from labkit.events import Emitter
from labkit.netboot.bootd import Bootd
from labkit.state import State


def main() -> None:
    lab_path, state_path, images, interface = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    lab, state = labfile.load(lab_path), State(state_path)
    state.make()
    dhcp, tftp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    dhcp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    dhcp.bind(("0.0.0.0", 67))
    tftp.bind((str(lab.network.server), 69))
    http = socket.create_server((str(lab.network.server), lab.network.http_port))
    catalogue = {str(path.relative_to(images)): path for path in images.rglob("*") if path.is_file()}

    async def serve() -> None:
        until = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.set)
        with state.events.open("a") as events:
            bootd = Bootd(lab, state, {"dhcp": dhcp, "tftp": tftp, "http": http}, catalogue, Emitter(events.fileno()))
            await bootd.serve(until)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
