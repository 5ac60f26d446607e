"""What the parts of our own, bootd, configd, sensord and swarmd, and the BMCs of virtual slots are started with."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from labkit import images
from labkit.lab import Blade, Lab, NetworkKind
from labkit.lab.hardware import BUILDS
from labkit.lab.process import rpc
from labkit.lab.process.handover import VARIABLE
from labkit.lab.state import State, owner_of
from labkit.machines.host.sandbox import Sandbox, User, Users, give, of_python, package_copy, python_paths
from labkit.machines.virtual import bmc
from labkit.machines.virtual.chassis import ipmi_port, serial_port
from labkit.machines.virtual.slots import Slots
from labkit.netboot.ports import open_sockets
from labkit.netboot.settings import Settings
from labkit.servers.parts.handed import Handed
from labkit.servers.parts.processes import PartSpec


class Specs:
    """The specs of a lab's parts, each made once. ``events`` is the descriptor into which they write their events.

    What they are handed, sockets and values, stays open as long as this process lives: a part may die and get it again.
    """

    def __init__(self, lab: Lab, state: State, users: Users, events: int) -> None:
        self._lab, self._state, self._users, self._events = lab, state, users, events
        self._owner = owner_of(state.path)
        self._handed = Handed()
        self._sockets: list[socket.socket] = []

    def bootd(self) -> PartSpec:
        """The boot server, with the ports that it needs. Raises MachineError where another program has one."""
        user, state = self._users.of("bootd"), self._state
        sockets = {**open_sockets(self._lab), "control": self.listen(state.bootd)}
        shows = (state.run, *images.shown_to_servers(self._lab))
        sandbox = of_python("labkit.netboot.bootd", user=user, shows=shows, writes=(state.books,))
        spec = self._own("bootd", state.bootd, sandbox, sockets, lambda: Settings.of(self._lab, state))
        return replace(spec, prepare=lambda: give(state.books, user))

    def configd(self) -> PartSpec:
        """The reader of the configs that a person wrote, as their owner."""
        control, sandbox = self._state.configd, of_python("labkit.netboot.configd", user=User(*self._owner))
        return self._own("configd", control, sandbox, {"control": self.listen(control, "bootd")}, lambda: self._lab)

    def sensord(self) -> PartSpec:
        """Who asks the controllers of real blades what they measure, as the lab's owner, whose passwords it reads."""
        control, sandbox = self._state.sensord, of_python("labkit.machines.power.sensord", user=User(*self._owner))
        return self._own("sensord", control, sandbox, {"control": self.listen(control, "bootd")}, lambda: self._lab)

    def swarmd(self) -> PartSpec:
        """It may speak to the engine: the lab's own lets it, and to this machine's it speaks as those of its group."""
        user, control = self._users.of("swarmd"), self._state.swarmd
        if self._lab.network.kind is NetworkKind.INTERFACE:
            engine = self._state.manager_socket(self._lab)
            user = replace(user, groups=(engine.stat().st_gid,) if engine.exists() else ())
        sandbox = of_python("labkit.swarm.swarmd", user=user, shows=(self._state.run,))
        return self._own("swarmd", control, sandbox, {"control": self.listen(control, "bootd")}, lambda: self._lab)

    def bmc(self, blade: Blade) -> PartSpec:
        """The BMC of a virtual slot. Its folder is written at once."""
        folder, user = self._state.data / f"bmc{blade.slot}", self._users.of("bmc")
        serial, ipmi = serial_port(blade.slot), ipmi_port(blade.slot) if BUILDS[blade.hardware].has_ipmi else None
        password, control = self._state.bmc_password, self._state.slots
        command = bmc.write_config(
            folder, blade, password=password, control=control, serial_port=serial, ipmi_port=ipmi
        )
        shows = (*python_paths(), str(self._state.slots))  # for the script of its buttons
        sandbox = Sandbox(tuple(command), user, ("net_bind_service",), shows=shows, copied=package_copy())
        log = self._state.logs / f"bmc{blade.slot}.log"
        return PartSpec(name=f"bmc{blade.slot}", sandbox=sandbox, log=log, prepare=lambda: give(folder, user))

    def redfish(self) -> PartSpec:
        """The virtual slots that answer Redfish, all in one process, which is as shut in as one that answers IPMI."""
        user, state = self._users.of("bmc"), self._state
        module, rights = "labkit.machines.virtual.redfish", ("net_bind_service",)
        sandbox = of_python(module, user=user, capabilities=rights, shows=(state.slots,))
        sockets = {"control": self.listen(state.redfish)}
        return self._own("redfish", state.redfish, sandbox, sockets, lambda: Slots.of(self._lab, state))

    def listen(self, path: Path, who: str = "") -> socket.socket:
        """A listening socket of the lab's owner, to which one of the parts' users may speak as well."""
        user, group = self._owner
        return rpc.listen(path, mode=0o660, owner=(user, self._users.of(who).gid if who else group))

    async def hand(self, lab: Lab) -> list[str]:
        """Hand the parts of our own another lab; those that did not answer, which get it when they start again."""
        self._lab = lab
        return await self._handed.anew()

    def _own(
        self, name: str, control: Path, sandbox: Sandbox, sockets: dict[str, socket.socket], given: Callable[[], object]
    ) -> PartSpec:
        value = self._handed.lay(name, control, given)
        self._sockets += sockets.values()
        return PartSpec(
            name=name,
            sandbox=sandbox,
            log=self._state.logs / f"{name}.log",
            env={
                "LABKIT_STATE": str(self._state.path),
                "LABKIT_EVENTS_FD": str(self._events),
                "LABKIT_FDS": ",".join(f"{name}={sock.fileno()}" for name, sock in sockets.items()),
                "PYTHONUNBUFFERED": "1",
                VARIABLE: str(value),
            },
            pass_fds=[value, self._events, *(sock.fileno() for sock in sockets.values())],
            ready=lambda: rpc.answers(control),
        )
