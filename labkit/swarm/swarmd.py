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

Beside that it looks at the nodes once a second, tells what changed as events, and does what `reconcile` says.

It keeps nothing on disk. What must outlive it stands in the swarm itself: which boot a node belongs to (its engine's
labels), that its blade is leaving (a node label), and what a person set on a blade's node, for its next one (labels of
the swarm, `labkit.swarm.membership.node_settings`). So it can be killed at any time, and the engine as well.
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
from labkit.lab.lab_yaml.network import MAX_SLOTS
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, engine, look_at_swarm, need_manager, read_local_swarm
from labkit.swarm.membership import autolock, managers, moves, node_settings
from labkit.swarm.membership.leave import BOUND_S, Drain, drain_node
from labkit.swarm.membership.local_state import LocalState, LocalSwarm
from labkit.swarm.membership.reconcile import Action, Carry, PutLabels, Remove, Why, changes, joined_boots, reconcile
from labkit.swarm.membership.tokens import JOINING_S, Tokens
from labkit.swarm.node import Node, find_node, node_labels
from labkit.swarm.observe.numbers import Number, numbers
from labkit.swarm.observe.usage import usage
from labkit.swarm.services.all_services import look_at_all

T = TypeVar("T")

LOOK_EVERY_S = 1.0
SILENT_S = 10.0
"""How long an engine that is just starting may have no leader before that is told."""
NUMBERS_S = 5.0


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
        self.take_lab(lab)
        self._tokens = Tokens(time.monotonic(), joining_s=joining_s)
        self._token_lock = asyncio.Lock()  # no token is handed out while it is being replaced
        self._note_lock = asyncio.Lock()  # a round writes no settings older than what a leave has noted
        self._leaves: dict[tuple[str, str], asyncio.Task[dict[str, Any]]] = {}
        self._boots: dict[str, str] = {}
        self._seen: dict[str, Node] | None = None
        self._key: Secret | None = None
        self._swarm: bool | None = None
        self._silent = ""
        self._settles = 0.0
        self._is_restored = False
        self._complaint = ""
        self._look_now = asyncio.Event()
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

    def take_lab(self, lab: Lab) -> None:
        """Keep the nodes of these blades from now on; one of a blade that is gone is nobody's, and left alone."""
        self._lab = lab
        self._labels = {blade.name: node_labels(lab, blade) for blade in lab.blades}
        self._given = {blade.name: frozenset(blade.labels) for blade in lab.blades}

    # What the boot server asks

    async def join(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot = self._who(request)
        address = str(request["address"])
        async with self._token_lock:
            role = await self._ask(lambda client: self._role(client, blade))
            if request.get("cause") == "pxe":
                await self._ask(lambda client: _check_not_in(client, blade, boot))
            body = await self._ask(lambda client: cluster.join_body(client, role=role, address=address))
            availability = await self._ask(lambda client: self._availability(client, blade))
            if availability != "active":  # or it would be given tasks before the next round took them away again
                body["Availability"] = availability
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

    async def member(self, request: dict[str, Any]) -> dict[str, Any]:
        blade, boot = self._who(request)
        return {"member": await self._ask(lambda client: cluster.membership(client, blade, boot, request["swarm"]))}

    async def unlock(self, request: dict[str, Any]) -> dict[str, Any]:
        """A manager whose engine was started anew gets the swarm's key, the last one that was seen where it took the
        quorum with it."""
        blade, boot = self._who(request)
        if not self._lab.swarm.autolock:
            raise ControlError("lab.yaml does not say autolock: true", fix="unlock it by hand: docker swarm unlock")
        node = find_node((self._seen or {}).values(), blade, boot)
        if node is None or node.role != Role.MANAGER:
            raise ControlError(f"{blade} manages nothing in this boot", fix="only a manager is unlocked")
        try:
            self._key = await self._ask(autolock.read_key)
        except SwarmError:
            if self._key is None:
                raise
        if self._key is None:
            raise ControlError(autolock.UNLOCKED, fix="nothing has to be unlocked")
        return {"body": {"UnlockKey": self._key.reveal()}}

    async def refused(self, request: dict[str, Any]) -> dict[str, Any]:
        self._tokens.refused()
        self._look_now.set()
        return {}

    async def reload(self, request: dict[str, Any]) -> dict[str, Any]:
        self.take_lab(take(Lab))
        self._look_now.set()
        return {}

    async def numbers(self, request: dict[str, Any]) -> dict[str, Any]:
        """The swarm in numbers. Who asks often gets the same ones: the engine is not asked more than is good for it."""
        async with self._number_lock:
            if time.monotonic() >= self._numbers_until:
                self._numbers = await self._ask(_take_numbers)
                self._numbers_until = time.monotonic() + NUMBERS_S
            return {"numbers": self._numbers}

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
        async with self._note_lock:
            failures = await self._look()
        if failures is None:
            return
        await self._rotate()
        for failure in failures:
            raise failure

    async def _look(self) -> list[SwarmError] | None:
        """A round but for the tokens: what could not be done, or None where there is no swarm to do anything in."""
        found, nodes, kept = await self._ask(_read_swarm)
        if found.state is LocalState.NONE:
            if self._seen or self._silent:
                self._emit(Swarm(action="gone", detail="this engine manages no swarm any more"))
            self._swarm, self._seen, self._silent, self._settles = False, {}, "", 0.0
            return None
        if not found.answers:
            self._tell_silence(found, time.monotonic())
            return None
        self._settles = 0.0
        try:
            await self._ask(lambda client: cluster.check_may_change(client, self._lab))
        except SwarmError as refusal:
            self._keep_silence(refusal)
            return None
        if self._silent:
            self._silent = ""
            self._emit(Swarm(action="answers"))
        if self._swarm is False:
            self._emit(Swarm(action="init"))
        self._swarm = True
        self._tell(nodes)
        self._boots = joined_boots(nodes, self._boots)
        for node in nodes:
            if node.ready and node.boot:
                self._tokens.joined(node.blade, node.boot)
        lost_after_s = self._lab.swarm.lost_after_s
        order = reconcile(nodes, self._boots, self._labels, now=time.time(), lost_after_s=lost_after_s)
        carried, keep = node_settings.carry(nodes, kept, self._labels, self._given)
        failures: list[tuple[Action, SwarmError]] = []
        if order or carried:
            removed, failures = await self._ask(lambda client: _carry_out(client, (*order, *carried)))
            self._tell(await self._ask(cluster.nodes), removed)
        if not self._is_restored and all(leave.done() for leave in self._leaves.values()):
            await self._ask(moves.restore)  # what a predecessor that was killed in the middle of a leave has left
            self._is_restored = True
        failed = [action.node.blade for action, _ in failures if isinstance(action, Carry)]
        keep = node_settings.without(keep, failed, kept)
        if keep != kept:
            await self._ask(lambda client: node_settings.write(client, keep))
        return [error for _, error in failures]

    def _tell(self, nodes: list[Node], removed: Mapping[str, Why] | None = None) -> None:
        after = {node.id: node for node in nodes}
        for event in changes(self._seen, after, removed):
            self._emit(event)
        self._seen = after

    def _tell_silence(self, found: LocalSwarm, now: float) -> None:
        """Say once that the swarm is there and does not answer; of an engine that may be starting, after a while."""
        self._settles = self._settles or now
        if found.settling and now - self._settles < SILENT_S:
            return
        self._keep_silence(found.error(), f"{found.state} {found.address}")

    def _keep_silence(self, why: SwarmError, state: str = "") -> None:
        """Say once that nobody can join, and why: an engine's own words may differ each time, the state may not."""
        if self._silent != (state or why.what):
            self._silent = state or why.what
            self._emit(Swarm(action="silent", detail=why.what, fix=why.fix))

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
        need_manager(client, settle_s=0)  # a blade waits, and asks again
        cluster.check_may_change(client, self._lab)
        return Role.MANAGER if blade in managers.chosen_managers(client, self._lab) else Role.WORKER

    def _note(self, client: docker.DockerClient) -> None:
        """Keep what stands on the nodes now: a person may have set something since the last round."""
        kept = node_settings.read(client)
        keep = node_settings.note(cluster.nodes(client), kept, self._labels)
        if keep != kept:
            node_settings.write(client, keep)

    def _availability(self, client: docker.DockerClient, blade: str) -> str:
        """What a blade that joins now shall be: as a person left its last node."""
        _, keep = node_settings.carry(cluster.nodes(client), node_settings.read(client), self._labels, self._given)
        return keep.get(blade, node_settings.NOTHING).availability

    async def _drain(self, blade: str, boot: str) -> dict[str, Any]:
        started = time.monotonic()
        state, node = Drain(), None
        try:
            node = await self._ask(lambda client: find_node(cluster.nodes(client), blade, boot))
            self._emit(Leave(step="asked", blade=blade, boot=boot, node=node.id if node else ""))
            if node is not None:
                async with self._note_lock:
                    await self._ask(self._note)
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


def _read_swarm(
    client: docker.DockerClient,
) -> tuple[LocalSwarm, list[Node], dict[str, node_settings.Settings]]:
    found, listed = look_at_swarm(client)
    return (found, cluster.read_nodes(listed), node_settings.read(client)) if found.answers else (found, [], {})


def _take_numbers(client: docker.DockerClient) -> list[Number]:
    """The swarm's numbers; none where there is no swarm."""
    if not read_local_swarm(client, settle_s=0).answers:
        return []
    found = look_at_all(client)
    used = usage(api(client).nodes(), api(client).tasks())
    return numbers(found.nodes, found.states.values(), found.reasons(), used)


def _carry_out(
    client: docker.DockerClient, actions: tuple[Action, ...]
) -> tuple[dict[str, Why], list[tuple[Action, SwarmError]]]:
    """Do what `reconcile` says; the answer is which nodes were removed and why, and what could not be done."""
    removed: dict[str, Why] = {}
    failures: list[tuple[Action, SwarmError]] = []
    for action in actions:
        try:
            match action:
                case Remove(node, why):
                    cluster.remove_node(client, node.id)
                    removed[node.id] = why
                case PutLabels(node, labels, drop):
                    cluster.label_nodes(client, node.id, labels, drop=drop)
                case Carry(node) if node.id not in removed:
                    spec_changes.change_node(client, node.id, action.onto)
        except SwarmError as error:
            failures.append((action, error))
    return removed, failures


async def run(lab: Lab, state: State, sock: socket.socket, emit: Callable[[Event], None]) -> None:
    """Serve and watch until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    # Each blade that leaves holds a thread for up to a minute: all of a rack may do so at once.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=16 + 2 * MAX_SLOTS, thread_name_prefix="engine"))
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
