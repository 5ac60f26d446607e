"""Who manages the swarm: chosen, changed in order, and brought back when too many managers were lost.

Which blades are managers stands in the swarm itself, as a label of it, so that a blade comes back in the role it had
and every part of the lab reads the same. Every function takes a client of a manager's engine and raises SwarmError.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.lab import Lab, Role
from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, engine_errors, read_local_swarm
from labkit.swarm.membership import autolock
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.membership.quorum import Quorum, in_order, quorum, why_not
from labkit.swarm.node import Node, relabel

LABEL = "labkit.managers"
"""The swarm's label that names the blades that shall be managers, with spaces between them."""


PROMOTE_S = 60.0
"""How long a worker may take to become a manager. One that was a manager until just now, and has not noticed yet that
it no longer is, waits twice 16 s before it starts again (``roleChangeTimeout`` in swarmkit's node.go)."""


@dataclass(frozen=True, kw_only=True)
class Managers:
    """What `ensure_managers` found and did: blades by name, the group as it is now, and whether it is locked with a
    key."""

    chosen: tuple[str, ...]
    promoted: tuple[str, ...] = ()
    demoted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    quorum: Quorum
    locked: bool = False

    def __str__(self) -> str:
        parts = ((self.promoted, "made managers"), (self.demoted, "made workers"), (self.absent, "managers once in"))
        done = [f"{', '.join(names)} {words}" for names, words in parts if names] or ["nothing to change"]
        more = (DISKLESS, LOCKED) if self.locked else (DISKLESS,)
        return "\n".join(["; ".join([*done, str(self.quorum)]), *(more if self.chosen else ())])


DISKLESS = (
    "Managers on diskless blades keep the swarm's state in memory. One that is switched off comes back as another\n"
    "member; when so many go at once that fewer than half plus one are left, only the controller's own state is left."
)
LOCKED = (
    "This swarm is locked with a key, and Docker brings none back that is: nothing helps when the majority is lost.\n"
    "With autolock the controller is best its only manager."
)


def chosen_managers(client: docker.DockerClient, lab: Lab) -> frozenset[str]:
    """The blades that shall be managers: as chosen last, else as ``lab.yaml`` says."""
    labels = cluster.swarm_labels(client)
    if LABEL in labels:
        return frozenset(str(labels[LABEL]).split()) & {blade.name for blade in lab.blades}
    return frozenset(blade.name for blade in lab.blades if blade.role is Role.MANAGER)


def ensure_managers(
    client: docker.DockerClient, lab: Lab, wanted: Iterable[str] | None = None, *, timeout_s: float = PROMOTE_S
) -> Managers:
    """Make exactly the ``wanted`` blades managers besides the controller, now and whenever they join again.

    Without ``wanted`` those chosen before stay. Promotions go first, one after the other. Raises SwarmError, before
    anything is changed, when a name is no blade's, the change would lose the quorum, or the swarm is somebody else's.
    """
    cluster.check_may_change(client, lab)
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
        locked=autolock.is_on(client),
    )


def look(client: docker.DockerClient, lab: Lab) -> str:
    """Which nodes manage, what that survives, and which chosen blades do not; nothing is changed. Raises SwarmError."""
    names, members = chosen_managers(client, lab), cluster.nodes(client)
    group = sorted(f"{node.blade or node.hostname}{'' if node.manager else ' (gone)'}" for node in members if node.raft)
    present = {node.blade for node in members if node.raft and node.manager}
    lines = [f"{', '.join(group)}; {quorum(members)}"]
    if absent := sorted(names - present):
        lines.append(
            f"chosen, and managers once in: {', '.join(absent)}; "
            f"where one is in as a worker: ./lab swarm managers {' '.join(sorted(names))}"
        )
    return "\n".join(lines)


def promote(client: docker.DockerClient, node: Node, *, timeout_s: float = PROMOTE_S) -> None:
    """Make a worker a manager and wait until the group reaches it: a second, or half a minute (`PROMOTE_S`)."""
    spec_changes.change_node(client, node.id, lambda spec: spec.update(Role="manager"))
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
            fix="make them workers first (./lab swarm managers NAME… names those that stay), or say --force",
        )


def force_alone(client: docker.DockerClient, *, advertise: str, timeout_s: float = 60.0) -> Quorum:
    """Make this engine the only manager of the swarm whose state it has, and wait until it leads.

    `labkit.swarm.recovery.recover` says when that is right: never where the swarm is locked with a key. Docker changes
    the swarm's authority by it where that had been changed by ``ForceRotate`` (MergeSwarmSpecToGRPC in moby's
    daemon/cluster/convert).
    """
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
    """Whether the swarm has a leader, and so answers. Raises SwarmError when it does not answer for another reason."""
    found = read_local_swarm(client, settle_s=0)
    if not found.answers and found.state is not LocalState.LEADERLESS:
        raise found.error()
    return found.answers


def _remember(client: docker.DockerClient, names: frozenset[str]) -> None:
    spec_changes.change_swarm(client, lambda spec: relabel(spec, {LABEL: " ".join(sorted(names))}))
