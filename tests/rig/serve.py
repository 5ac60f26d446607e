"""Run the boot server in this network namespace, with a folder of files as its image catalogue, and the part of the
supervisor that takes a changed lab file in.

``python serve.py LAB STATE IMAGES``: a process of its own, because namespaces belong to processes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from labkit.events import Emitter
from labkit.events.watchdog import Vital
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.process.handover import VARIABLE
from labkit.lab.state import State
from labkit.netboot.bootd import Bootd
from labkit.netboot.ports import open_sockets
from labkit.netboot.settings import Settings
from labkit.servers.parts.handed import Handed


def main() -> None:
    lab, state, images = lab_yaml.load(Path(sys.argv[1])), State(Path(sys.argv[2])), Path(sys.argv[3])
    state.make()
    catalogue = {str(path.relative_to(images)): path for path in images.rglob("*") if path.is_file()}

    handed = Handed()
    given = handed.lay("bootd", state.bootd, lambda: Settings.of(lab_yaml.load(lab.path), state))
    os.environ[VARIABLE] = str(given)

    async def reload(request: dict[str, Any]) -> dict[str, Any]:
        return {"silent": await handed.anew()}

    async def serve() -> None:
        until = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, until.set)
        sockets = {**open_sockets(lab), "control": rpc.listen(state.bootd)}
        bootd = Bootd(Settings.of(lab, state), state.path, state.swarmd, sockets, catalogue, emit)
        await rpc.serve(rpc.listen(state.control), {"reload": reload})
        signal.signal(signal.SIGUSR1, lambda *_: bootd._tftp._epoll.close())  # the fault that a test asks for
        await bootd.serve(until)

    with state.events.open("a") as events:
        emit = Emitter(events.fileno())
        Vital("bootd", emit).run(serve())


if __name__ == "__main__":
    main()
