"""The swarm's keeper, ``python -m labkit.swarm.swarmd``: the one process that changes who is in the swarm.

The boot server asks it over a Unix socket (`labkit.lab.process.rpc`) on behalf of blades whose tickets it has checked:

==========================================  ==========================================================================
``join {blade, boot, cause, address}``      → ``{"body": …}``, the body for the engine's ``POST /swarm/join``
``joined {blade, boot}``                    the blade is in: labels are put on, ghosts retired, the token rotated
``leave {blade, boot}``                     drains the node, waits at most 60 s → ``{"moved": …, "stranded": …, …}``
``left {blade, boot}``                      removes the node, which would otherwise be listed as Ready for 13 s more
``refused {blade}``                         a ticket was refused: the tokens are rotated
==========================================  ==========================================================================

Beside that it looks at the nodes once a second, tells what changed as events, and does what `reconcile` says.

It keeps nothing on disk. What must outlive it stands in the swarm itself: which boot a node belongs to (its engine's
labels) and that its blade is leaving (a node label). So it can be killed at any time, and the engine as well.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import docker

from labkit.errors import ControlError, LabkitError, SwarmError
from labkit.events import Emitter, Event, Leave, Swarm, Trouble
from labkit.events.watchdog import Vital
from labkit.lab import Lab, Role
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.lab.state import State
from labkit.swarm import cluster
from labkit.swarm.engine import engine
from labkit.swarm.membership import managers
from labkit.swarm.membership.leave import BOUND_S, Drain, drain_node
from labkit.swarm.membership.reconcile import Action, PutLabels, Remove, Why, changes, joined_boots, reconcile
from labkit.swarm.membership.tokens import JOINING_S, Tokens
from labkit.swarm.node import Node, find_node, node_labels

T = TypeVar("T")

LOOK_EVERY_S = 1.0


class SwarmDaemon:
    """The keeper of one lab's swarm. ``sock`` is the socket of the controller's engine."""

    def __init__(
        self,
        lab: Lab,
        sock: Path,
        emit: Callable[[Event], None],
        *,
        leave_s: float = BOUND_S,
        joining_s: float = JOINING_S,
    ) -> None:
        self._sock = sock
        self._emit = emit
        self._leave_s = leave_s
        self._lab = lab
        self._labels = {blade.name: node_labels(lab, blade) for blade in lab.blades}
        self._tokens = Tokens(time.monotonic(), joining_s=joining_s)
        self._token_lock = asyncio.Lock()  # no token is handed out while it is being replaced
        self._leaves: dict[tuple[str, str], asyncio.Task[dict[str, Any]]] = {}
        self._boots: dict[str, str] = {}
        self._seen: dict[str, Node] | None = None
        self._swarm: bool | None = None
        self._complaint = ""
        self._look_now = asyncio.Event()

    @property
    def verbs(self) -> dict[str, rpc.Handler]:
        return {
            "join": self.join,
            "joined": self.joined,
            "leave": self.leave,
            "left": self.left,
            "refused": self.refused,
        }

    # What the boot server asks

    async def join(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot = self._who(request)
        address = str(request["address"])
        async with self._token_lock:
            role = await self._ask(lambda client: self._role(client, blade))
            if request.get("cause") == "pxe":
                await self._ask(lambda client: _check_not_in(client, blade, boot))
            body = await self._ask(lambda client: cluster.join_body(client, role=role, address=address))
            self._tokens.redeemed(blade, boot, role, time.monotonic())
        return {"body": body}

    async def joined(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot = self._who(request)
        self._tokens.joined(blade, boot)
        self._boots[blade] = boot
        self._look_now.set()
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
        node = await self._ask(lambda client: find_node(cluster.nodes(client), blade, boot))
        name = node.id if node else self._left_as(blade, boot)
        self._emit(Leave(step="left", blade=blade, boot=boot, node=name))
        try:
            gone = node is not None and await self._ask(lambda client: cluster.remove_node(client, node.id))
        except SwarmError as error:
            self._emit(Leave(step="failed", blade=blade, boot=boot, node=name, detail=error.what))
            raise
        took = time.monotonic() - started
        detail = "" if gone else "it was not on the list any more"
        self._emit(Leave(step="removed", blade=blade, boot=boot, node=name, seconds=round(took, 3), detail=detail))
        self._look_now.set()
        return {}

    def _left_as(self, blade: str, boot: str) -> str:
        """The node that a leave of this boot was about, when it is off the list before its blade says so."""
        talk = self._leaves.get((blade, boot))
        return str(talk.result()["node"]) if talk is not None and talk.done() and talk.exception() is None else ""

    async def refused(self, request: dict[str, Any]) -> dict[str, Any]:
        self._tokens.refused()
        self._look_now.set()
        return {}

    # The rounds

    async def watch(self) -> None:
        """Look at the swarm once a second, or at once when something has happened, until cancelled."""
        while True:
            try:
                await self.look()
                self._complaint = ""
            except LabkitError as error:
                self._complain(error.what)
            try:
                await asyncio.wait_for(self._look_now.wait(), LOOK_EVERY_S)
            except TimeoutError:
                pass
            self._look_now.clear()

    async def look(self) -> None:
        """One round: see what changed, do what is to be done about it, rotate the tokens when they are due."""
        nodes = await self._ask(_list_nodes)
        if nodes is None:
            if self._seen:
                self._emit(Swarm(action="gone", detail="this engine manages no swarm any more"))
            self._swarm, self._seen = False, {}
            return
        if self._swarm is False:
            self._emit(Swarm(action="init"))
        self._swarm = True
        self._tell(nodes)
        self._boots = joined_boots(nodes, self._boots)
        for node in nodes:
            if node.ready and node.boot:
                self._tokens.joined(node.blade, node.boot)
        lost_after_s = self._lab.swarm.lost_after_s
        actions = reconcile(nodes, self._boots, self._labels, now=time.time(), lost_after_s=lost_after_s)
        failures: tuple[SwarmError, ...] = ()
        if actions:
            removed, failures = await self._ask(lambda client: _carry_out(client, actions))
            self._tell(await self._ask(cluster.nodes), removed)
        await self._rotate()
        for failure in failures:
            raise failure

    def _tell(self, nodes: list[Node], removed: Mapping[str, Why] | None = None) -> None:
        after = {node.id: node for node in nodes}
        for event in changes(self._seen, after, removed):
            self._emit(event)
        self._seen = after

    async def _rotate(self) -> None:
        async with self._token_lock:
            roles = self._tokens.due(time.monotonic())
            if not roles:
                return
            await self._ask(lambda client: cluster.rotate_token(client, roles))
            self._tokens.rotated(roles, time.monotonic())
        self._emit(Swarm(action="rotated", detail=f"join token for {' and '.join(sorted(roles))}s"))

    # The parts of it

    def _role(self, client: docker.DockerClient, blade: str) -> Role:
        if not cluster.has_swarm(client):
            raise cluster.no_swarm()
        return Role.MANAGER if blade in managers.chosen_managers(client, self._lab) else Role.WORKER

    async def _drain(self, blade: str, boot: str) -> dict[str, Any]:
        started = time.monotonic()
        state, node = Drain(), None
        try:
            node = await self._ask(lambda client: find_node(cluster.nodes(client), blade, boot))
            self._emit(Leave(step="asked", blade=blade, boot=boot, node=node.id if node else ""))
            if node is not None:
                state = await self._ask(lambda client: drain_node(client, node, bound_s=self._leave_s))
        except SwarmError as error:
            self._emit(Leave(step="failed", blade=blade, boot=boot, node=node.id if node else "", detail=error.what))
            raise
        took = round(time.monotonic() - started, 3)
        self._emit(
            Leave(
                step="failed" if state.waiting else "drained",
                blade=blade,
                boot=boot,
                node=node.id if node else "",
                seconds=took,
                detail=str(state) if node else "this boot is not in the swarm",
            )
        )
        return {"node": node.id if node else "", "seconds": took, "moved": state.moved,
                "stranded": state.stranded, "waiting": state.waiting}  # fmt: skip

    def _who(self, request: dict[str, Any]) -> tuple[str, str]:
        blade, boot = request["blade"], request["boot"]
        if not isinstance(boot, str) or not boot or blade not in self._labels:
            raise ControlError(f"no such blade or boot: {blade!r}, {boot!r}", fix="the blades are those in lab.yaml")
        return blade, boot

    async def _ask(self, question: Callable[[docker.DockerClient], T]) -> T:
        """Put a question to the engine, off the event loop, over a connection of its own."""

        def ask() -> T:
            with engine(self._sock) as client:
                return question(client)

        return await asyncio.to_thread(ask)

    def _complain(self, what: str) -> None:
        """Say what is wrong once, not once a second."""
        if what != self._complaint:
            self._complaint = what
            self._emit(Trouble(part="swarmd", detail=what))


def _check_not_in(client: docker.DockerClient, blade: str, boot: str) -> None:
    """A boot that nobody announced waits while its blade is still a Ready member: a neighbour may have made it up.

    A blade that lost its power is missed after three heartbeats, sooner than it has booted.
    """
    if any(node.ready and node.blade == blade and node.boot != boot for node in cluster.nodes(client)):
        raise SwarmError(f"{blade} is still Ready in the swarm from the boot before", fix="it is missed within 20 s")


def _list_nodes(client: docker.DockerClient) -> list[Node] | None:
    return cluster.nodes(client) if cluster.has_swarm(client) else None


def _carry_out(
    client: docker.DockerClient, actions: tuple[Action, ...]
) -> tuple[dict[str, Why], tuple[SwarmError, ...]]:
    """Do what `reconcile` says; the answer is which nodes were removed and why, and what could not be done."""
    removed: dict[str, Why] = {}
    failures: list[SwarmError] = []
    for action in actions:
        try:
            match action:
                case Remove(node, why):
                    cluster.remove_node(client, node.id)
                    removed[node.id] = why
                case PutLabels(node, labels, drop):
                    cluster.label_nodes(client, node.id, labels, drop=drop)
        except SwarmError as error:
            failures.append(error)
    return removed, tuple(failures)


async def run(lab: Lab, state: State, sock: socket.socket, emit: Callable[[Event], None]) -> None:
    """Serve and watch until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    # Each blade that leaves holds a thread for up to a minute: all of a rack may do so at once.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=16 + 2 * len(lab.blades), thread_name_prefix="engine"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    daemon = SwarmDaemon(lab, state.manager_socket(lab), emit)
    server = await rpc.serve(sock, daemon.verbs)
    watching = asyncio.create_task(daemon.watch())
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
        sock = socket.socket(fileno=rpc.parse_fds(os.environ["LABKIT_FDS"])["control"])
        lab = take(Lab)
    except KeyError as error:
        print(f"the swarm desk is started by the lab's supervisor: {error} is not set", file=sys.stderr)
        return 2
    Vital("swarmd", emit).run(run(lab, state, sock, emit))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
