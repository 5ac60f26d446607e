"""What must be done about the nodes the swarm lists, so that dead ones do not pile up.

PURE. Nodes are matched by the labels of their engines (``blade=`` and ``boot=``, written by Ignition), never by
hostname. A blade keeps its name over reboots while its swarm identity is new each time, since nothing of it stays on a
diskless blade. So

- a **ghost** is a Down node of a blade that has joined again since: it is removed;
- a node whose blade left in order is removed once it is Down (swarmd has normally done so seconds before);
- a blade gone without a word keeps its Down node, marked with the time, since that is worth seeing; it is removed when
  it has been so for as long as the lab allows;
- a node that is no blade of this lab is shown and never touched;
- a node that is not Down is never removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from labkit.events import Swarm
from labkit.swarm.node import LOST, Node, find_node, relabel

Why = Literal["ghost", "left", "lost"]


@dataclass(frozen=True)
class Remove:
    """Take a node off the list: it is a ghost, its blade left in order, or it has been lost for long enough."""

    node: Node
    why: Why


@dataclass(frozen=True)
class PutLabels:
    """Put labels on a node that lacks them, and ``drop`` others.

    Labels go with the node, so a blade that joins again comes without.
    """

    node: Node
    labels: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Carry:
    """Give a node what a person had said about its blade's last one: ``labels``, and an ``availability`` if not empty.

    ``drop`` are labels that the lab's file gave once and gives no longer.
    """

    node: Node
    labels: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    availability: str = ""

    def onto(self, spec: dict[str, Any]) -> None:
        """Change a node's specification, as the engine has it, so that it says this."""
        relabel(spec, self.labels, self.drop)
        if self.availability:
            spec["Availability"] = self.availability


Action = Remove | PutLabels | Carry


def joined_boots(nodes: Iterable[Node], told: Mapping[str, str]) -> dict[str, str]:
    """The boot in which each blade has joined last: the newest Ready node shows it, else what was known before."""
    boots = dict(told)
    for node in sorted(nodes, key=lambda node: node.created):
        if node.ready and node.blade and node.boot:
            boots[node.blade] = node.boot
    return boots


def reconcile(
    nodes: Iterable[Node],
    boots: Mapping[str, str],
    labels: Mapping[str, Mapping[str, str]],
    *,
    now: float,
    lost_after_s: float | None,
) -> tuple[Action, ...]:
    """The actions that bring the list of nodes in order; none when it is.

    ``boots`` gives the boot each blade has joined in (`joined_boots`), ``labels`` the node labels of each blade of this
    lab: a node of any other name is left alone. ``now`` is seconds since the epoch, ``lost_after_s`` how long a blade
    that is gone without a word stays on the list, None for ever.
    """
    members = [node for node in nodes if node.blade in labels]
    actions: list[Action] = []
    for node in members:
        if node.state == "down":
            current = find_node(members, node.blade, boots.get(node.blade, ""))
            why = why_remove(node, current, now, lost_after_s)
            if why is not None:
                actions.append(Remove(node, why))
            elif node.lost is None:
                actions.append(PutLabels(node, {LOST: str(int(now))}))
        elif node.ready:
            lacking = {key: value for key, value in labels[node.blade].items() if node.labels.get(key) != value}
            found = (LOST,) if LOST in node.labels else ()
            if lacking or found:
                actions.append(PutLabels(node, lacking, found))
    return tuple(actions)


def why_remove(node: Node, current: Node | None, now: float, lost_after_s: float | None) -> Why | None:
    """Why a Down node is to be removed, if it is; ``current`` is the node its blade has joined as last."""
    if current is not None and node.created < current.created:
        return "ghost"
    if node.leaving:
        return "left"
    if node.lost is not None and lost_after_s is not None and now - node.lost >= lost_after_s:
        return "lost"
    return None


def changes(
    before: Mapping[str, Node] | None, after: Mapping[str, Node], removed: Mapping[str, Why] | None = None
) -> tuple[Swarm, ...]:
    """The events between two looks at the nodes, each look a mapping by node id.

    ``before`` is None at the first look, which tells only who is Ready and who is Down. ``removed`` says of nodes that
    were removed in between why they were. A node is in the list a moment before its engine has said whose it is: until
    then nothing is told of it.
    """
    before, after = None if before is None else _described(before), _described(after)
    events: list[Swarm] = []
    for node in after.values():
        was = None if before is None else before.get(node.id)
        if before is not None and was is None:
            events.append(_event(node, "joined", f"as {node.role} at {node.address}"))
        if node.state in ("ready", "down") and (was is None or was.state != node.state):
            events.append(_event(node, node.state, node.hostname))
        if node.lost is not None and was is not None and was.lost is None:
            events.append(_event(node, "lost", "its blade is gone without a word"))
        if was is not None and was.role != node.role:
            events.append(_event(node, "promoted" if node.role == "manager" else "demoted"))
        if was is not None and was.availability != node.availability:
            events.append(_event(node, {"drain": "drained", "pause": "paused"}.get(node.availability, "activated")))
    for gone in (node for id, node in (before or {}).items() if id not in after):
        events.append(_event(gone, _REMOVED[(removed or {}).get(gone.id, "left")], gone.hostname))
    return tuple(events)


def _described(nodes: Mapping[str, Node]) -> dict[str, Node]:
    return {id: node for id, node in nodes.items() if node.hostname}


_REMOVED: Mapping[Why, str] = {"ghost": "ghost-removed", "left": "removed", "lost": "lost-removed"}


def _event(node: Node, action: str, detail: str = "") -> Swarm:
    return Swarm(action=action, node=node.id, blade=node.blade, boot=node.boot, detail=detail)
