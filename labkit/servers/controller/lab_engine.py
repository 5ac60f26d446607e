"""The lab's own engine, a part of the lab, where its swarm needs more of it than to run: a new certificate, or the
address that it had before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from labkit import images
from labkit.errors import ControlError, LabkitError
from labkit.lab import Lab
from labkit.lab.process import rpc
from labkit.lab.state import State, write_whole
from labkit.machines.virtual import network
from labkit.servers.parts.bundled import engine_command
from labkit.servers.parts.processes import Part, PartSpec
from labkit.swarm.recovery import backup, renew


class LabEngine:
    """The engine as a part of the supervisor's, and what it does for ``./lab swarm recover`` and ``move``.

    A second address of its card stands in a file beside the engine's folder, and is there at each start.
    """

    def __init__(self, lab: Lab, state: State) -> None:
        self._lab, self._state = lab, state
        self._data = state.data / "engine"
        self._second = self._data.with_name("engine-address")
        self._under_way = False

    def spec(self, owner: tuple[int, int]) -> PartSpec:
        """How the engine is run. Its socket is for ``owner``, the user and the group that may speak to it."""
        lab, state = self._lab, self._state

        async def ready() -> bool:
            if not await rpc.listens(state.docker):
                return False
            os.chown(state.docker, *owner)
            state.docker.chmod(0o660)
            return True

        return PartSpec(
            name="engine",
            sandbox=engine_command(images.tree(), state, registry=lab.network.registry, mirror=lab.mirror),
            log=state.logs / "engine.log",
            prepare=self.prepare,
            plug_in=self.plug_in,
            ready=ready,
            ready_s=60,
        )

    def verbs(self, parts: Mapping[str, Part]) -> dict[str, rpc.Handler]:
        """What the supervisor is asked on behalf of ``./lab swarm``. Each starts the engine anew.

        ``renew_swarm`` → ``{"copy": folder}``; ``engine_address {"address"}``, none for an empty one → the same. Only
        ``swarm_locked`` → ``{"locked": whether its state is locked with a key}`` does not: it reads a file of root's.
        """

        def engine() -> Part:
            if "engine" not in parts:
                raise ControlError("this lab has no engine of its own", fix="a real lab's is this machine's own Docker")
            return parts["engine"]

        async def renew_swarm(request: dict[str, Any]) -> dict[str, Any]:
            return {"copy": str(await self.renew_swarm(engine()))}

        async def engine_address(request: dict[str, Any]) -> dict[str, Any]:
            second = str(IPv4Address(str(request["address"]))) if request["address"] else ""
            return {"copy": str(await self.readdress(engine(), second))}

        async def swarm_locked(request: dict[str, Any]) -> dict[str, Any]:
            return {"locked": backup.is_locked(self._data)}

        return {"renew_swarm": renew_swarm, "engine_address": engine_address, "swarm_locked": swarm_locked}

    def prepare(self) -> None:
        """Before each start of the engine: its folder is there, and nothing is left of a renewal that was cut off."""
        self._data.mkdir(parents=True, exist_ok=True)
        if not self._under_way:
            renew.put_back(self._data)

    async def plug_in(self, pid: int) -> None:
        """Give the engine's process its network card, with all its addresses."""
        second = self._second.read_text().split() if self._second.exists() else []
        await asyncio.to_thread(network.make_engine_link, self._lab, pid, second)

    async def renew_swarm(self, engine: Part) -> Path:
        """Bring the swarm back; the folder of the copy that was taken before. Raises LabkitError, and the engine is as
        it was then."""
        from labkit.swarm.recovery.recover import take_up  # brings the Docker SDK, which nobody needs before

        self._under_way = True
        try:
            async with engine.held():
                copy = await asyncio.to_thread(renew.set_aside, self._data)
            address = str(self._lab.network.controller)
            await asyncio.to_thread(take_up, self._state.docker, advertise=address, copy=copy)
            renew.carried_through(self._data)
        except LabkitError:
            self._under_way = False
            async with engine.held():
                pass  # what `prepare` does
            raise
        finally:
            self._under_way = False
        return copy

    async def readdress(self, engine: Part, second: str) -> Path:
        """Start the engine anew with ``second`` as another address of its card, none for an empty one; the folder of a
        copy of the swarm's state. Raises LabkitError."""
        async with engine.held():
            copy = await asyncio.to_thread(renew.keep_copy, self._data)
            write_whole(self._second, f"{second}\n")
        return copy
