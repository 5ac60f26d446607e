"""The swarm itself: made and listed, and its nodes waited for, changed and removed.

Every function takes a client of a manager's engine (`labkit.swarm.engine.connect`) and raises SwarmError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.lab import Lab, NetworkKind
from labkit.lab.model import VXLAN_PORT
from labkit.machines.host.routes import reached_networks
from labkit.swarm.engine import api, engine_errors, need_manager, read_local_swarm
from labkit.swarm.membership import address_pool, adoption, autolock
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.membership.quorum import why_not
from labkit.swarm.node import Node, read_node, relabel
from labkit.swarm.recovery import certificate
from labkit.swarm.spec_changes import change_node, change_swarm

PORT = certificate.PORT
TASK_HISTORY = 3
"""How many tasks of a replica a swarm of labkit's remembers, with their containers and logs: the one that runs and two
before it. Docker's own five are for disks; on a blade they are memory."""


@dataclass(frozen=True, kw_only=True)
class SwarmState:
    """The swarm as `ensure_swarm` left it.

    ``created`` is False when it was found in place, ``made`` True when labkit made it, then or before. ``node`` is the
    controller's node id. ``mesh`` says whether the controller's kernel has ip_vs: without it a port published through
    the routing mesh does not answer on the controller itself, while the blades, with kernels of their own, are not
    touched by that. ``lock`` says where the swarm is locked with a key and lab.yaml has it otherwise, and what helps.
    """

    id: str
    node: str
    address: str
    created: bool
    made: bool
    drained: bool
    managers: int
    workers: int
    mesh: bool
    lock: str = ""

    def __str__(self) -> str:
        found = "found in place" if self.made else "found in place, not of labkit's making"
        return (
            f"swarm {self.id[:12]} {'made' if self.created else found}: "
            f"{self.managers} manager{'s' * (self.managers != 1)}, {self.workers} worker{'s' * (self.workers != 1)}; "
            f"the controller {self.address} {'takes no tasks' if self.drained else 'takes tasks'}"
            + ("" if self.mesh else "; its kernel has no ip_vs, so published ports answer on the blades only")
            + (f"; {self.lock}" if self.lock else "")
        )


def ensure_swarm_of(client: docker.DockerClient, lab: Lab, *, adopt: bool = False) -> SwarmState:
    """`ensure_swarm` for a lab, as its ``lab.yaml`` has it; ``adopt`` is the yes to changing a swarm that was found."""
    return ensure_swarm(
        client,
        advertise=str(lab.network.controller),
        drained=lab.swarm.drained,
        own_engine=is_own_engine(lab),
        adopt=adopt,
        name=lab.name,
        pool=lab.swarm.pool,
        data_path_port=lab.swarm.data_path_port,
        beside=lab.network.subnet,
        locked=lab.swarm.autolock,
    )


def is_own_engine(lab: Lab) -> bool:
    """Whether the controller's engine, and with it whatever swarm it has, is the lab's own."""
    return lab.network.kind is NetworkKind.VIRTUAL


def ensure_swarm(
    client: docker.DockerClient,
    *,
    advertise: str,
    drained: bool | None = None,
    own_engine: bool = True,
    adopt: bool = False,
    name: str = "lab",
    pool: IPv4Network | None = None,
    beside: IPv4Network | None = None,
    data_path_port: int | None = None,
    locked: bool | None = None,
) -> SwarmState:
    """Make the engine the first manager of a swarm at address ``advertise``, unless it is that already.

    A drained controller manages and runs no tasks. ``drained`` decides that for a swarm that labkit made; without it
    one that is made now is drained, and any other stays as it is. A swarm that was found is never drained, nor made
    active (`labkit.swarm.membership.adoption`). Overlay networks of one that is made now are taken from ``pool``,
    without it from a part of the private networks that this machine has no route to, and that is not ``beside``, the
    lab's own network; their packets go over UDP ``data_path_port``, without it over Docker's own, 4789. With ``locked``
    it is locked with a key (`labkit.swarm.membership.autolock`), which the lab's supervisor keeps as soon as it sees
    the swarm; one that was there keeps what it has.

    Raises SwarmError when a swarm that is there has another such port, when it was found and nobody has said yes to
    changing it, as ``adopt`` does now and for later, and when the engine is in a swarm that cannot be asked through it
    (`labkit.swarm.membership.local_state`): as a worker, locked, without a leader, at another address.
    """
    created = read_local_swarm(client, advertise=advertise).state is LocalState.NONE
    with engine_errors():
        if created:
            own = beside or IPv4Network(f"{advertise}/24", strict=False)
            api(client).init_swarm(
                advertise_addr=advertise,
                listen_addr=f"{advertise}:{PORT}",
                default_addr_pool=[str(pool or address_pool.choose((own, *reached_networks())))],
                subnet_size=address_pool.SIZE,
                data_path_port=data_path_port,
                swarm_spec={
                    "Name": "default",
                    "Labels": {adoption.MADE: name},
                    "Orchestration": {"TaskHistoryRetentionLimit": TASK_HISTORY},
                },
            )
            certify_long(client)
            autolock.switch(client, bool(locked))
        need_manager(client, advertise=advertise)
        _check_data_path(client, data_path_port)
        swarm = client.info()["Swarm"]
        labels = swarm_labels(client)
        made = adoption.is_made(labels, own_engine=own_engine)
        if adopt and not made:
            agree(client, name)
        elif not adoption.may_change(labels, own_engine=own_engine):
            raise adoption.refusal(terms(client))
        if made and (created or drained is not None):
            want = "active" if drained is False else "drain"
            change_node(client, swarm["NodeID"], lambda spec: spec.update(Availability=want))
        members = nodes(client)
        said, fix = autolock.judge(autolock.is_on(client), locked, kept=True)
    managers = sum(node.role == "manager" for node in members)
    return SwarmState(
        id=swarm["Cluster"]["ID"],
        node=swarm["NodeID"],
        address=swarm["NodeAddr"],
        created=created,
        made=made,
        drained=any(node.id == swarm["NodeID"] and node.availability == "drain" for node in members),
        managers=managers,
        workers=len(members) - managers,
        mesh=Path("/proc/net/ip_vs").exists(),
        lock=f"{said}: {fix}" if fix else "",
    )


def _check_data_path(client: docker.DockerClient, wanted: int | None) -> None:
    has = int(api(client).inspect_swarm().get("DataPathPort") or VXLAN_PORT)
    if wanted is not None and wanted != has:
        what = f"the swarm's overlay networks go over UDP port {has}, and lab.yaml says {wanted}"
        fix = f"swarm: {{ data_path_port: {has} }} in lab.yaml; a swarm keeps the port that it was made with"
        raise SwarmError(what, where="data_path_port", fix=fix)


def certify_long(client: docker.DockerClient, *, timeout_s: float = 30.0) -> None:
    """Let a swarm that was just made certify its nodes for `certificate.EXPIRY_S`, the controller's own among them.

    That one has been certified for Docker's 90 days by then, and a new one comes with a new authority only, as of
    ``docker swarm ca --rotate --ca-cert … --ca-key …``. The join tokens are others afterwards. When it takes longer, it
    goes on by itself. Raises SwarmError.
    """
    # Not by ForceRotate: a forced new cluster sets that back to 0, and would change the authority once more.
    signing = certificate.new_authority()

    def change(spec: dict[str, Any]) -> None:
        certificate.ensure_long(spec)
        spec["CAConfig"] = {**spec["CAConfig"], **signing}

    change_swarm(client, change)
    deadline = time.monotonic() + timeout_s
    while api(client).inspect_swarm().get("RootRotationInProgress") and time.monotonic() < deadline:
        time.sleep(0.2)


def swarm_labels(client: docker.DockerClient) -> dict[str, str]:
    """The labels of the swarm itself."""
    with engine_errors():
        return dict(api(client).inspect_swarm()["Spec"].get("Labels") or {})


def check_may_change(client: docker.DockerClient, lab: Lab) -> None:
    """Raise SwarmError where the swarm was there before the lab, and nobody has said yes to changing it."""
    own_engine = is_own_engine(lab)
    if not own_engine and not adoption.may_change(swarm_labels(client), own_engine=own_engine):
        raise adoption.refusal()


def agree(client: docker.DockerClient, name: str) -> None:
    """Remember that the owner of a swarm that was found has said yes to the lab of this name."""
    change_swarm(client, lambda spec: relabel(spec, {adoption.AGREED: name}))


def terms(client: docker.DockerClient) -> str:
    """What labkit will change of the swarm that was found here, for the person who is to say yes."""
    own = need_manager(client).node
    members = nodes(client)
    with engine_errors():
        services = len(api(client).services())
    availability = next((node.availability for node in members if node.id == own), "active")
    return adoption.terms(services=services, nodes=len(members), availability=availability)


def nodes(client: docker.DockerClient) -> list[Node]:
    """The members, the controller's own node among them, oldest first."""
    with engine_errors():
        return read_nodes(api(client).nodes())


def read_nodes(listed: Iterable[Mapping[str, Any]]) -> list[Node]:
    """The members in the answer to ``GET /nodes``, oldest first."""
    return sorted((read_node(raw) for raw in listed), key=lambda node: (node.created, node.id))


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
                fix=f"look at the console: ./lab console {missing[0]}",
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
            raise SwarmError(f"the list is not in order after {timeout_s:g} s: {listed}", fix="./lab swarm nodes")
        time.sleep(0.25)


def label_nodes(client: docker.DockerClient, node: str, labels: Mapping[str, str], *, drop: Iterable[str] = ()) -> None:
    """Put labels on a node and ``drop`` some; others stay. Services are placed by them (``node.labels.slot==2``)."""
    gone = frozenset(drop)  # it is read again where somebody else's write comes between
    change_node(client, node, lambda spec: relabel(spec, labels, gone))


def drain(client: docker.DockerClient, node: str, *, labels: Mapping[str, str] | None = None) -> None:
    """Let a node take no more tasks and give up those it has; ``labels`` go on with the same stroke."""
    _let(client, node, "drain", labels)


def pause(client: docker.DockerClient, node: str, *, labels: Mapping[str, str] | None = None) -> None:
    """Let a node take no more tasks and keep those it has; ``labels`` go on with the same stroke."""
    _let(client, node, "pause", labels)


def _let(client: docker.DockerClient, node: str, availability: str, labels: Mapping[str, str] | None) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["Availability"] = availability
        relabel(spec, labels or {})

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
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            change_node(client, node, lambda spec: spec.update(Role="worker"))
            break
        except SwarmError as error:  # one that was just made a manager cannot be demoted before it is one
            if "memberlist" not in error.what or time.monotonic() > deadline:
                raise
        time.sleep(0.2)
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
