"""The swarm's keeper, ``python -m labkit.swarm.swarmd``: the one process that changes who is in the swarm.

The boot server asks it over a Unix socket (`labkit.lab.process.rpc`) on behalf of blades whose tickets it has checked:

==========================================  ==========================================================================
``join {blade, boot, cause, address}``      → ``{"body": …}``, the body for the engine's ``POST /swarm/join``
``joined {blade, boot}``                    the blade is in: labels are put on, ghosts retired, the token rotated
``leave {blade, boot}``                     drains the node, waits at most 60 s → ``{"moved": …, "stranded": …, …}``
``left {blade, boot}``                      removes the node, which would otherwise be listed as Ready for 13 s more
``member {blade, boot, swarm}``             → ``{"member": "yes" | "removed" | "another"}``, by its swarm's authority
``unlock {blade, boot}``                    → ``{"body": …}``, for the engine's ``POST /swarm/unlock`` on a manager
``refused {blade}``                         a ticket was refused: the tokens are rotated
``numbers {}``                              → ``{"numbers": [[name, labels, value], …]}``, at most `NUMBERS_S` old
``reload {}``                               the blades are those of the lab that it is handed now
==========================================  ==========================================================================

Beside that it makes its rounds (`labkit.swarm.rounds`), one a second.

It keeps nothing on disk. What must outlive it stands in the swarm itself: which boot a node belongs to (its engine's
labels), that its blade is leaving (a node label), and what a person set on a blade's node, for its next one (labels of
the swarm, `labkit.swarm.membership.node_settings`). So it can be killed at any time, and the engine as well.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker

from labkit.errors import ControlError, SwarmError
from labkit.events import Emitter, Event, Leave
from labkit.events.watchdog import Vital
from labkit.lab import Lab, Role
from labkit.lab.lab_yaml.network import MAX_SLOTS
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.swarm import cluster
from labkit.swarm.engine import api, ask, need_manager, read_local_swarm
from labkit.swarm.membership import autolock, joining, managers
from labkit.swarm.membership.leave import Drain, drain_node
from labkit.swarm.membership.tokens import JOINING_S
from labkit.swarm.node import find_node
from labkit.swarm.observe.numbers import Number, numbers
from labkit.swarm.observe.usage import usage
from labkit.swarm.rounds import Rounds
from labkit.swarm.services.all_services import look_at_all

NUMBERS_S = 5.0


class SwarmDaemon:
    """The keeper of one lab's swarm. ``sock`` is the socket of the controller's engine."""

    def __init__(self, lab: Lab, sock: Path, emit: Callable[[Event], None], *, joining_s: float = JOINING_S) -> None:
        self._sock, self._emit = sock, emit
        self._leaves: dict[tuple[str, str], asyncio.Task[dict[str, Any]]] = {}
        self.rounds = Rounds(lab, sock, emit, self._is_leaving, joining_s=joining_s)
        self._key: Secret | None = None
        self._number_lock = asyncio.Lock()
        self._numbers: list[Number] = []
        self._numbers_until = 0.0

    @property
    def verbs(self) -> dict[str, rpc.Handler]:
        return {
            "join": self.join,
            "joined": self.joined,
            "leave": self.leave,
            "left": self.left,
            "member": self.member,
            "unlock": self.unlock,
            "refused": self.refused,
            "numbers": self.numbers,
            "reload": self.reload,
        }

    async def join(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot = self._who(request)
        address = str(request["address"])
        async with self.rounds.token_lock:
            role = await ask(self._sock, lambda client: self._role(client, blade))
            if request.get("cause") == "pxe":
                await ask(self._sock, lambda client: _check_not_in(client, blade, boot))
            body = await ask(self._sock, lambda client: joining.join_body(client, role=role, address=address))
            availability = await ask(self._sock, lambda client: self.rounds.availability(client, blade))
            if availability != "active":  # or it would be given tasks before the next round took them away again
                body["Availability"] = availability
            self.rounds.tokens.redeemed(blade, boot, role, time.monotonic())
        return {"body": body}

    async def joined(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot = self._who(request)
        self.rounds.tokens.joined(blade, boot)
        self.rounds.boots[blade] = boot
        self.rounds.look_now.set()
        return {}

    async def leave(self, request: dict[str, Any]) -> dict[str, Any]:
        who = self._who(request)
        talk = self._leaves.get(who)
        if talk is None or (talk.done() and talk.exception() is not None):
            talk = self._leaves[who] = asyncio.create_task(self._drain(*who))
        return await asyncio.shield(talk)  # whoever asks again waits for the same drain

    async def left(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot = self._who(request)
        started = time.monotonic()
        node = await ask(self._sock, lambda client: find_node(cluster.nodes(client), blade, boot))
        name = node.id if node else self._left_as(blade, boot)
        self._emit(Leave(step="left", blade=blade, boot=boot, node=name))
        try:
            gone = node is not None and await ask(self._sock, lambda client: cluster.remove_node(client, node.id))
        except SwarmError as error:
            self._emit(Leave(step="failed", blade=blade, boot=boot, node=name, detail=error.what))
            raise
        took = time.monotonic() - started
        detail = "" if gone else "it was not on the list any more"
        self._emit(Leave(step="removed", blade=blade, boot=boot, node=name, seconds=round(took, 3), detail=detail))
        self.rounds.look_now.set()
        return {}

    def _left_as(self, blade: str, boot: str) -> str:
        """The node that a leave of this boot was about, when it is off the list before its blade says so."""
        talk = self._leaves.get((blade, boot))
        return str(talk.result()["node"]) if talk is not None and talk.done() and talk.exception() is None else ""

    async def member(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot, swarm = *self._who(request), request["swarm"]
        return {"member": await ask(self._sock, lambda client: joining.membership(client, blade, boot, swarm))}

    async def unlock(self, request: dict[str, Any]) -> dict[str, Any]:
        """A manager whose engine was started anew gets the swarm's key, the last one that was seen where it took the
        quorum with it."""
        blade, boot = self._who(request)
        if not self.rounds.lab.swarm.autolock:
            raise ControlError("lab.yaml does not say autolock: true", fix="unlock it by hand: docker swarm unlock")
        node = find_node((self.rounds.seen or {}).values(), blade, boot)
        if node is None or node.role != Role.MANAGER:
            raise ControlError(f"{blade} manages nothing in this boot", fix="only a manager is unlocked")
        try:
            self._key = await ask(self._sock, autolock.read_key)
        except SwarmError:
            if self._key is None:
                raise
        if self._key is None:
            raise ControlError(autolock.UNLOCKED, fix="nothing has to be unlocked")
        return {"body": {"UnlockKey": self._key.reveal()}}

    async def refused(self, request: dict[str, Any]) -> dict[str, Any]:
        self.rounds.tokens.refused()
        self.rounds.look_now.set()
        return {}

    async def reload(self, request: dict[str, Any]) -> dict[str, Any]:
        self.rounds.take_lab(take(Lab))
        self.rounds.look_now.set()
        return {}

    async def numbers(self, request: dict[str, Any]) -> dict[str, Any]:
        """The swarm in numbers. Who asks often gets the same ones: the engine is not asked more than is good for it."""
        async with self._number_lock:
            if time.monotonic() >= self._numbers_until:
                self._numbers = await ask(self._sock, _take_numbers)
                self._numbers_until = time.monotonic() + NUMBERS_S
            return {"numbers": self._numbers}

    def _role(self, client: docker.DockerClient, blade: str) -> Role:
        need_manager(client, settle_s=0)  # a blade waits, and asks again
        cluster.check_may_change(client, self.rounds.lab)
        return Role.MANAGER if blade in managers.chosen_managers(client, self.rounds.lab) else Role.WORKER

    async def _drain(self, blade: str, boot: str) -> dict[str, Any]:
        started = time.monotonic()
        state, node, name = Drain(), None, ""
        try:
            node = await ask(self._sock, lambda client: find_node(cluster.nodes(client), blade, boot))
            name = node.id if node else ""
            self._emit(Leave(step="asked", blade=blade, boot=boot, node=name))
            if node is not None:
                await self.rounds.note()
                state = await ask(self._sock, lambda client: drain_node(client, node))
        except SwarmError as error:
            self._emit(Leave(step="failed", blade=blade, boot=boot, node=name, detail=error.what))
            raise
        took = round(time.monotonic() - started, 3)
        step, detail = "failed" if state.waiting else "drained", str(state) if node else "this boot is not in the swarm"
        self._emit(Leave(step=step, blade=blade, boot=boot, node=name, seconds=took, detail=detail))
        return {"node": name, "seconds": took, "moved": state.moved,
                "stranded": state.stranded, "waiting": state.waiting}  # fmt: skip

    def _is_leaving(self) -> bool:
        """Whether a blade is leaving just now."""
        return not all(leave.done() for leave in self._leaves.values())

    def _who(self, request: dict[str, Any]) -> tuple[str, str]:
        blade, boot = request["blade"], request["boot"]
        if not isinstance(boot, str) or not boot or blade not in self.rounds.labels:
            raise ControlError(f"no such blade or boot: {blade!r}, {boot!r}", fix="the blades are those in lab.yaml")
        return blade, boot


def _check_not_in(client: docker.DockerClient, blade: str, boot: str) -> None:
    """A boot that nobody announced waits while its blade is still a Ready member: a neighbour may have made it up.

    A blade that lost its power is missed after three heartbeats, sooner than it has booted.
    """
    if any(node.ready and node.blade == blade and node.boot != boot for node in cluster.nodes(client)):
        raise SwarmError(f"{blade} is still Ready in the swarm from the boot before", fix="it is missed within 20 s")


def _take_numbers(client: docker.DockerClient) -> list[Number]:
    """The swarm's numbers; none where there is no swarm."""
    if not read_local_swarm(client, settle_s=0).answers:
        return []
    found = look_at_all(client)
    used = usage(api(client).nodes(), api(client).tasks())
    return numbers(found.nodes, found.states.values(), found.reasons(), used)


async def run(lab: Lab, state: State, sock: socket.socket, emit: Callable[[Event], None]) -> None:
    """Serve and watch until SIGTERM or SIGINT."""
    # Each blade that leaves holds a thread for up to a minute: all of a rack may do so at once.
    threads = ThreadPoolExecutor(max_workers=16 + 2 * MAX_SLOTS, thread_name_prefix="engine")
    asyncio.get_running_loop().set_default_executor(threads)
    stop = rpc.set_by_signals(asyncio.Event())
    daemon = SwarmDaemon(lab, state.manager_socket(lab), emit)
    server = await rpc.serve(sock, daemon.verbs)
    watching = asyncio.create_task(daemon.rounds.watch())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.close()
    watching.cancel()
    if watching.done() and not watching.cancelled():
        watching.result()  # it ends by itself only by a mistake of ours: let that be seen


def main() -> int:
    """Run with the lab that was handed over and the environment the supervisor gives its parts."""
    try:
        state = State(Path(os.environ["LABKIT_STATE"]))
        emit = Emitter(int(os.environ["LABKIT_EVENTS_FD"]))
        sock = rpc.handed_sockets()["control"]
        lab = take(Lab)
    except KeyError as error:
        print(f"the swarm desk is started by the lab's supervisor: {error} is not set", file=sys.stderr)
        return 2
    Vital("swarmd", emit).run(run(lab, state, sock, emit))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
