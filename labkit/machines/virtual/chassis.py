"""The virtual chassis: a QEMU machine behind each slot's power button.

Lives in the supervisor. It never looks inside a machine: a blade that shuts itself down simply ends, as a real one goes
dark, and a reboot goes through the firmware again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from labkit.errors import LabkitError, PowerError
from labkit.events import CUT, Event, Power, Trouble
from labkit.lab import Blade, FirmwareKind, Lab
from labkit.lab.state import State, owner_of
from labkit.machines.host.sandbox import Sandbox, User, give, spawn
from labkit.machines.virtual.disks import disk_file, ensure_disk
from labkit.machines.virtual.qemu import KVM, TUN, Machine

START_S = 30.0
ANSWER_S = 5.0
Command = tuple[str, Mapping[str, object]]
"""A command of QMP with its arguments."""

Before = Callable[[Blade], Awaitable[None]]


def serial_port(slot: int) -> int:
    """The TCP port of a slot's serial line on the lab's own loopback."""
    return 6000 + slot


def ipmi_port(slot: int) -> int:
    """The TCP port of a slot's controller, towards its blade's own system, on the lab's own loopback."""
    return 6100 + slot


class VirtualChassis:
    """The slots of a virtual lab.

    The machines run as ``user``. ``emit`` takes what happens; ``before_boot`` is awaited before a machine starts or
    resets, so that the boot server knows that a new boot begins.
    """

    def __init__(
        self,
        lab: Lab,
        state: State,
        user: User,
        accelerator: str,
        emit: Callable[[Event], None],
        before_boot: Before,
    ) -> None:
        self._blades = {blade.slot: blade for blade in lab.blades}
        self._state = state
        self._folder = give(state.data / "chassis", user)
        self._user = user
        self.accelerator = accelerator
        self._emit = emit
        self._before_boot = before_boot
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self._buttons = {slot: asyncio.Lock() for slot in self._blades}

    def is_on(self, slot: int) -> bool:
        """Whether a machine runs behind the slot. Raises PowerError for a slot without a blade."""
        self._blade(slot)
        return slot in self._running

    def has(self, slot: int) -> bool:
        """Whether a blade is in the slot."""
        return slot in self._blades

    def check_free(self, blade: Blade) -> None:
        """Raise PowerError where another machine than this blade is on in its slot."""
        there = self._blades.get(blade.slot)
        if blade.slot in self._running and there is not None and _cables(there) != _cables(blade):
            what = f"slot {blade.slot}, which is to be {blade.name}'s, has a machine that is on: that was {there.name}"
            raise PowerError(what, fix=f"./lab forget {blade.name}, and adopt it with --slot; or ./lab down, ./lab up")

    def put_in(self, blade: Blade) -> bool:
        """Have a blade in its slot; False where it is that machine which is on there, and so has its cables."""
        self._blades[blade.slot] = blade
        self._buttons.setdefault(blade.slot, asyncio.Lock())
        return blade.slot not in self._running

    def take_out(self, blade: Blade) -> bool:
        """Have a blade's slot empty; False where its machine is on, which stays there as it is."""
        if blade.slot in self._running:
            return False
        self._blades.pop(blade.slot, None)
        return True

    async def press(self, slot: int, button: str, value: int) -> None:
        """A BMC's button: ``power`` (1 or 0), ``reset``, ``shutdown`` (the soft button).

        Raises PowerError for a slot without a blade, or a machine that does not start.
        """
        blade = self._blade(slot)
        async with self._buttons[slot]:  # a machine that is just being started is not started twice
            await self._press(blade, button, value)

    async def _press(self, blade: Blade, button: str, value: int) -> None:
        slot = blade.slot
        if button == "power" and value:
            await self._start(blade)
        elif button == "power":
            await self._stop(blade)
        elif slot not in self._running:
            return
        elif button == "reset":
            await self._before_boot(blade)
            await self._monitor(blade, "system_reset")
            self._emit(Power(blade=blade.name, state="reset"))
        elif button == "shutdown":
            self._emit(Power(blade=blade.name, state="soft-off"))
            await self._monitor(blade, "system_powerdown")

    async def stop_all(self) -> None:
        """Pull every plug."""
        for slot in list(self._running):
            await self._stop(self._blades[slot])

    def _blade(self, slot: int) -> Blade:
        blade = self._blades.get(slot)
        if blade is None:
            raise PowerError(f"slot {slot} is empty")
        return blade

    def machine(self, blade: Blade) -> Machine:
        """How a blade's machine is started."""
        return Machine(
            blade=blade,
            accelerator=self.accelerator,
            monitor=self._socket(blade),
            console_log=self._state.console(blade.name),
            serial_port=serial_port(blade.slot),
            ipmi_port=ipmi_port(blade.slot),
            variables=self._folder / f"blade{blade.slot}.{blade.firmware}.vars",  # with keys or without
            disk=disk_file(blade, self._state.disks),
        )

    def _socket(self, blade: Blade) -> Path:
        return self._folder / f"blade{blade.slot}.qmp"

    async def _start(self, blade: Blade) -> None:
        if blade.slot in self._running:
            return
        try:
            ensure_disk(blade, self._state.disks, self._user)
        except LabkitError as error:  # over IPMI nobody hears more than that it is still off
            detail = f"{error.what} ({error.where})"
            self._emit(Trouble(blade=blade.name, part="chassis", detail=detail, fix=error.fix))
            raise
        await self._before_boot(blade)
        log_path = self._state.logs / f"{blade.name}.qemu.log"
        console = self._state.console(blade.name)
        console.touch()
        log_path.touch()
        os.chown(log_path, *owner_of(self._state.path))
        machine = self.machine(blade)
        if blade.firmware is not FirmwareKind.BIOS and not machine.variables.exists():
            shutil.copyfile(
                machine.fresh_variables, machine.variables
            )  # kept while the lab is up, as a board keeps them
            os.chown(machine.variables, self._user.uid, self._user.gid)
        os.chown(console, self._user.uid, self._user.gid)  # it alone writes there; the lab's owner reads
        machine.monitor.unlink(missing_ok=True)
        sandbox = Sandbox(
            tuple(machine.command()), self._user,
            writes=(str(console), str(self._folder), *([str(machine.disk)] if machine.disk is not None else [])),
            devices=(str(TUN), str(KVM)) if self.accelerator == "kvm" else (str(TUN),),
            work=str(self._state.roots / f"blade{blade.slot}"),
        )  # fmt: skip
        with log_path.open("ab") as log:
            process = await spawn(sandbox, stdout=log, stderr=log)
        links = [("set_link", {"name": card, "up": False}) for card in machine.unplugged]
        if not await self._runs(blade, process, [*links, ("cont", {})] if links else []):
            raise PowerError(
                f"its machine did not start: {log_path.read_text(errors='replace').strip()[-300:]}", where=blade.name
            )
        self._running[blade.slot] = process
        self._emit(Power(blade=blade.name, state="on"))
        watch = asyncio.create_task(self._watch(blade, process))
        self._watching.add(watch)
        watch.add_done_callback(self._watching.discard)

    async def _runs(self, blade: Blade, process: asyncio.subprocess.Process, commands: Sequence[Command]) -> bool:
        """Whether a machine that was started runs: its monitor greets once it does. It is told ``commands`` at once."""
        try:
            async with asyncio.timeout(START_S):
                while process.returncode is None:
                    with contextlib.suppress(OSError):
                        reader, writer = await asyncio.open_unix_connection(self._socket(blade))
                        with contextlib.closing(writer):
                            if await reader.readline():
                                await tell(reader, writer, commands)
                                return True
                    await asyncio.sleep(0.02)
        except (TimeoutError, PowerError):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        return False

    async def _watch(self, blade: Blade, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        if self._running.get(blade.slot) is process:
            del self._running[blade.slot]
            died = f"its machine ended with status {process.returncode}, logs/{blade.name}.qemu.log may say why"
            detail = died if process.returncode else "shut itself down"
            self._emit(Power(blade=blade.name, state="off", detail=detail))

    async def _stop(self, blade: Blade) -> None:
        process = self._running.pop(blade.slot, None)
        if process is None:
            return
        process.kill()
        await process.wait()
        self._emit(Power(blade=blade.name, state="off", detail=CUT))

    async def _monitor(self, blade: Blade, command: str) -> None:
        """Tell a machine that runs something."""
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket(blade))
            with contextlib.closing(writer):
                await asyncio.wait_for(reader.readline(), ANSWER_S)
                await tell(reader, writer, [(command, {})])
        except (OSError, TimeoutError) as error:
            raise PowerError(f"its machine does not answer: {error}", where=blade.name) from None


def _cables(blade: Blade) -> tuple[object, ...]:
    """What a machine that is on has for good: its cards, and the BMC of its slot."""
    return blade.macs, blade.plugged, blade.bmc


async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Sequence[Command]) -> None:
    """Have commands done over QMP, one after the other, once it has greeted (docs/interop/qmp-spec).

    Raises OSError or TimeoutError when the machine ends or is silent, and PowerError when it refuses one.
    """
    for name, arguments in (("qmp_capabilities", {}), *commands) if commands else ():
        writer.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        answer: Mapping[str, object] = {}
        while not answer.keys() & {"return", "error"}:  # events come in between
            line = await asyncio.wait_for(reader.readline(), ANSWER_S)
            if not line:
                raise ConnectionResetError("it closed its monitor")
            answer = json.loads(line)
        if "error" in answer:
            raise PowerError(f"its machine refused {name}: {answer['error']}")
