"""The key of a swarm that is locked: kept while the swarm answers, and used when the engine was started anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from labkit.errors import LabkitError, SwarmError
from labkit.events import Event, Trouble
from labkit.lab import Lab
from labkit.lab.state import State

LOOK_EVERY_S = 2.0
ANSWER_S = 20
"""How long the engine may take for one answer. One that was unlocked gives it when it leads its swarm."""
FIX = "./lab docker swarm unlock asks for the key; the lab keeps it then, and services are kept"


class LockKeeper:
    """What the supervisor does for ``autolock: true``: it may read the file, and swarmd may not.

    The lab's own engine and a real lab's are looked at alike: the one starts with the lab, the other whenever its
    machine's package is upgraded. A swarm that nobody has given into the lab's hands is left alone.
    """

    def __init__(self, lab: Lab, state: State, emit: Callable[[Event], None]) -> None:
        self._lab, self._state, self._emit = lab, state, emit
        self._told = ""

    async def keep(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Unlock the engine if it waits for a key that is kept, and keep the key that the swarm has. What cannot be
        done is told once."""
        if not self._lab.swarm.autolock and not self._state.unlock_keys.exists():
            return
        try:
            why = await asyncio.to_thread(self._look)
        except SwarmError:
            return  # the engine is just starting, or does not answer: `Part` and swarmd tell of that
        except LabkitError as error:
            why = error.what
        if why and why != self._told:
            self._emit(Trouble(part="engine", detail=why, fix=FIX))
        self._told = why

    def _look(self) -> str:
        """Why the engine stays locked; empty where it does not."""
        from labkit.swarm import cluster  # brings the Docker SDK, which no other lab's supervisor needs
        from labkit.swarm.engine import engine, read_local_swarm
        from labkit.swarm.membership import adoption, autolock

        sock = self._state.manager_socket(self._lab)
        if not sock.exists():
            return ""
        keys = autolock.KeptKeys(self._state.unlock_keys)
        with engine(sock, timeout_s=ANSWER_S) as client:
            held = keys.read()
            if autolock.waits(client) and not autolock.unlock(client, held):
                kept = f"none of the {len(held)} kept keys opens it" if held else "no key of it is kept"
                return f"the engine's swarm is locked, and {kept} ({keys.path})"
            if self._lab.swarm.autolock and read_local_swarm(client, settle_s=0).answers:
                labels, own_engine = cluster.swarm_labels(client), cluster.is_own_engine(self._lab)
                if adoption.may_change(labels, own_engine=own_engine):
                    autolock.keep(client, keys)
        return ""
