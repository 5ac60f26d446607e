"""The supervisor: makes the lab's network, starts its parts, restarts what dies, and writes the events.

It parses no packet. In a virtual lab it is process 1 of a process namespace of its own, beside a network and a mount
namespace: when it dies, however it dies, the kernel ends everything it started and takes the network and the mounts
away. `labkit.servers.lifecycle` starts it from outside and waits for its word on the descriptor named with ``--ready``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit import events, images
from labkit.diagnosis.doctor import examination
from labkit.diagnosis.listeners import ASK_S, Answers, ask_all, listeners
from labkit.diagnosis.rehearsal import namespaces
from labkit.errors import ControlError, LabkitError, PowerError
from labkit.events import LabEvent
from labkit.events.watchdog import Vital
from labkit.lab import Blade, ChassisKind, Lab, NetworkKind, lab_yaml
from labkit.lab.changes import Changes
from labkit.lab.process import faults, rpc
from labkit.lab.state import State, owner_of
from labkit.machines.host import uplink
from labkit.machines.host.sandbox import Users
from labkit.machines.virtual import network, qemu
from labkit.machines.virtual.chassis import VirtualChassis
from labkit.machines.virtual.consoles import Consoles
from labkit.machines.virtual.slots import of_redfish
from labkit.servers.changed_lab import take_in
from labkit.servers.controller.lab_engine import LabEngine
from labkit.servers.controller.lock_keeper import LockKeeper
from labkit.servers.controller.lone_start import ensure_leader
from labkit.servers.event_writer import EventWriter
from labkit.servers.inventories import copy_out
from labkit.servers.logs import trim
from labkit.servers.parts import storage
from labkit.servers.parts.processes import Part, PartSpec
from labkit.servers.parts.specs import Specs
from labkit.servers.unresponsive import Silences

WATCH_EVERY_S = 2.0
REAP_EVERY_S = 2.0
ASK_EVERY_S = 5.0
ANEW_S = 1.0


class Supervisor:
    """One lab, from network to the last part; ``lab`` as its file says it."""

    def __init__(self, lab: Lab, state: State, users: Users, host_net: int | None = None) -> None:
        self._started = self._known = lab
        self.lab = lab = uplink.completed(lab)
        self.state = state
        self.users = users
        self._host_net = host_net
        self.parts: dict[str, Part] = {}
        self.chassis: VirtualChassis | None = None
        self.down = asyncio.Event()
        self._owner = owner_of(state.path)
        self.writer = EventWriter(lab, state)
        self.emit = self.writer.emit
        self.specs = Specs(lab, state, users, self.writer.pipe)
        self._vital = Vital("supervisor", self.emit, leave=None)
        self._listeners = listeners(lab, state)
        self._consoles = Consoles(self._console_files())
        self._silences = Silences()
        self._answers: Answers = {}
        self._lab_engine = LabEngine(lab, state)
        self._lock_keeper = LockKeeper(lab, state, self.emit)
        self._reloading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    # --- what it does again and again ----------------------------------------------------------------------------

    async def _forever(self, what: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Do a task of our own, and begin it anew when it dies: if we ended instead, all of the lab would."""
        while True:
            try:
                return await loop()
            except Exception as error:
                self._vital.tell(f"{what} died and begins anew", error)
            await asyncio.sleep(ANEW_S)

    async def _watch_boots(self) -> None:
        """Tell of each blade that stands still, once a step of a boot, and of what its console says of itself; and have
        one held that boots in a circle.
        """
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            for name, why in self.writer.watch.circling():
                with contextlib.suppress(LabkitError):  # the boot server is away: it is asked again
                    await rpc.acall(self.state.bootd, "hold", timeout_s=10, blade=name, why=why)
            self.writer.tell_clock()  # before it is asked how long anybody has been standing
            for event in [*self._consoles.read(), *self.writer.watch.due(time.time())]:
                self.emit(event)
            trim(self.state.logs)
            if names := dict.fromkeys(self.writer.inventoried):
                self.writer.inventoried = []
                self.writer.inventoried += await copy_out(self.state, names)

    async def _ask_parts(self) -> None:
        """Ask every listener again and again; a part that does not answer for long is ended, and `Part` restarts it."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            await self._ask_round()

    async def _ask_round(self) -> None:
        pids = {name: part.pid for name, part in self.parts.items()}
        await self._ask()
        told, ended = self._silences.take(self._answers, pids, time.monotonic())
        for event in told:
            self.emit(event)
        for name in ended:
            if name in self.parts and self.parts[name].pid == pids[name]:
                os.kill(pids[name], signal.SIGKILL)
        with contextlib.suppress(LabkitError):  # then nobody can read its numbers either
            await rpc.acall(self.state.bootd, "answers", timeout_s=ASK_S, answers=self._answers)

    async def _ask(self) -> None:
        running = [one for one in self._listeners if one.part in self.parts and self.parts[one.part].pid]
        self._answers = await ask_all(running)

    # --- start and stop ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Bring everything up. Raises LabkitError; what was started by then ends with this process."""
        asyncio.get_running_loop().set_exception_handler(self._vital.reported)
        self._begin("reading the parts' events", self.writer.read_parts)
        self._begin("collecting dead processes", self._reap)
        self._begin("watching the boots", self._watch_boots)
        self.emit(LabEvent(state="starting", detail=self.lab.name))
        virtual_chassis = self.lab.chassis.kind is ChassisKind.VIRTUAL
        if self.lab.network.kind is NetworkKind.VIRTUAL:
            bmcs = [blade.bmc.address for blade in self.lab.blades] if virtual_chassis else []
            network.make_bridge(self.lab, bmcs)
        if virtual_chassis:
            accelerator = qemu.find_accelerator(images.kernel())
            slots = self.users.of("chassis")
            self.chassis = VirtualChassis(self.lab, self.state, slots, accelerator, self.emit, self._new_boot)
            await rpc.serve(self.specs.listen(self.state.slots, "bmc"), self._slot_verbs())
        specs = [self.specs.bootd(), self.specs.configd()]
        specs += [] if virtual_chassis else [self.specs.sensord()]
        specs += storage.parts(self.lab, self.state, self.users, host_net=self._host_net)
        if self.lab.network.kind is NetworkKind.VIRTUAL:
            specs.append(self._lab_engine.spec((self._owner[0], self.users.of("swarmd").gid)))
        if virtual_chassis:
            for blade in self.lab.blades:
                for card in blade.plugged:
                    network.make_tap(blade.slot, self.users.of("chassis").uid, card)
            specs += [self.specs.bmc(blade) for blade in self.lab.blades]
            specs += [self.specs.redfish()] if of_redfish(self.lab) else []
        await asyncio.gather(*(self._start(spec) for spec in specs))
        await self._lock_keeper.look()  # who finds the lab up finds its swarm unlocked, and with a leader
        await ensure_leader(self.lab, self.state, self.emit)
        await self._start(self.specs.swarmd())
        await self._ask_round()  # what has answered once and falls silent right after the start is ended like any other
        # Last, since who can ask for the lab's status takes it for one that is up.
        await rpc.serve(rpc.listen(self.state.control, owner=self._owner), self._verbs())
        self._begin("asking the parts", self._ask_parts)
        self._begin("keeping the swarm's key", self._lock_keeper.keep)
        self.emit(LabEvent(state="up", detail=f"{len(self.parts)} parts"))

    def _begin(self, what: str, loop: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(self._forever(what, loop)))

    async def stop(self) -> None:
        """Stop machines and parts in order, then say so."""
        if self.chassis is not None:
            await self.chassis.stop_all()
        await asyncio.gather(*(part.stop() for part in self.parts.values()))
        self.emit(LabEvent(state="down"))
        for path in self.state.run.iterdir():
            with contextlib.suppress(OSError):
                path.unlink()
        for log in self.state.logs.iterdir():
            os.chown(log, *self._owner, follow_symlinks=False)

    async def _start(self, spec: PartSpec) -> None:
        spec.log.touch()
        os.chown(spec.log, *self._owner)
        part = Part(spec, self.emit)
        self.parts[spec.name] = part
        await part.start()

    async def _reap(self) -> None:
        """As process 1 we inherit orphans; collect one that is still dead at the next look: ours have who waits."""
        before = 0
        while os.getpid() == 1:
            await asyncio.sleep(REAP_EVERY_S)
            with contextlib.suppress(ChildProcessError):
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if dead is not None and dead.si_pid == before:
                    os.waitpid(before, os.WNOHANG)
                before = dead.si_pid if dead is not None else 0

    async def _new_boot(self, blade: Blade) -> None:
        await rpc.acall(self.state.bootd, "power_on", timeout_s=10, blade=blade.name)

    def _console_files(self) -> dict[str, Path]:
        return {blade.name: self.state.console(blade.name) for blade in self.lab.blades}

    # --- blades that come and go ---------------------------------------------------------------------------------

    async def _reload(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take in the blades that the lab's file has gained and lost → ``{"added": [name…], "removed": [name…], "on":
        [name…], "off": [name…], "silent": [part…]}``. Refuses all other changes.

        In a virtual chassis ``on`` are blades that were removed, and whose machine stays on in its slot, ``off`` those
        that got a machine. ``silent`` are parts that did not answer, and learn of it when they are started anew.
        """
        async with self._reloading:
            new = await asyncio.to_thread(take_in.read, self.lab.path, self._owner)
            found = take_in.check(self._started, self._known, new)
            names = {"added": [blade.name for blade in found.added], "removed": [blade.name for blade in found.removed]}
            if found.added or found.removed:
                names |= await self._change_slots(found)
                self._known = new
                self.lab = self.writer.watch.lab = replace(self.lab, blades=new.blades, chassis=new.chassis)
                self._listeners = listeners(self.lab, self.state)
                self._consoles.follow(self._console_files())
                names["silent"] = await self.specs.hand(self.lab)
                if self.chassis is not None and of_redfish(self.lab) and "redfish" not in self.parts:
                    await self._start(self.specs.redfish())
                self.emit(events.Blades(added=tuple(names["added"]), removed=tuple(names["removed"])))
            return dict(names)

    async def _change_slots(self, found: Changes) -> dict[str, list[str]]:
        """Empty the slots of a virtual chassis that lost their blades, and fill those that gained one; ``on`` and
        ``off`` of `_reload`. Raises PowerError, before anything is changed, and MachineError."""
        if self.chassis is None:
            return {}
        for blade in found.added:
            self.chassis.check_free(blade)
        going = [blade for blade in found.removed if self.chassis.take_out(blade)]
        coming = [blade for blade in found.added if self.chassis.put_in(blade)]
        for blade in (*going, *coming):
            if part := self.parts.pop(f"bmc{blade.slot}", None):
                await part.stop()
            network.unplug_slot(blade)
        for blade in coming:
            network.plug_slot(blade, self.users.of("chassis").uid)
            await self._start(self.specs.bmc(blade))
        stay = [blade.name for blade in found.removed if blade not in going]
        return {"on": stay, "off": [blade.name for blade in coming]}

    # --- the control API ---------------------------------------------------------------------------------------

    def _verbs(self) -> dict[str, rpc.Handler]:
        return {
            "status": self._status,
            "emit": self._emit_verb,
            "down": self._down,
            "reload": self._reload,
            "collect": self._collect,
            "rehearse": self._rehearse,
            "ask_dhcp": self._ask_dhcp,
            **self._lab_engine.verbs(self.parts),
        }

    def _slot_verbs(self) -> dict[str, rpc.Handler]:
        return {"slot_power": self._slot_power, "slot_set": self._slot_set}

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        """The lab, its parts with their process ids, and whether each slot of a virtual chassis is on.

        ``answers`` (`Answers`) is at most some seconds old; with ``{"ask": true}`` all are asked now, which may take
        `ASK_S`. ``unwritten`` says how many events could not be written since one last could, and why.
        """
        if request.get("ask"):
            await self._ask()
        chassis = self.chassis
        there = [blade for blade in self.lab.blades if chassis is not None and chassis.has(blade.slot)]
        slots = {blade.name: chassis.is_on(blade.slot) for blade in there} if chassis is not None else {}
        return {
            "lab": str(self.lab.path),
            "name": self.lab.name,
            "parts": {name: part.pid for name, part in self.parts.items()},
            "answers": self._answers,
            "unwritten": self.writer.unwritten,
            "on": slots,
            "accelerator": chassis.accelerator if chassis is not None else "",
            "events": self.writer.seq,
        }

    async def _emit_verb(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write an event a client saw: ``{"event": {"kind": …}}``."""
        self.writer.take(json.dumps(request["event"]))
        return {"seq": self.writer.seq}

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
            return {"freed_b": await storage.collect(self.state, self.users.of("push"))}

    async def _rehearse(self, request: dict[str, Any]) -> dict[str, Any]:
        """Walk a blade's boot by packets: ``{"blade", "firmware"}`` → ``{"lines": [{"step", …}, …, {"ok", …}]}``."""
        blade = self.lab.blade(str(request["blade"]))
        if self.chassis is not None and self.chassis.is_on(blade.slot):
            raise ControlError(f"{blade.name} is on", fix=f"./lab why {blade.name} explains its boot")
        return {"lines": await namespaces.rehearse(self.lab, self.state, blade, str(request["firmware"]), self.users)}

    async def _ask_dhcp(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask the lab's network which other DHCP servers are there → ``{"answers": [{"client", "server", …}]}``."""
        return {"answers": await examination.ask_dhcp(self.lab.network.link, self.users.of("visitor"))}


async def supervise(lab: Lab, state: State, users: Users, ready: int, host_net: int | None = None) -> None:
    """Run a lab until it is told to go down. ``ready`` is a descriptor that gets one JSON line: up, or why not."""
    supervisor = Supervisor(lab, state, users, host_net)
    rpc.set_by_signals(supervisor.down)
    word: dict[str, Any] = {"ok": True}
    try:
        await supervisor.start()
    except Exception as error:
        known = faults.named(error, sys.argv, lambda: state.logs)
        word = {"ok": False, "what": known.what, "fix": known.fix, "where": known.where, "status": known.status}
    with os.fdopen(ready, "w") as stream:
        stream.write(json.dumps(word) + "\n")
    if word["ok"]:
        await supervisor.down.wait()
    await supervisor.stop()


def main(arguments: list[str] | None = None) -> int:
    """``python -m labkit.servers.supervisor --lab FILE --state FOLDER …``; waits for "go" on standard input."""
    parser = argparse.ArgumentParser(prog="labkit.servers.supervisor")
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--users", type=int, required=True, help="the first number of the parts' users")
    parser.add_argument("--host-net", type=int, help="a descriptor of the network the lab was brought up from")
    options = parser.parse_args(arguments)
    if sys.stdin.readline() != "go\n":
        return 1  # whoever started us is gone, and with it the network we were to get
    lab, state, users = lab_yaml.load(options.lab), State(options.state), Users(options.users)
    asyncio.run(supervise(lab, state, users, options.ready, options.host_net))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
