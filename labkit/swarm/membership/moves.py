"""Services that would be gone for a moment when their node is drained, started elsewhere beforehand.

Swarm stops a drained node's tasks first and starts them elsewhere then. Where another replica answers meanwhile, nobody
notices. A service whose replicas are all on that node is gone for as long as one takes to start: seconds, half a minute
on a blade that has to fetch the image. It is told to start anew while the node takes no tasks (``ForceUpdate`` in its
task's specification, which is ``docker service update --force``), each new replica before the old one stops.

That is not done to replicas that may not run beside each other: of a service that does not say ``start-first`` itself,
and has a volume, a bind or a port of the node, and to one that is being updated just now.

`find` is pure; the rest asks the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker

from labkit.swarm import spec_changes
from labkit.swarm.engine import api, engine_errors
from labkit.swarm.node import Node, Task, relabel

ORDER = "labkit.update-order"
"""A service's label while it is moved in another order than its own, which this is; ``none`` where it has no policy."""

BUSY = ("updating", "rollback_started")
SHARED = ("volume", "bind", "cluster")


@dataclass(frozen=True)
class Moves:
    """Which services, by id, are to be started elsewhere, and which, in words, will be gone for a moment and why."""

    services: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


def find(
    held: Sequence[Task], tasks: Sequence[Task], services: Sequence[Mapping[str, Any]], nodes: Sequence[Node],
    leaving: str,
) -> Moves:  # fmt: skip
    """The services of which every running replica is among the tasks ``held`` by the node with the id ``leaving``.

    ``services`` is the answer to ``GET /services``. None is found where no other node takes tasks.
    """
    others = {node.id for node in nodes if node.id != leaving and _takes_tasks(node)}
    moved, gaps = [], []
    for raw in services if others else ():
        here = any(task.service == raw["ID"] and task.slot and task.state == "running" for task in held)
        elsewhere = any(
            task.service == raw["ID"] and task.node in others and task.state == "running" and task.wanted
            for task in tasks
        )
        if not here or elsewhere:
            continue
        why_not = _why_not(raw)
        if why_not:
            gaps.append(f"{raw['Spec']['Name']} ({why_not})")
        else:
            moved.append(str(raw["ID"]))
    return Moves(tuple(moved), tuple(gaps))


def _takes_tasks(node: Node) -> bool:
    return node.ready and node.availability == "active" and not node.leaving


def _why_not(raw: Mapping[str, Any]) -> str:
    """Why a service's replicas are not started elsewhere before they stop; empty where they can be."""
    spec = raw["Spec"]
    if (raw.get("UpdateStatus") or {}).get("State") in BUSY:
        return "it is being updated"
    if (spec.get("UpdateConfig") or {}).get("Order") == "start-first":
        return ""
    mounts = spec["TaskTemplate"].get("ContainerSpec", {}).get("Mounts") or ()
    if any(mount.get("Type") in SHARED for mount in mounts):
        return "its replicas have a volume, and its update order is not start-first"
    if any(port.get("PublishMode") == "host" for port in (spec.get("EndpointSpec") or {}).get("Ports") or ()):
        return "its replicas have a port of the node, and its update order is not start-first"
    return ""


def start_elsewhere(
    client: docker.DockerClient,
    services: Collection[str],
    is_done: Callable[[], bool],
    *,
    deadline: float,
    every_s: float = 0.25,
) -> None:
    """Have these services' replicas started anew, and wait until ``is_done`` or the deadline (`time.monotonic`).

    The node that they shall leave takes no tasks by then. Each service's own update policy stands again on return.
    Raises SwarmError when the engine fails.
    """
    try:
        for service in services:
            spec_changes.change_service(client, service, force)
        while not is_done() and time.monotonic() < deadline:
            time.sleep(every_s)
    finally:
        restore(client)


def force(spec: dict[str, Any]) -> None:
    """Change a service's specification so that its replicas start anew, each new one before the old one stops."""
    spec_changes.start_anew(spec)
    policy = spec.get("UpdateConfig")
    if (policy or {}).get("Order") == "start-first":
        return
    order = "none" if not policy else policy.get("Order") or "stop-first"
    spec["UpdateConfig"] = {"Parallelism": 1, **(policy or {}), "Order": "start-first"}
    relabel(spec, {ORDER: order})


def put_back(spec: dict[str, Any]) -> None:
    """Change a service's specification so that its own update policy stands in it again."""
    order = (spec.get("Labels") or {}).get(ORDER, "")
    if not order:
        return
    relabel(spec, {}, [ORDER])
    if order == "none":
        spec.pop("UpdateConfig", None)
    else:
        spec["UpdateConfig"] = {**spec["UpdateConfig"], "Order": order}


def restore(client: docker.DockerClient) -> None:
    """Put back the update policy of every service that was left with another. Raises SwarmError."""
    with engine_errors():
        left = [str(raw["ID"]) for raw in api(client).services(filters={"label": ORDER})]
    for service in left:
        spec_changes.change_service(client, service, put_back)
