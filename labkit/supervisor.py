"""The supervisor: makes the lab's network, starts its parts, restarts what dies, and writes the events.

It parses no packet. In a virtual lab it is process 1 of a process namespace of its own, beside a network and a mount
namespace: when it dies, however it dies, the kernel ends everything it started and takes the network and the mounts
away. `labkit.up` starts it from outside and waits for its word on the descriptor named with ``--ready``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from labkit import events, images, labfile, rpc, stores
from labkit.chassis import bmc, network, qemu
from labkit.chassis.virtual import VirtualChassis, serial_port
from labkit.doctor import visit
from labkit.errors import ControlError, LabkitError, PowerError
from labkit.events import Event, LabEvent, Trouble
from labkit.lab import Blade, ChassisKind, Lab, NetworkKind
from labkit.netboot.ports import open_sockets
from labkit.parts import Part, PartSpec, confined
from labkit.rehearse import stage
from labkit.state import State, owner_of
from labkit.stores import answers_unix
from labkit.stuck import Watch
from labkit.treeroot import engine_command

WATCH_EVERY_S = 2.0


class Supervisor:
    """One lab, from network to the last part."""

    def __init__(self, lab: Lab, state: State, host_net: int | None = None) -> None:
        self.lab = lab
        self.state = state
        self._host_net = host_net
        self.parts: dict[str, Part] = {}
        self.chassis: VirtualChassis | None = None
        self.down = asyncio.Event()
        self._owner = owner_of(state.path)
        past = list(events.read(state.events))
        self._seq = max((event.seq for event in past), default=0)
        self._watch = Watch(lab, past)
        self._file = state.events.open("a", encoding="utf-8", buffering=1)
        os.chown(state.events, *self._owner)
        self._events_read, self._events_write = os.pipe()

    # --- events ------------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Give an event its number and write it. Nothing else writes the stream."""
        self._seq += 1
        event = dataclasses.replace(event, seq=self._seq, time=event.time or time.time())
        self._file.write(events.encode(event) + "\n")
        self._watch.take(event)

    async def _watch_boots(self) -> None:
        """Tell of each blade that stands still, once a step of a boot."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            for event in self._watch.due(time.time()):
                self.emit(event)

    async def _read_events(self) -> None:
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._events_read, "rb", buffering=0)
        )
        while line := await reader.readline():
            self._take(line.decode(errors="replace"))

    def _take(self, line: str) -> None:
        try:
            event = events.decode(line)
        except ValueError as error:
            event = Trouble(part="supervisor", detail=f"{error}: {line[:200]!r}")
        if event is not None:
            self.emit(event)

    # --- start and stop ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring everything up. Raises LabkitError; what was started by then ends with this process."""
        self._keep = [asyncio.create_task(self._read_events()), asyncio.create_task(self._reap())]
        self._keep.append(asyncio.create_task(self._watch_boots()))
        self.emit(LabEvent(state="starting", detail=self.lab.name))
        virtual_chassis = self.lab.chassis.kind is ChassisKind.VIRTUAL
        if self.lab.network.kind is NetworkKind.VIRTUAL:
            bmcs = [blade.bmc.address for blade in self.lab.blades] if virtual_chassis else []
            network.make_bridge(self.lab, bmcs)
        await rpc.serve(rpc.listen(self.state.control, owner=self._owner), self._verbs())
        catalogue = images.catalogue(self.lab)
        if virtual_chassis:
            accelerator = qemu.find_accelerator(catalogue["labos/vmlinuz"])
            self.chassis = VirtualChassis(self.lab, self.state, accelerator, self.emit, self._new_boot)
        specs = [self._bootd(), *stores.parts(self.lab, self.state, host_net=self._host_net)]
        if self.lab.network.kind is NetworkKind.VIRTUAL:
            specs.append(self._engine())
        if virtual_chassis:
            for blade in self.lab.blades:
                network.make_tap(blade.slot)
            specs += [self._bmc(blade) for blade in self.lab.blades]
        await asyncio.gather(*(self._start(spec) for spec in specs))
        await self._start(self._swarmd())
        self.emit(LabEvent(state="up", detail=f"{len(self.parts)} parts"))

    async def stop(self) -> None:
        """Stop machines and parts in order, then say so."""
        if self.chassis is not None:
            await self.chassis.stop_all()
        await asyncio.gather(*(part.stop() for part in self.parts.values()))
        self.emit(LabEvent(state="down"))
        for path in self.state.run.iterdir():
            with contextlib.suppress(OSError):
                path.unlink()

    async def _start(self, spec: PartSpec) -> None:
        part = Part(spec, self.emit)
        self.parts[spec.name] = part
        await part.start()

    async def _reap(self) -> None:
        """As process 1 we inherit orphans; collect the dead ones that are not children we wait for."""
        while os.getpid() == 1:
            await asyncio.sleep(2)
            known = {part.pid for part in self.parts.values()} | (self.chassis.pids() if self.chassis else set())
            with contextlib.suppress(ChildProcessError):
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if dead is not None and dead.si_pid not in known:
                    os.waitpid(dead.si_pid, os.WNOHANG)

    # --- parts -------------------------------------------------------------------------------------------------

    def _env(self) -> dict[str, str]:
        return {
            "LABKIT_LAB": str(self.lab.path),
            "LABKIT_STATE": str(self.state.path),
            "LABKIT_EVENTS_FD": str(self._events_write),
            "PYTHONUNBUFFERED": "1",
        }

    def _bootd(self) -> PartSpec:
        sockets = open_sockets(self.lab)
        handed = ",".join(f"{name}={sock.fileno()}" for name, sock in sockets.items())
        self._sockets = sockets  # ours as long as we live: bootd may die and get them again
        return PartSpec(
            name="bootd",
            command=confined(self._owner, module="labkit.netboot.bootd"),
            log=self.state.logs / "bootd.log",
            env={**self._env(), "LABKIT_FDS": handed},
            pass_fds=[self._events_write, *(sock.fileno() for sock in sockets.values())],
            ready=lambda: answers_unix(self.state.bootd),
        )

    def _swarmd(self) -> PartSpec:
        return PartSpec(
            name="swarmd",
            command=confined(self._owner, module="labkit.swarm.desk"),
            log=self.state.logs / "swarmd.log",
            env=self._env(),
            pass_fds=[self._events_write],
            ready=lambda: answers_unix(self.state.swarmd),
        )

    def _engine(self) -> PartSpec:
        async def plug_in(pid: int) -> None:
            await asyncio.to_thread(network.make_engine_link, self.lab, pid)

        async def ready() -> bool:
            if not await answers_unix(self.state.docker):
                return False
            os.chown(self.state.docker, *self._owner)
            return True

        return PartSpec(
            name="engine",
            command=engine_command(
                images.tree(), self.state, registry=self.lab.network.registry, mirror=self.lab.mirror
            ),
            log=self.state.logs / "engine.log",
            after_start=plug_in,
            ready=ready,
            ready_s=60,
        )

    def _bmc(self, blade: Blade) -> PartSpec:
        command = bmc.write_config(
            self.state.keys / f"bmc{blade.slot}",
            blade,
            password=self.state.bmc_password,
            control=self.state.control,
            serial_port=serial_port(blade.slot),
        )
        return PartSpec(name=f"bmc{blade.slot}", command=command, log=self.state.logs / f"bmc{blade.slot}.log")

    async def _new_boot(self, blade: Blade) -> None:
        await rpc.acall(self.state.bootd, "power_on", timeout_s=10, blade=blade.name)

    # --- the control API ---------------------------------------------------------------------------------------

    def _verbs(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
        return {
            "status": self._status,
            "emit": self._emit_verb,
            "down": self._down,
            "slot_power": self._slot_power,
            "slot_set": self._slot_set,
            "collect": self._collect,
            "rehearse": self._rehearse,
            "ask_dhcp": self._ask_dhcp,
        }

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        """The lab, its parts with their process ids, and whether each slot of a virtual chassis is on."""
        slots = {blade.name: self.chassis.is_on(blade.slot) for blade in self.lab.blades} if self.chassis else {}
        return {
            "lab": str(self.lab.path),
            "name": self.lab.name,
            "parts": {name: part.pid for name, part in self.parts.items()},
            "on": slots,
            "accelerator": self.chassis.machine(self.lab.blades[0]).accelerator if self.chassis else "",
            "events": self._seq,
        }

    async def _emit_verb(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write an event a client saw: ``{"event": {"kind": …}}``."""
        self._take(json.dumps(request["event"]))
        return {"seq": self._seq}

    async def _down(self, request: dict[str, Any]) -> dict[str, Any]:
        self.down.set()
        return {}

    def _slots(self) -> VirtualChassis:
        if self.chassis is None:
            raise PowerError("this lab's chassis is not virtual", fix="its BMCs answer for themselves")
        return self.chassis

    async def _slot_power(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"on": self._slots().is_on(int(request["slot"]))}

    async def _slot_set(self, request: dict[str, Any]) -> dict[str, Any]:
        await self._slots().press(int(request["slot"]), str(request["button"]), int(request["value"]))
        return {}

    async def _collect(self, request: dict[str, Any]) -> dict[str, Any]:
        """Free what nothing in the registry names, into which nobody can push meanwhile → ``{"freed_b": bytes}``."""
        async with self.parts["registry-push"].held():
            return {"freed_b": await stores.collect(self.state)}

    async def _rehearse(self, request: dict[str, Any]) -> dict[str, Any]:
        """Walk a blade's boot by packets: ``{"blade", "firmware"}`` → ``{"lines": [{"step", …}, …, {"ok", …}]}``."""
        blade = self.lab.blade(str(request["blade"]))
        if self.chassis is not None and self.chassis.is_on(blade.slot):
            raise ControlError(f"{blade.name} is on", fix=f"labkit why {blade.name} tells of its boot")
        return {"lines": await stage.rehearse(self.lab, self.state, blade, str(request["firmware"]), self._owner)}

    async def _ask_dhcp(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask the lab's network which other DHCP servers are there → ``{"answers": [{"client", "server", …}]}``."""
        return {"answers": await visit.ask_dhcp(network.link_of(self.lab), self._owner)}


async def supervise(lab: Lab, state: State, ready: int, host_net: int | None = None) -> None:
    """Run a lab until it is told to go down. ``ready`` is a descriptor that gets one JSON line: up, or why not."""
    supervisor = Supervisor(lab, state, host_net)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.down.set)
    word: dict[str, Any] = {"ok": True}
    try:
        await supervisor.start()
    except LabkitError as error:
        word = {"ok": False, "what": error.what, "fix": error.fix, "where": error.where}
    with os.fdopen(ready, "w") as stream:
        stream.write(json.dumps(word) + "\n")
    if word["ok"]:
        await supervisor.down.wait()
    await supervisor.stop()


def main(arguments: list[str] | None = None) -> int:
    """``python -m labkit.supervisor --lab FILE --state FOLDER --ready FD``; waits for "go" on standard input."""
    parser = argparse.ArgumentParser(prog="labkit.supervisor")
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--host-net", type=int, help="a descriptor of the network the lab was brought up from")
    options = parser.parse_args(arguments)
    if sys.stdin.readline() != "go\n":
        return 1  # whoever started us is gone, and with it the network we were to get
    asyncio.run(supervise(labfile.load(options.lab), State(options.state), options.ready, options.host_net))
    return 0


if __name__ == "__main__":
    sys.exit(main())
