"""The swarm itself: made, joined, listed, and its nodes changed and removed.

Every function takes a client of a manager's engine (`labkit.swarm.engine.connect`) and raises SwarmError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.lab import Role
from labkit.swarm.engine import api, engine_errors, said
from labkit.swarm.membership.quorum import why_not
from labkit.swarm.node import Node, read_node

PORT = 2377
NO_SWARM = "the swarm does not exist yet"


@dataclass(frozen=True, kw_only=True)
class SwarmState:
    """The swarm as `ensure_swarm` left it.

    ``created`` is False when it was found in place. ``node`` is the controller's node id. ``mesh`` says whether the
    controller's kernel has ip_vs: without it a port published through the routing mesh does not answer on the
    controller itself, while the blades, with kernels of their own, are not touched by that.
    """

    id: str
    node: str
    address: str
    created: bool
    drained: bool
    managers: int
    workers: int
    mesh: bool

    def __str__(self) -> str:
        return (
            f"swarm {self.id[:12]} {'made' if self.created else 'found in place'}: "
            f"{self.managers} manager{'s' * (self.managers != 1)}, {self.workers} worker{'s' * (self.workers != 1)}; "
            f"the controller {self.address} {'takes no tasks' if self.drained else 'takes tasks'}"
            + ("" if self.mesh else "; its kernel has no ip_vs, so published ports answer on the blades only")
        )


def ensure_swarm(client: docker.DockerClient, *, advertise: str, drained: bool = True) -> SwarmState:
    """Make the engine the first manager of a swarm at address ``advertise``, unless it is that already.

    A drained controller manages and runs no tasks. Raises SwarmError when the engine is in another swarm's hands: as a
    worker, locked, or at another address.
    """
    with engine_errors():
        swarm = client.info()["Swarm"]
        created = swarm["LocalNodeState"] == "inactive"
        if created:
            api(client).init_swarm(
                advertise_addr=advertise,
                listen_addr=f"{advertise}:{PORT}",
                default_addr_pool=[overlay_pool(advertise)],
                subnet_size=24,
            )
            swarm = client.info()["Swarm"]
        _check_manager(swarm, advertise)
        want = "drain" if drained else "active"
        change_node(client, swarm["NodeID"], lambda spec: spec.update(Availability=want))
        members = nodes(client)
    managers = sum(node.role == "manager" for node in members)
    return SwarmState(
        id=swarm["Cluster"]["ID"],
        node=swarm["NodeID"],
        address=swarm["NodeAddr"],
        created=created,
        drained=drained,
        managers=managers,
        workers=len(members) - managers,
        mesh=Path("/proc/net/ip_vs").exists(),
    )


def overlay_pool(address: str) -> str:
    """The half of 10.0.0.0/8 that the lab's own network is not in: overlay networks are taken from there.

    Left alone the engine starts at 10.0.0.0/24, which would hide a lab that lives there from its containers.
    """
    lower = IPv4Network("10.0.0.0/9")
    return "10.128.0.0/9" if IPv4Address(address) in lower else str(lower)


def _check_manager(swarm: Mapping[str, Any], advertise: str) -> None:
    state = swarm["LocalNodeState"]
    if state == "locked":
        raise SwarmError("the engine's swarm is locked", fix="unlock it with docker swarm unlock")
    if state != "active":
        raise SwarmError(
            f"the engine's swarm is in state '{state}': {swarm.get('Error') or 'no reason given'}",
            fix="if that lasts, run docker swarm leave --force on this engine: its old swarm is lost then",
        )
    if not swarm["ControlAvailable"]:
        raise SwarmError("this engine is a worker of another swarm", fix="run docker swarm leave on this engine first")
    if swarm["NodeAddr"] != advertise:
        raise SwarmError(
            f"this engine's swarm is at {swarm['NodeAddr']}, the lab wants it at {advertise}",
            fix="set network.controller in lab.yaml to it, or run docker swarm leave --force on this engine",
        )


def no_swarm() -> SwarmError:
    """What there is to say while there is no swarm to join."""
    return SwarmError(NO_SWARM, fix="make it in notebook 03, or with ./lab run")


def has_swarm(client: docker.DockerClient) -> bool:
    """Whether this engine manages a swarm right now."""
    with engine_errors():
        swarm = client.info()["Swarm"]
    return bool(swarm["LocalNodeState"] == "active" and swarm["ControlAvailable"])


def join_body(client: docker.DockerClient, *, role: Role, address: str) -> dict[str, Any]:
    """The body of the ``POST /swarm/join`` that brings the engine at ``address`` in. The token in it is a secret.

    Raises SwarmError(NO_SWARM) while there is no swarm to join.
    """
    if not has_swarm(client):
        raise no_swarm()
    with engine_errors():
        tokens = api(client).inspect_swarm()["JoinTokens"]
        managers = sorted((node for node in nodes(client) if node.manager), key=lambda node: node.created)
    return {
        "ListenAddr": f"{address}:{PORT}",
        "AdvertiseAddr": address,
        "RemoteAddrs": [node.manager for node in managers],
        "JoinToken": tokens["Manager" if role is Role.MANAGER else "Worker"],
    }


def nodes(client: docker.DockerClient) -> list[Node]:
    """The members, the controller's own node among them, oldest first."""
    with engine_errors():
        return sorted((read_node(raw) for raw in api(client).nodes()), key=lambda node: (node.created, node.id))


def wait_nodes(
    client: docker.DockerClient,
    blades: Iterable[str],
    timeout_s: float,
    *,
    progress: Callable[[list[Node]], None] | None = None,
    every_s: float = 1.0,
) -> list[Node]:
    """Wait until each of these blades has a Ready node, and return those nodes in the order of ``blades``.

    ``progress`` is called with all nodes after each look. Raises SwarmError naming the blades that are missing.
    """
    names = list(blades)
    deadline = time.monotonic() + timeout_s
    while True:
        members = nodes(client)
        if progress is not None:
            progress(members)
        ready = {node.blade: node for node in members if node.ready}
        missing = [name for name in names if name not in ready]
        if not missing:
            return [ready[name] for name in names]
        if time.monotonic() >= deadline:
            raise SwarmError(
                f"not Ready in the swarm within {timeout_s:g} s: {', '.join(missing)}",
                fix=f"look at the console: labkit console {missing[0]}",
            )
        time.sleep(every_s)


def wait_missed(client: docker.DockerClient, blade: str, timeout_s: float = 60.0) -> float:
    """Wait until the swarm misses a blade, none of whose nodes is Ready then; the seconds it took."""
    started = time.monotonic()
    while any(node.ready and node.blade == blade for node in nodes(client)):
        if time.monotonic() - started >= timeout_s:
            raise SwarmError(f"{blade} is still Ready after {timeout_s:g} s", fix="was its plug really pulled?")
        time.sleep(0.25)
    return time.monotonic() - started


def wait_in_order(client: docker.DockerClient, blades: Iterable[str], timeout_s: float = 30.0) -> list[Node]:
    """Wait until each of these blades has exactly one node, and that is Ready: no ghost is left of it."""
    names = list(blades)
    deadline = time.monotonic() + timeout_s
    while True:
        found = [node for node in nodes(client) if node.blade in names]
        if sorted(node.blade for node in found if node.ready) == sorted(names) and len(found) == len(names):
            return sorted(found, key=lambda node: names.index(node.blade))
        if time.monotonic() >= deadline:
            listed = ", ".join(f"{node.blade} {node.state}" for node in found) or "none of them"
            raise SwarmError(f"the list is not in order after {timeout_s:g} s: {listed}", fix="labkit swarm nodes")
        time.sleep(0.25)


def label_nodes(client: docker.DockerClient, node: str, labels: Mapping[str, str], *, drop: Iterable[str] = ()) -> None:
    """Put labels on a node and ``drop`` some; others stay. Services are placed by them (``node.labels.slot==2``)."""
    gone = frozenset(drop)

    def change(spec: dict[str, Any]) -> None:
        kept = {key: value for key, value in (spec.get("Labels") or {}).items() if key not in gone}
        spec["Labels"] = {**kept, **labels}

    change_node(client, node, change)


def drain(client: docker.DockerClient, node: str, *, labels: Mapping[str, str] | None = None) -> None:
    """Let a node take no more tasks and give up those it has; ``labels`` go on with the same stroke."""

    def change(spec: dict[str, Any]) -> None:
        spec["Availability"] = "drain"
        spec["Labels"] = {**(spec.get("Labels") or {}), **(labels or {})}

    change_node(client, node, change)


def activate(client: docker.DockerClient, node: str) -> None:
    """Let a drained node take tasks again. Those it gave up do not come back by themselves."""
    change_node(client, node, lambda spec: spec.update(Availability="active"))


def demote(client: docker.DockerClient, node: str, *, timeout_s: float = 15.0) -> None:
    """Make a manager a worker and wait until it has left the managers' raft group. A worker is left as it is.

    Raises SwarmError, before anything is changed, when that would lose the quorum.
    """
    members = nodes(client)
    if reason := why_not(members, [member for member in members if member.id == node]):
        raise SwarmError(f"not made a worker: {reason}", fix="bring back the managers that are gone, or add one first")
    change_node(client, node, lambda spec: spec.update(Role="worker"))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with engine_errors():
            if not api(client).inspect_node(node).get("ManagerStatus"):
                return
        time.sleep(0.2)
    raise SwarmError(f"node {node} is still a manager {timeout_s:g} s after it was demoted")


def remove_node(client: docker.DockerClient, node: str) -> bool:
    """Take a node off the list, Ready or not; a manager is demoted first. False when it was gone already."""
    with engine_errors():
        try:
            if api(client).inspect_node(node).get("ManagerStatus"):
                demote(client, node)
            api(client).remove_node(node, force=True)
        except docker.errors.NotFound:
            return False
    return True


def rotate_token(client: docker.DockerClient, roles: Iterable[Role] = (Role.WORKER,)) -> None:
    """Make the join tokens of these roles worthless and put new ones in their place. Members are not touched."""
    wanted = frozenset(roles)

    def rotate() -> None:
        swarm = api(client).inspect_swarm()
        api(client).update_swarm(
            version=swarm["Version"]["Index"],
            swarm_spec=swarm["Spec"],
            rotate_worker_token=Role.WORKER in wanted,
            rotate_manager_token=Role.MANAGER in wanted,
        )

    _in_sequence(rotate)


def change_swarm(client: docker.DockerClient, change: Callable[[dict[str, Any]], None]) -> None:
    """Read the swarm's own specification, change it, and write it back if that made a difference."""

    def once() -> None:
        raw = api(client).inspect_swarm()
        spec = {**raw["Spec"]}
        change(spec)
        if spec != raw["Spec"]:
            api(client).update_swarm(version=raw["Version"]["Index"], swarm_spec=spec)

    _in_sequence(once)


def change_node(client: docker.DockerClient, node: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Read a node's specification, change it, and write it back if that made a difference."""

    def once() -> None:
        raw = api(client).inspect_node(node)
        spec = {**raw["Spec"]}
        change(spec)
        if spec != raw["Spec"]:
            api(client).update_node(node, raw["Version"]["Index"], spec)

    _in_sequence(once)


def _in_sequence(update: Callable[[], None]) -> None:
    """Run a read-change-write, again when somebody else's write came between (the engine compares versions)."""
    with engine_errors():
        for attempt in range(10):
            try:
                return update()
            except docker.errors.APIError as error:
                if "out of sequence" not in said(error) or attempt == 9:
                    raise
                time.sleep(0.05)
