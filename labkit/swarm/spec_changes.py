"""Changes of what a swarm keeps: its own specification, a node's, a service's. Read, changed, and written back.

Every function takes a client of a manager's engine (`labkit.swarm.engine.connect`) and raises SwarmError.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import docker
import docker.errors

from labkit.swarm.engine import api, engine_errors, said

LOST_LEADER, NO_LEADER, ELECTION_S = "lost leader status", "does not have a leader", 20.0
"""What the engine says while its managers choose a leader, and how long that may take: two rounds of ten heartbeats."""


def change_swarm(client: docker.DockerClient, change: Callable[[dict[str, Any]], None]) -> None:
    """Read the swarm's own specification, change it, and write it back if that made a difference."""

    def once() -> None:
        raw = api(client).inspect_swarm()
        spec = {**raw["Spec"]}
        change(spec)
        if spec != raw["Spec"]:
            api(client).update_swarm(version=raw["Version"]["Index"], swarm_spec=spec)

    in_sequence(once)


def change_node(client: docker.DockerClient, node: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Read a node's specification, change it, and write it back if that made a difference."""

    def once() -> None:
        raw = api(client).inspect_node(node)
        spec = {**raw["Spec"]}
        change(spec)
        if spec != raw["Spec"]:
            api(client).update_node(node, raw["Version"]["Index"], spec)

    in_sequence(once)


def change_service(client: docker.DockerClient, service: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Read a service's specification, change it, and write it back if that made a difference; one that is gone is left.

    ``change`` puts new values in place of old ones and alters none of them.
    """

    def once() -> None:
        try:
            raw = api(client).inspect_service(service)
        except docker.errors.NotFound:
            return
        spec = {**raw["Spec"]}
        change(spec)
        if spec != raw["Spec"]:
            # The SDK's update_service() drops what it has no argument for (POST /services/{id}/update has it all).
            url = api(client)._url("/services/{0}/update", raw["ID"])
            params = {"version": raw["Version"]["Index"]}
            api(client)._result(api(client)._post_json(url, data=spec, params=params), json=True)

    in_sequence(once)


def start_anew(spec: dict[str, Any]) -> None:
    """Change a service's specification so that its replicas start anew, as ``docker service update --force`` does."""
    template = spec["TaskTemplate"]
    spec["TaskTemplate"] = {**template, "ForceUpdate": int(template.get("ForceUpdate", 0)) + 1}


def in_sequence(update: Callable[[], None]) -> None:
    """Run a read-change-write, again when somebody else's write came between (the engine compares versions), and when
    the managers chose another leader meanwhile.
    """
    lost_at = None
    with engine_errors():
        for attempt in itertools.count():
            try:
                return update()
            except docker.errors.APIError as error:
                words = said(error)
                if LOST_LEADER in words and lost_at is None:
                    lost_at = time.monotonic()
                if lost_at is not None and (LOST_LEADER in words or NO_LEADER in words):
                    if time.monotonic() - lost_at > ELECTION_S:
                        raise
                    time.sleep(0.5)
                elif "out of sequence" in words and attempt < 9:
                    time.sleep(0.05)
                else:
                    raise
