"""Who manages the swarm: chosen, changed in order, and brought back when too many managers were lost.

Which blades are managers stands in the swarm itself, as a label of it, so that a blade comes back in the role it had
and every part of the lab reads the same. Every function takes a client of a manager's engine and raises SwarmError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.lab import Lab, Role
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine_errors, leaderless
from labkit.swarm.membership.quorum import Quorum, in_order, quorum, why_not
from labkit.swarm.node import Node

LABEL = "labkit.managers"
"""The swarm's label that names the blades that shall be managers, with spaces between them."""


PROMOTE_S = 60.0
"""How long a worker may take to become a manager. One that was a manager until just now, and has not noticed yet that
it no longer is, waits twice 16 s before it starts again (``roleChangeTimeout`` in swarmkit's node.go)."""


@dataclass(frozen=True, kw_only=True)
class Managers:
    """What `ensure_managers` found and did: blades by name, and the group as it is now."""

    chosen: tuple[str, ...]
    promoted: tuple[str, ...] = ()
    demoted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    quorum: Quorum

    def __str__(self) -> str:
        parts = ((self.promoted, "made managers"), (self.demoted, "made workers"), (self.absent, "managers once in"))
        done = [f"{', '.join(names)} {words}" for names, words in parts if names] or ["nothing to change"]
        return "; ".join([*done, str(self.quorum)]) + (f"\n{DISKLESS}" if self.chosen else "")


DISKLESS = (
    "Managers on diskless blades keep the swarm's state in memory. One that is switched off comes back as another\n"
    "member; when so many go at once that fewer than half plus one are left, only the controller's own state is left."
)


def chosen_managers(client: docker.DockerClient, lab: Lab) -> frozenset[str]:
    """The blades that shall be managers: as chosen last, else as ``lab.yaml`` says."""
    with engine_errors():
        labels = api(client).inspect_swarm()["Spec"].get("Labels") or {}
    if LABEL in labels:
        return frozenset(str(labels[LABEL]).split()) & {blade.name for blade in lab.blades}
    return frozenset(blade.name for blade in lab.blades if blade.role is Role.MANAGER)


def ensure_managers(
    client: docker.DockerClient, lab: Lab, wanted: Iterable[str] | None = None, *, timeout_s: float = PROMOTE_S
) -> Managers:
    """Make exactly the ``wanted`` blades managers besides the controller, now and whenever they join again.

    Without ``wanted`` those chosen before stay. Promotions go first, one after the other. Raises SwarmError, before
    anything is changed, when a name is no blade's or the change would lose the quorum.
    """
    names = chosen_managers(client, lab) if wanted is None else frozenset(wanted)
    blades = [blade.name for blade in lab.blades]
    if unknown := sorted(names - set(blades)):
        raise SwarmError(f"no blade {', '.join(unknown)} in this lab", fix=f"its blades are {', '.join(blades)}")
    members = cluster.nodes(client)
    up, down = in_order(members, names, blades)
    promised = {node.id: replace(node, role="manager", raft=True, manager="promised") for node in up}
    if reason := why_not([promised.get(node.id, node) for node in members], down):
        raise SwarmError(f"the managers stay as they are: {reason}", fix="bring back those that are gone first")
    _remember(client, names)
    for node in up:
        promote(client, node, timeout_s=timeout_s)
    for node in down:
        cluster.demote(client, node.id)
    after = cluster.nodes(client)
    present = {node.blade for node in after if node.role == "manager" and node.ready}
    return Managers(
        chosen=tuple(sorted(names)),
        promoted=tuple(node.blade for node in up),
        demoted=tuple(node.blade for node in down),
        absent=tuple(sorted(names - present)),
        quorum=quorum(after),
    )


def promote(client: docker.DockerClient, node: Node, *, timeout_s: float = PROMOTE_S) -> None:
    """Make a worker a manager and wait until the group reaches it: a second, or half a minute (`PROMOTE_S`)."""
    cluster.change_node(client, node.id, lambda spec: spec.update(Role="manager"))
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if any(other.id == node.id and other.manager for other in cluster.nodes(client)):
            return
        time.sleep(0.2)
    raise SwarmError(f"{node.blade or node.hostname} is no manager {timeout_s:g} s after it was made one")


def check_power(nodes: list[Node], blades: Iterable[str], *, in_order: bool = False) -> None:
    """Raise SwarmError when switching these blades off, at once or ``in_order``, would lose the quorum."""
    names = set(blades)
    going = [node for node in nodes if node.blade in names and node.ready]
    if reason := why_not(nodes, going, dying=not in_order):
        raise SwarmError(
            f"not switched off: {reason}",
            fix="make them workers first (labkit swarm managers NAME… names those that stay), or say --force",
        )


def recover(
    client: docker.DockerClient,
    *,
    advertise: str,
    timeout_s: float = 60.0,
    progress: Callable[[str], None] = lambda line: None,
) -> Quorum:
    """Bring a swarm back that has lost its quorum: this engine becomes its only manager (``--force-new-cluster``).

    Nodes, services, configs and secrets stay as this engine knows them, workers that run go on and find it again by
    its address; what other managers alone had agreed on is lost. Raises SwarmError while there is a quorum.
    """
    with engine_errors():
        state = client.info()["Swarm"]
    if state["LocalNodeState"] != "active":
        raise SwarmError(
            f"this engine is in no swarm to be recovered (its state is '{state['LocalNodeState']}')",
            fix="restore a backup first: labkit swarm restore FILE",
        )
    if leads(client):
        raise SwarmError("the swarm has its quorum: there is nothing to recover", fix="labkit swarm nodes shows it")
    progress(f"the managers have lost their quorum; {advertise} goes on alone")
    return force_alone(client, advertise=advertise, timeout_s=timeout_s)


def force_alone(client: docker.DockerClient, *, advertise: str, timeout_s: float = 60.0) -> Quorum:
    """Make this engine the only manager of the swarm it is in, and wait until it leads."""
    with engine_errors():
        api(client).init_swarm(
            advertise_addr=advertise, listen_addr=f"{advertise}:{cluster.PORT}", force_new_cluster=True
        )
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if leads(client):
            return quorum(cluster.nodes(client))
        time.sleep(0.5)
    raise SwarmError(f"the swarm has no leader {timeout_s:g} s after it was forced", fix="look at the engine's log")


def leads(client: docker.DockerClient) -> bool:
    """Whether the swarm has a leader, and so answers."""
    try:
        api(client).nodes()
    except docker.errors.APIError as error:
        if leaderless(error):
            return False
        raise
    return True


def _remember(client: docker.DockerClient, names: frozenset[str]) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["Labels"] = {**(spec.get("Labels") or {}), LABEL: " ".join(sorted(names))}

    cluster.change_swarm(client, change)
