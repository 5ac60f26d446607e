"""The configs that a person wrote for his blades, read as that person: ``python -m labkit.netboot.configd``.

The boot server plans a boot from them, and is a user of its own that may read nothing in a person's home. So it asks
here, over a Unix socket (`labkit.lab.process.rpc`) that is handed over as ``LABKIT_FDS`` (``control=5``):

====================  ================================================================================================
``config {blade}``    → ``{"name": path, "config": Ignition}``, or ``{"wrong": [what, where, fix]}``; read each time
====================  ================================================================================================
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.boot import BaseConfig
from labkit.errors import PlanError
from labkit.events import Emitter
from labkit.events.watchdog import Vital
from labkit.lab import Blade, Lab
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.netboot import plans

LARGEST_B = 64 << 20
WAIT_S = 60.0


def verbs(lab: Lab) -> dict[str, rpc.Handler]:
    """What is answered for the blades of a lab."""

    async def config(request: dict[str, Any]) -> dict[str, Any]:
        blade = lab.blade(str(request["blade"]))
        try:
            found = await asyncio.to_thread(plans.base_config, blade)
        except PlanError as error:
            return {"wrong": [error.what, error.where, error.fix]}
        return {} if found is None else {"name": found.name, "config": found.config}

    return {"config": config}


def asker(path: Path) -> Callable[[Blade], BaseConfig | None]:
    """`labkit.netboot.plans.base_config`, asked of the process that listens at a socket."""

    def ask(blade: Blade) -> BaseConfig | None:
        if blade.config is None:
            return None
        answer = rpc.call(path, "config", timeout_s=WAIT_S, most_b=LARGEST_B, blade=blade.name)
        if "wrong" in answer:
            what, where, fix = answer["wrong"]
            raise PlanError(what, where=where, fix=fix)
        return BaseConfig(answer["name"], answer["config"])

    return ask


async def _serve(lab: Lab, sock: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await rpc.serve(sock, verbs(lab))
    await stop.wait()
    server.close()


def main() -> int:
    """Serve until SIGTERM."""
    sock = socket.socket(fileno=rpc.parse_fds(os.environ["LABKIT_FDS"])["control"])
    emit = Emitter(int(os.environ["LABKIT_EVENTS_FD"]))
    Vital("configd", emit).run(_serve(take(Lab), sock))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
