"""All services of a swarm at once: how each is doing, and one started anew where it lies badly.

Every function takes a client of a manager's engine (`labkit.swarm.engine.connect`) and raises SwarmError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import docker

from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, engine_errors
from labkit.swarm.node import Node, Task, read_task
from labkit.swarm.services.health import JOBS, ServiceState, judge_service


@dataclass(frozen=True)
class AllServices:
    """One look: the engine's JSON of each service, how it is doing by its name, all tasks, and all nodes."""

    raw: tuple[Mapping[str, Any], ...]
    states: Mapping[str, ServiceState]
    tasks: tuple[Task, ...]
    nodes: tuple[Node, ...]

    def reasons(self) -> dict[str, str]:
        """Why each service is not whole, by name; empty where it is. Jobs, which end, are not spoken of."""
        lasting = {str(raw["Spec"]["Name"]) for raw in self.raw if not any(job in raw["Spec"]["Mode"] for job in JOBS)}
        return {name: why_not_whole(state) for name, state in self.states.items() if name in lasting}


def look_at_all(client: docker.DockerClient) -> AllServices:
    """How all services are doing now."""
    with engine_errors():
        raw = tuple(api(client).services())
        tasks = tuple(read_task(task) for task in api(client).tasks())
    nodes = tuple(cluster.nodes(client))
    states = {
        str(one["Spec"]["Name"]): judge_service(one, [task for task in tasks if task.service == one["ID"]], nodes)
        for one in raw
    }
    return AllServices(raw, states, tasks, nodes)


def why_not_whole(state: ServiceState) -> str:
    """Why a service is not whole, or an empty string where it is; one that shall have no replicas and has none is, one
    whose replicas have ended, though in order, is not.
    """
    if (state.converged and not state.done) or (
        state.wanted == state.running == 0 and state.update in ("", "completed")
    ):
        return ""
    return f"{state.running} of {state.wanted} replicas run" + (f": {state.reason}" if state.reason else "")


def start_anew(client: docker.DockerClient, service: str) -> None:
    """Let a service's replicas be replaced by its own update rules, as ``docker service update --force`` does.

    Returns at once; `labkit.swarm.services.deploy.watch` waits. What it may be rolled back to is then the same as now.
    """
    spec_changes.change_service(client, service, spec_changes.start_anew)
