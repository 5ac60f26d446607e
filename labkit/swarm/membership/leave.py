"""An orderly leave: the node is drained, its tasks move, and only then does the blade go.

A service that has all its replicas there is started elsewhere beforehand (`labkit.swarm.membership.moves`), so that
somebody answers at each moment. `judge_drain` is pure and says how far the tasks have come; `drain_node` asks the
engine until there is nothing left to wait for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import docker

from labkit.errors import SwarmError
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine_errors
from labkit.swarm.membership import moves
from labkit.swarm.node import LEAVING, ROLLING, Node, Task, read_task, relabel
from labkit.swarm.spec_changes import change_node

BOUND_S = 60.0
"""How long a blade's shutdown may be held by tasks that are on their way to another node."""

AHEAD = 2 / 3
"""The part of it in which services may be started elsewhere beforehand; the rest is for those that move as ever."""


@dataclass(frozen=True)
class Drain:
    """How far a drained node's tasks are: each named ``service.slot``, those that moved with where they went.

    ``stranded`` tasks have nowhere to go and are not waited for. ``gaps`` names the services that stopped here before
    they started elsewhere, each with the reason.
    """

    moved: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    stranded: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = (
            ("moved", self.moved), ("nowhere to go", self.stranded), ("still moving", self.waiting),
            ("gone for a moment", self.gaps),
        )  # fmt: skip
        return "; ".join(f"{head}: {', '.join(names)}" for head, names in parts if names) or "no tasks"


def judge_drain(
    held: Sequence[Task], tasks: Iterable[Task], nodes: Sequence[Node], services: Mapping[str, str], leaving: str
) -> Drain:
    """How far the tasks ``held`` by node ``leaving`` when it was drained have come.

    ``tasks`` are all tasks now, ``services`` maps ids of services that exist to their names. Swarm makes a task's
    replacement in the same stroke in which it tells the task to stop, and starts it when the old one has stopped; one
    that was started beforehand has the old one's place while that still finishes what it was asked.
    """
    by_id = {task.id: task for task in tasks}
    others = {node.id: node.blade or node.hostname for node in nodes if node.id != leaving}
    room = any(node.ready and node.availability == "active" for node in nodes if node.id != leaving)
    moved, waiting, stranded = [], [], []
    for old in held:
        service = services.get(old.service)
        if service is None:
            continue  # the service was removed meanwhile: there is nothing to move
        name = f"{service}.{old.slot}" if old.slot else service
        now = by_id.get(old.id)
        heir = max((task for task in by_id.values() if _replaces(task, old)), key=lambda t: t.created, default=None)
        if heir is not None and heir.state == "running" and heir.node in others and (now is None or now.ended):
            moved.append(f"{name} to {others[heir.node]}")
        elif not old.slot or not room or _has_no_place(heir):
            stranded.append(name)
        elif heir is None and (now is None or not now.wanted):
            stranded.append(name)  # stopped for good: its service was scaled down or does not restart tasks
        else:
            waiting.append(name)
    return Drain(tuple(moved), tuple(waiting), tuple(stranded))


def _replaces(task: Task, old: Task) -> bool:
    same_place = (task.service, task.slot) == (old.service, old.slot) and old.slot > 0
    return same_place and task.id != old.id and task.wanted and task.created >= old.created


def _has_no_place(task: Task | None) -> bool:
    return task is not None and task.state == "pending" and "no suitable node" in task.error


def drain_node(
    client: docker.DockerClient,
    node: Node,
    *,
    bound_s: float = BOUND_S,
    every_s: float = 0.25,
    leaves: bool = True,
) -> Drain:
    """Drain a node and wait, at most ``bound_s``, until its tasks run elsewhere.

    With ``leaves`` its blade is about to go: a manager becomes a worker first, and the node is marked as leaving with
    its boot, so that it is removed also when its blade says no further word. Raises SwarmError when the engine fails.
    """
    labels = {LEAVING: node.boot} if leaves else {}
    if leaves and node.role == "manager":
        cluster.demote(client, node.id)
    return _move_away(client, node, labels, bound_s=bound_s, ahead_s=AHEAD * bound_s, every_s=every_s)


def empty_node(
    client: docker.DockerClient,
    node: Node,
    *,
    bound_s: float,
    every_s: float = 1.0,
    goes_on: Callable[[Drain], bool] = lambda drain: True,
) -> Drain:
    """Drain a node whose blade goes only once nothing is left to move, and wait for that at most ``bound_s``.

    Unlike `drain_node` it stops nothing that cannot be started elsewhere first, and the node is marked with the
    availability that it had, for `fill_again`. ``goes_on`` hears how far it is, and may end it. Raises SwarmError when
    the engine fails.
    """
    labels = {ROLLING: node.rolling or node.availability}
    return _move_away(
        client, node, labels, bound_s=bound_s, ahead_s=bound_s, every_s=every_s, insists=False, goes_on=goes_on
    )


def fill_again(client: docker.DockerClient, node: str) -> None:
    """Give a node that `empty_node` was at the availability that it had before; any other is left as it is."""

    def change(spec: dict[str, Any]) -> None:
        before = (spec.get("Labels") or {}).get(ROLLING)
        if before is not None:
            spec["Availability"] = before if before in ("active", "pause", "drain") else "active"
            relabel(spec, {}, [ROLLING])

    change_node(client, node, change)


def _move_away(
    client: docker.DockerClient,
    node: Node,
    labels: Mapping[str, str],
    *,
    bound_s: float,
    ahead_s: float,
    every_s: float,
    insists: bool = True,
    goes_on: Callable[[Drain], bool] = lambda drain: True,
) -> Drain:
    """Start elsewhere what would be gone for a moment, then drain the node. Who does not insist drains it only once
    that has worked."""
    began = time.monotonic()
    deadline = began + bound_s
    tasks = _tasks(client)
    held = [task for task in tasks if task.node == node.id and not task.ended]
    with engine_errors():
        services = api(client).services()
    found = moves.find(held, tasks, services, cluster.nodes(client), node.id)
    gaps = found.gaps
    if found.services:
        cluster.pause(client, node.id, labels=labels)
        going = [task for task in held if task.service in found.services]
        state = Drain()

        def is_done() -> bool:
            nonlocal state
            state = _judge(client, going, node)
            return not state.waiting

        try:
            moves.start_elsewhere(
                client, found.services, is_done, deadline=began + ahead_s, every_s=every_s, insists=insists,
                goes_on=lambda: goes_on(state),
            )  # fmt: skip
        except SwarmError as error:  # the blade goes all the same: what could not be started moves as ever
            if not insists:
                raise
            gaps = (*gaps, f"what could not be started elsewhere first ({error.what})")
        if state.waiting and not insists:
            return state
    cluster.drain(client, node.id, labels=labels)
    while True:
        state = replace(_judge(client, held, node), gaps=gaps)
        if not state.waiting or time.monotonic() >= deadline or not goes_on(state):
            return state
        time.sleep(every_s)


def _judge(client: docker.DockerClient, held: Sequence[Task], node: Node) -> Drain:
    with engine_errors():
        services = {raw["ID"]: raw["Spec"]["Name"] for raw in api(client).services()}
    return judge_drain(held, _tasks(client), cluster.nodes(client), services, node.id)


def _tasks(client: docker.DockerClient) -> list[Task]:
    with engine_errors():
        return [read_task(raw) for raw in api(client).tasks()]
