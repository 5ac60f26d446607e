"""The swarm desk in a process of its own, as the supervisor starts it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.errors import ControlError
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.process.handover import VARIABLE, hand
from labkit.lab.state import State
from labkit.swarm import cluster
from labkit.swarm.engine import engine
from labkit.swarm.membership.quorum import Quorum, quorum
from labkit.swarm.swarmd import SwarmDaemon

from .fleet import Fleet, Machine, post_join, until

LAB = "name: test\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"


class DeskProcess:
    """``python -m labkit.swarm.swarmd`` with the environment that the supervisor gives it."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.state = State(folder)
        self.state.make()
        self.state.docker.symlink_to(fleet.controller.sock)
        self._lab = folder / "lab.yaml"
        self._lab.write_text(LAB)
        self.events: list[events.Event] = []
        reading, self._writing = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(reading,))
        self._reader.start()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        handed, sock = hand(lab_yaml.load(self._lab)), rpc.listen(self.state.swarmd)
        env = {
            "LABKIT_STATE": str(self.state.path), "LABKIT_EVENTS_FD": str(self._writing), VARIABLE: str(handed),
            "LABKIT_FDS": f"control={sock.fileno()}",
        }  # fmt: skip
        given = [self._writing, handed, sock.fileno()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labkit.swarm.swarmd"], env={**os.environ, **env}, pass_fds=given
        )
        os.close(handed)
        sock.close()
        until(self._answers)

    def end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(10)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)
        os.close(self._writing)
        self._reader.join()

    def ask(self, verb: str, machine: Machine, **fields: Any) -> dict[str, object]:
        return rpc.call(self.state.swarmd, verb, timeout_s=70, blade=machine.name, boot=machine.boot, **fields)

    def _answers(self) -> bool:
        try:
            rpc.call(self.state.swarmd, "nothing", timeout_s=5)
        except ControlError as error:
            return error.what == "no such verb"
        return False

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, encoding="utf-8") as stream:
            for line in stream:
                event = events.decode(line)
                assert event is not None and event.time > 0
                self.events.append(event)

    def swarm(self, blade: str = "") -> list[str]:
        return [event.action for event in self.events if isinstance(event, events.Swarm) and event.blade == blade]

    def leave(self, blade: str) -> list[events.Leave]:
        return [event for event in self.events if isinstance(event, events.Leave) and event.blade == blade]


async def let_in(desk: SwarmDaemon, machines: Iterable[Machine]) -> None:
    """Let machines that have booted join, one after the other, as their tickets do."""
    for machine in machines:
        blade = {"blade": machine.name, "boot": machine.boot}
        body = (await desk.join({**blade, "cause": "power", "address": machine.address}))["body"]
        await asyncio.to_thread(post_join, machine, body)
        await desk.joined(blade)


async def three_managers(desk: SwarmDaemon, fleet: Fleet, *, within_s: int) -> None:
    """Go round until the fleet's four nodes are Ready, three of them managers in reach, and no other is listed."""
    for _ in range(within_s):
        await desk.rounds.look()
        with engine(fleet.controller.sock) as docker:
            listed = cluster.nodes(docker)
        if len(listed) == 4 and quorum(listed) == Quorum(3, 3) and all(node.ready for node in listed):
            return
        await asyncio.sleep(1)
    pytest.fail(f"not in order within {within_s} s: {listed}")
