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

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import docker

from labkit.swarm import spec_changes
from labkit.swarm.engine import api, engine_errors
from labkit.swarm.node import Node, Task, read_task, relabel

ORDER = "labkit.update-order"
"""A service's label while it is moved by another update policy than its own, which this is, as JSON."""

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
    insists: bool = True,
    goes_on: Callable[[], bool] = lambda: True,
) -> None:
    """Have these services' replicas started anew, and wait until ``is_done``, or the deadline (`time.monotonic`), or
    it no longer ``goes_on``.

    The node that they shall leave takes no tasks by then. Each service's own update policy stands again on return.
    Where it is not done and nobody ``insists``, what was asked for is taken back, and those that run go on.
    Raises SwarmError when the engine fails.
    """
    asked: dict[str, int] = {}

    def ask(service: str, spec: dict[str, Any]) -> None:
        force(spec)
        asked[service] = _starts(spec)

    done = False
    try:
        for service in services:
            spec_changes.change_service(client, service, partial(ask, service))
        while not (done := is_done()) and goes_on() and time.monotonic() < deadline:
            time.sleep(every_s)
    finally:
        for service in services:
            back = put_back if done or insists or service not in asked else partial(_take_back, asked[service])
            spec_changes.change_service(client, service, back)


def _starts(spec: Mapping[str, Any]) -> int:
    return int(spec["TaskTemplate"].get("ForceUpdate", 0))


def _take_back(starts: int, spec: dict[str, Any]) -> None:
    """What `force` asked for; one who has asked for more since gets that.

    With its old specification a replica that runs is as it should be: swarm takes the one that was to follow away.
    """
    if _starts(spec) == starts:
        spec["TaskTemplate"] = {**spec["TaskTemplate"], "ForceUpdate": starts - 1}
    put_back(spec)


def force(spec: dict[str, Any]) -> None:
    """Change a service's specification so that its replicas start anew, each new one before the old one stops.

    A replica that does not come up ends that, unless the service then goes back by itself: an update that goes on all
    the same ends what runs (``useExistingTask`` in swarmkit's manager/orchestrator/update).
    """
    spec_changes.start_anew(spec)
    own = spec.get("UpdateConfig") or {}
    careful = {} if own.get("FailureAction") == "rollback" else {"FailureAction": "pause", "MaxFailureRatio": 0}
    policy = {"Parallelism": 1, **own, "Order": "start-first", **careful}
    if policy != own:
        spec["UpdateConfig"] = policy
        relabel(spec, {ORDER: json.dumps(own, sort_keys=True)})


def put_back(spec: dict[str, Any]) -> None:
    """Change a service's specification so that its own update policy stands in it again."""
    said = (spec.get("Labels") or {}).get(ORDER, "")
    if not said:
        return
    relabel(spec, {}, [ORDER])
    try:
        own = json.loads(said)
    except ValueError:  # an earlier labkit's word for the order alone
        own = {} if said == "none" else {**spec["UpdateConfig"], "Order": said}
    if own:
        spec["UpdateConfig"] = own
    else:
        spec.pop("UpdateConfig", None)


def restore(client: docker.DockerClient) -> None:
    """Put back the update policy of every service that was left with another. Raises SwarmError."""
    with engine_errors():
        left = [str(raw["ID"]) for raw in api(client).services(filters={"label": ORDER})]
    for service in left:
        spec_changes.change_service(client, service, put_back)


def take_back_all(client: docker.DockerClient, nodes: Collection[str]) -> None:
    """Let no service go on leaving ``nodes`` whose replicas there are still to end, since whoever asked for that is
    gone; of the others the policies are put back. Raises SwarmError.

    The policy alone would not do: swarm would end what runs in favour of what was to follow and perhaps cannot start.
    """
    with engine_errors():
        left = api(client).services(filters={"label": ORDER})
        running = [task for task in map(read_task, api(client).tasks()) if task.wanted and task.state == "running"]
    for raw in left:
        stays = any(task.service == raw["ID"] and task.node in nodes for task in running)
        starts = _starts(raw["Spec"]) if stays else -1
        spec_changes.change_service(client, str(raw["ID"]), partial(_take_back, starts))
