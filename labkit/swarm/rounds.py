"""The rounds of the swarm's keeper: it looks at the nodes, tells what changed, and does what is to be done about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import docker

from labkit.errors import LabkitError, SwarmError
from labkit.events import Event, Swarm, Trouble
from labkit.lab import Lab
from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import ask, look_at_swarm
from labkit.swarm.membership import joining, moves, node_settings
from labkit.swarm.membership.local_state import LocalState, LocalSwarm
from labkit.swarm.membership.reconcile import Action, Carry, PutLabels, Remove, Why, changes, joined_boots, reconcile
from labkit.swarm.membership.tokens import Tokens
from labkit.swarm.node import Node, node_labels

LOOK_EVERY_S = 1.0
SILENT_S = 10.0
"""How long an engine that is just starting may have no leader before that is told."""


class Rounds:
    """The rounds of one lab's swarm. ``sock`` is the socket of the controller's engine.

    ``is_leaving`` says whether a blade leaves just now. ``boots`` has the boot that each blade has joined in, ``seen``
    the nodes of the last round by their ids, None before the first. Who sets ``look_now`` gets a round at once.
    """

    def __init__(
        self, lab: Lab, sock: Path, emit: Callable[[Event], None], is_leaving: Callable[[], bool], *, joining_s: float
    ) -> None:
        self._sock, self._emit, self._is_leaving = sock, emit, is_leaving
        self.take_lab(lab)
        self.tokens = Tokens(time.monotonic(), joining_s=joining_s)
        self.token_lock = asyncio.Lock()  # no token is handed out while it is being replaced
        self._note_lock = asyncio.Lock()  # a round writes no settings older than what a leave has noted
        self.boots: dict[str, str] = {}
        self.seen: dict[str, Node] | None = None
        self.look_now = asyncio.Event()
        self._swarm: bool | None = None
        self._silent, self._complaint = "", ""
        self._settles = 0.0
        self._is_restored = False

    def take_lab(self, lab: Lab) -> None:
        """Keep the nodes of these blades from now on; one of a blade that is gone is nobody's, and left alone."""
        self.lab = lab
        self.labels = {blade.name: node_labels(lab, blade) for blade in lab.blades}
        self._given = {blade.name: frozenset(blade.labels) for blade in lab.blades}

    async def watch(self) -> None:
        """Look at the swarm once a second, or at once when something has happened, until cancelled."""
        while True:
            try:
                await self.look()
                self._complaint = ""
            except LabkitError as error:
                if error.what != self._complaint:  # once, not once a second
                    self._complaint = error.what
                    self._emit(Trouble(part="swarmd", detail=error.what))
            try:
                await asyncio.wait_for(self.look_now.wait(), LOOK_EVERY_S)
            except TimeoutError:
                pass
            self.look_now.clear()

    async def look(self) -> None:
        """One round: see what changed, do what is to be done about it, rotate the tokens when they are due."""
        async with self._note_lock:
            failures = await self._look()
        if failures is None:
            return
        await self._rotate()
        for failure in failures:
            raise failure

    async def note(self) -> None:
        """Keep what stands on the nodes now: a person may have set something since the last round."""

        def noted(client: docker.DockerClient) -> None:
            kept = node_settings.read(client)
            keep = node_settings.note(cluster.nodes(client), kept, self.labels)
            if keep != kept:
                node_settings.write(client, keep)

        async with self._note_lock:
            await ask(self._sock, noted)

    def availability(self, client: docker.DockerClient, blade: str) -> str:
        """What a blade that joins now shall be: as a person left its last node."""
        _, keep = node_settings.carry(cluster.nodes(client), node_settings.read(client), self.labels, self._given)
        return keep.get(blade, node_settings.NOTHING).availability

    async def _look(self) -> list[SwarmError] | None:
        """A round but for the tokens: what could not be done, or None where there is no swarm to do anything in."""
        found, nodes, kept = await ask(self._sock, _read_swarm)
        if found.state is LocalState.NONE:
            if self.seen or self._silent:
                self._emit(Swarm(action="gone", detail="this engine manages no swarm any more"))
            self._swarm, self.seen, self._silent, self._settles = False, {}, "", 0.0
            return None
        if not found.answers:
            self._tell_silence(found, time.monotonic())
            return None
        self._settles = 0.0
        try:
            await ask(self._sock, lambda client: cluster.check_may_change(client, self.lab))
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
        self.boots = joined_boots(nodes, self.boots)
        for node in nodes:
            if node.ready and node.boot:
                self.tokens.joined(node.blade, node.boot)
        lost_after_s = self.lab.swarm.lost_after_s
        order = reconcile(nodes, self.boots, self.labels, now=time.time(), lost_after_s=lost_after_s)
        carried, keep = node_settings.carry(nodes, kept, self.labels, self._given)
        failures: list[tuple[Action, SwarmError]] = []
        if order or carried:
            removed, failures = await ask(self._sock, lambda client: _carry_out(client, (*order, *carried)))
            self._tell(await ask(self._sock, cluster.nodes), removed)
        # What a roll has asked for is its own, or that of the next one.
        is_rolling = any(node.rolling and not node.leaving for node in nodes)
        if not (self._is_restored or is_rolling or self._is_leaving()):
            await ask(self._sock, moves.restore)  # what a predecessor that was killed in the middle of a leave has left
            self._is_restored = True
        failed = [action.node.blade for action, _ in failures if isinstance(action, Carry)]
        keep = node_settings.without(keep, failed, kept)
        if keep != kept:
            await ask(self._sock, lambda client: node_settings.write(client, keep))
        return [error for _, error in failures]

    def _tell(self, nodes: list[Node], removed: Mapping[str, Why] | None = None) -> None:
        after = {node.id: node for node in nodes}
        for event in changes(self.seen, after, removed):
            self._emit(event)
        self.seen = after

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
        async with self.token_lock:
            roles = self.tokens.due(time.monotonic())
            if not roles:
                return
            await ask(self._sock, lambda client: joining.rotate_token(client, roles))
            self.tokens.rotated(roles, time.monotonic())
        self._emit(Swarm(action="rotated", detail=f"join token for {' and '.join(sorted(roles))}s"))


def _read_swarm(client: docker.DockerClient) -> tuple[LocalSwarm, list[Node], dict[str, node_settings.Settings]]:
    found, listed = look_at_swarm(client)
    return (found, cluster.read_nodes(listed), node_settings.read(client)) if found.answers else (found, [], {})


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
