"""The configs that a person wrote for his blades, read as that person: ``python -m labkit.netboot.configd``.

The boot server plans a boot from them, and is a user of its own that may read nothing in a person's home. So it asks
here, over a Unix socket (`labkit.lab.process.rpc`) that is handed over as ``LABKIT_FDS`` (``control=5``):

====================  ================================================================================================
``config {blade}``    → ``{"name": path, "config": Ignition}``, or ``{"wrong": [what, where, fix]}``; read each time,
                      and so is which file that is
``reload {}``         the blades are those of the lab that it is handed now
====================  ================================================================================================
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from labkit.boot import BaseConfig
from labkit.errors import ControlError, LabkitError, PlanError
from labkit.events import Emitter
from labkit.events.watchdog import Vital
from labkit.lab import Blade, Lab, lab_yaml
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.netboot.configs import base_config

LARGEST_B = 64 << 20
WAIT_S, SHORT_S = 60.0, 5.0
"""For how long a blade with a config is worth waiting, and one that may have got one since."""


def verbs(lab: Lab) -> dict[str, rpc.Handler]:
    """What is answered for the blades of a lab."""

    async def reload(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal lab
        lab = take(Lab)
        return {}

    async def config(request: dict[str, Any]) -> dict[str, Any]:
        blade = await asyncio.to_thread(as_written, lab, str(request["blade"]))
        try:
            found = await asyncio.to_thread(base_config, lab, blade)
        except PlanError as error:
            return {"wrong": [error.what, error.where, error.fix]}
        return {} if found is None else {"name": found.name, "config": found.config}

    return {"config": config, "reload": reload}


def as_written(lab: Lab, name: str) -> Blade:
    """A blade with the ``config:`` that its lab file says now; all else is as it was when the lab was started.

    A file that is no lab any more, or has no such blade, says nothing.
    """
    blade = lab.blade(name)
    try:
        found = lab.path.stat()
        return replace(
            blade, config=_load(lab.path, (found.st_ino, found.st_size, found.st_mtime_ns)).blade(name).config
        )
    except (LabkitError, OSError, KeyError):
        return blade


@lru_cache(maxsize=1)
def _load(path: Path, mark: tuple[int, ...]) -> Lab:
    """The lab file; read again when its ``mark`` is another."""
    return lab_yaml.load(path)


def asker(path: Path) -> Callable[[Blade], BaseConfig | None]:
    """`labkit.netboot.configs.base_config`, asked of the process that listens at a socket."""

    def ask(blade: Blade) -> BaseConfig | None:
        try:
            wait_s = WAIT_S if blade.config else SHORT_S
            answer = rpc.call(path, "config", timeout_s=wait_s, most_b=LARGEST_B, blade=blade.name)
        except ControlError:
            if not blade.config:  # and it is told of one that was written since only once somebody answers again
                return None
            raise
        if "wrong" in answer:
            what, where, fix = answer["wrong"]
            raise PlanError(what, where=where, fix=fix)
        if not answer:
            return None
        return BaseConfig(answer["name"], answer["config"])

    return ask


async def _serve(lab: Lab, sock: socket.socket) -> None:
    stop = rpc.set_by_signals(asyncio.Event())
    server = await rpc.serve(sock, verbs(lab))
    await stop.wait()
    server.close()


def main() -> int:
    """Serve until SIGTERM."""
    sock = rpc.handed_sockets()["control"]
    emit = Emitter(int(os.environ["LABKIT_EVENTS_FD"]))
    Vital("configd", emit).run(_serve(take(Lab), sock))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
