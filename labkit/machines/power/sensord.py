"""What real blades' controllers measure, asked for while the lab is up: ``python -m labkit.machines.power.sensord``.

It runs as the lab's owner, since it reads the passwords as that person's own `./lab power` does, and speaks to no
controller itself: each question is a process of its own (`labkit.machines.power.calls`). On a socket that is handed
over as ``LABKIT_FDS`` (``control=5``) it answers:

================  ====================================================================================================
``numbers {}``    what was measured last, for ``/metrics`` → ``{"numbers": [[name, labels, value], …]}``
``reload {}``     the blades are those of the lab that it is handed now
================  ====================================================================================================
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import PowerError
from labkit.events import SENSORS, Emitter, Event, Measured, Trouble
from labkit.events.watchdog import Vital
from labkit.lab import Blade, Bmc, Lab
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.power import measured
from labkit.machines.power.calls import Passing
from labkit.machines.power.passwords import bmc_password
from labkit.machines.power.readings import Reading

EVERY_S = 60.0
TRIES = 3
"""So often in a row a controller may not answer before it is left alone."""
SELDOM_S = 1800.0
"""When one that was left alone, or had nothing to tell, is asked again."""

Ask = Callable[[Blade], Sequence[Reading]]
"""Asks a blade's controller. Raises PowerError, as `Passing` where it may answer another time."""


@dataclass
class Asked:
    """What is known of one controller: what it measured last, what was told of that, how often it failed in a row, and
    when it is asked again, never where that is None."""

    bmc: Bmc
    found: Sequence[Reading] = ()
    told: Measured | None = None
    failed: int = 0
    due: float | None = 0.0


class Sensors:
    """All controllers of a lab, asked one after the other. ``emit`` takes what is told of them."""

    def __init__(self, lab: Lab, ask: Ask, emit: Callable[[Event], None]) -> None:
        self._ask, self._emit = ask, emit
        self._asked: dict[str, Asked] = {}
        self.take(lab)

    def take(self, lab: Lab) -> None:
        """Ask for the blades of this lab from now on; what is known of those that stay is kept."""
        self._blades = tuple(blade for blade in lab.blades if blade.bmc.has_password)
        had = self._asked
        self._asked = {
            blade.name: had[blade.name] if blade.name in had and had[blade.name].bmc == blade.bmc else Asked(blade.bmc)
            for blade in self._blades
        }

    def round(self, now: float) -> None:
        """Ask each controller whose time has come, at ``now`` seconds on a clock that only goes forward."""
        for blade in self._blades:
            one = self._asked.get(blade.name)
            if one is not None and one.due is not None and one.due <= now:
                self._look(blade, one, now)

    def numbers(self) -> list[measured.Number]:
        """What was measured last."""
        found = {blade.slot: self._asked[blade.name].found for blade in self._blades if blade.name in self._asked}
        return measured.numbers({slot: sensors for slot, sensors in found.items() if sensors})

    def _look(self, blade: Blade, one: Asked, now: float) -> None:
        try:
            one.found = self._ask(blade)
        except PowerError as error:
            self._fail(blade, one, error, now)
            return
        one.failed = 0
        one.due = now if one.found else now + SELDOM_S
        self._tell(one, measured.summary(blade.name, one.found))

    def _fail(self, blade: Blade, one: Asked, error: PowerError, now: float) -> None:
        """One that may answer another time is asked again, in the end seldom; one that refuses us, never: many lock a
        user out who comes with a wrong password again and again."""
        one.failed += 1
        may_pass = isinstance(error, Passing)
        if may_pass and one.failed < TRIES:
            return
        one.found, one.due = (), now + SELDOM_S if may_pass else None
        self._tell(one, Measured(blade=blade.name))
        if one.failed == TRIES or not may_pass:
            often = f"now only every {SELDOM_S / 60:.0f} minutes" if may_pass else "no more"
            detail = f"its BMC is asked {often} what it measures: {error.what}"
            fix = f"{error.fix}; ./lab power sensors {blade.name} asks it at once"
            self._emit(Trouble(blade=blade.name, part=SENSORS, detail=detail, fix=fix))

    def _tell(self, one: Asked, now: Measured) -> None:
        if measured.is_news(one.told, now):
            one.told = now
            self._emit(now)


def verbs(sensors: Sensors) -> dict[str, rpc.Handler]:
    """What is answered on the control socket."""

    async def numbers(request: dict[str, Any]) -> dict[str, Any]:
        return {"numbers": sensors.numbers()}

    async def reload(request: dict[str, Any]) -> dict[str, Any]:
        sensors.take(take(Lab))
        return {}

    return {"numbers": numbers, "reload": reload}


def ask_forever(sensors: Sensors) -> None:
    """One round after the other, each `EVERY_S` after the one before it began, or at once where that took longer."""
    while True:
        began = time.monotonic()
        sensors.round(began)
        time.sleep(max(0.0, began + EVERY_S - time.monotonic()))


async def _serve(sensors: Sensors, sock: socket.socket) -> None:
    stop = rpc.set_by_signals(asyncio.Event())
    server = await rpc.serve(sock, verbs(sensors))
    # nobody waits for it: a question that is on its way ends with this process
    threading.Thread(target=ask_forever, args=(sensors,), name="sensors", daemon=True).start()
    await stop.wait()
    server.close()


def main() -> int:
    """Ask until SIGTERM."""
    lab, state = take(Lab), State(Path(os.environ["LABKIT_STATE"]))
    sock = rpc.handed_sockets()["control"]
    emit = Emitter(int(os.environ["LABKIT_EVENTS_FD"]))

    def ask(blade: Blade) -> Sequence[Reading]:
        return power.sensors(blade.name, blade.bmc, bmc_password(lab, state, blade))

    Vital("sensord", emit).run(_serve(Sensors(lab, ask, emit), sock))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
