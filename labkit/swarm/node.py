"""`Node` and `Task`: what a manager knows about the swarm's members and their work, as frozen values.

PURE: read from the engine API's JSON (Docker Engine API v1.41, ``/nodes`` and ``/tasks``), no engine needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labkit.lab import Blade, Lab

LEAVING = "labkit.leaving"
"""A node's label while its blade leaves in order; it holds the boot that is leaving."""

ROLLING = "labkit.rolling"
"""A node's label while a roll empties it; it holds the availability that the node had before."""

LOST = "labkit.lost"
"""A node's label once its blade is gone without a word: when that was seen, in seconds since the epoch."""

OWN_LABELS = frozenset({"blade", "chassis", "slot", "mac"})
"""The node labels that every blade has (`node_labels`)."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A member of the swarm.

    ``blade`` and ``boot`` are the engine's own labels, empty on a node that is no blade of ours: the hostname proves
    nothing. ``state`` is ``ready``, ``down``, ``unknown`` or ``disconnected``; ``availability`` is ``active``,
    ``pause`` or ``drain``; ``raft`` says that it is a member of the managers' group (one whose role is ``manager`` may
    not be in yet, or no longer), ``manager`` is the address of such a member that can be reached, else empty;
    ``created`` is seconds since the epoch; ``labels`` are those the swarm keeps for the node.
    """

    id: str
    hostname: str
    blade: str = ""
    boot: str = ""
    role: str = "worker"
    state: str = "unknown"
    availability: str = "active"
    address: str = ""
    raft: bool = False
    manager: str = ""
    leader: bool = False
    created: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.state == "ready"

    @property
    def leaving(self) -> bool:
        """Whether its blade has begun an orderly leave in this boot."""
        return bool(self.boot) and self.labels.get(LEAVING) == self.boot

    @property
    def rolling(self) -> str:
        """The availability it had before a roll began to empty it; empty where none did."""
        return self.labels.get(ROLLING, "")

    @property
    def lost(self) -> float | None:
        """Since when its blade is gone without a word, in seconds since the epoch; None when it is not."""
        text = self.labels.get(LOST, "")
        return float(text) if text.isdecimal() else None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One replica of a service on its way through its life.

    ``slot`` is 0 for a task of a global service. ``state`` is where it is, ``desired`` where the swarm wants it;
    ``error`` is the engine's sentence when something is in the way. ``container`` is the container's specification,
    to be compared with the service's.
    """

    id: str
    service: str
    slot: int = 0
    node: str = ""
    state: str = "new"
    desired: str = "running"
    message: str = ""
    error: str = ""
    created: float = 0.0
    container: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether its container is gone, or never came to be (swarmkit's states after ``running``)."""
        return self.state in ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")

    @property
    def wanted(self) -> bool:
        """Whether the swarm wants it to run; a task that waits for its predecessor to stop is ``ready`` until then."""
        return self.desired in ("running", "ready")


def read_node(raw: Mapping[str, Any]) -> Node:
    """A node from one element of the answer to ``GET /nodes``."""
    description, spec, status = raw.get("Description", {}), raw.get("Spec", {}), raw.get("Status", {})
    engine_labels = description.get("Engine", {}).get("Labels") or {}
    manager = raw.get("ManagerStatus") or {}
    return Node(
        id=raw["ID"],
        hostname=description.get("Hostname", ""),
        blade=engine_labels.get("blade", ""),
        boot=engine_labels.get("boot", ""),
        role=spec.get("Role", "worker"),
        state=status.get("State", "unknown"),
        availability=spec.get("Availability", "active"),
        address=_address(status.get("Addr", ""), manager.get("Addr", "")),
        raft=bool(manager),
        manager=manager.get("Addr", "") if manager.get("Reachability") == "reachable" else "",
        leader=bool(manager.get("Leader", False)),
        created=read_time(raw.get("CreatedAt", "")),
        labels=dict(spec.get("Labels") or {}),
    )


def read_task(raw: Mapping[str, Any]) -> Task:
    """A task from one element of the answer to ``GET /tasks``."""
    status = raw.get("Status", {})
    return Task(
        id=raw["ID"],
        service=raw.get("ServiceID", ""),
        slot=raw.get("Slot", 0),
        node=raw.get("NodeID", ""),
        state=status.get("State", "new"),
        desired=raw.get("DesiredState", "running"),
        message=status.get("Message", ""),
        error=status.get("Err", ""),
        created=read_time(raw.get("CreatedAt", "")),
        container=raw.get("Spec", {}).get("ContainerSpec") or {},
    )


def node_labels(lab: Lab, blade: Blade) -> dict[str, str]:
    """The labels a blade's node gets, so that services can be placed by what the blade is and where it sits.

    Those of ``labels:`` in the lab's file are among them.
    """
    own = {"blade": blade.name, "chassis": lab.chassis.name, "slot": str(blade.slot), "mac": blade.macs[0]}
    return {**blade.labels, **own}


def find_node(members: Iterable[Node], blade: str, boot: str) -> Node | None:
    """The node of one boot of a blade; the newest, should it have joined twice."""
    found = [node for node in members if (node.blade, node.boot) == (blade, boot) and blade and boot]
    return max(found, key=lambda node: node.created, default=None)


def read_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time with nanoseconds, as the engine writes it; 0 when there is none."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text)
    if match is None:
        return 0.0
    whole, fraction, zone = match.groups()
    return datetime.fromisoformat(whole + zone).timestamp() + float(fraction or 0)


def _address(seen: str, advertised: str) -> str:
    """The node's address. A manager may see itself as 0.0.0.0: then the one it advertises says more."""
    if seen in ("", "0.0.0.0") and advertised:
        return advertised.rsplit(":", 1)[0]
    return seen


def relabel(spec: dict[str, Any], labels: Mapping[str, str], drop: Iterable[str] = ()) -> None:
    """Put labels into the specification of a node, a service or the swarm, and ``drop`` some; the others stay.

    The mapping in it is not altered but replaced, so that a shallow copy of a specification can be compared with it.
    """
    gone = frozenset(drop)
    kept = {key: value for key, value in (spec.get("Labels") or {}).items() if key not in gone}
    spec["Labels"] = {**kept, **labels}
