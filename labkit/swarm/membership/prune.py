"""Which nodes can be taken off the list by hand, and why each: the article's one-liner done right.

PURE. ``docker node ls | grep Down | … | xargs docker node rm`` takes everybody who is Down just then: strangers, and
managers without whom nothing can be changed any more. Here only Down nodes of this lab's blades go, and no quorum.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from labkit.swarm.membership.quorum import why_not
from labkit.swarm.node import Node, find_node


@dataclass(frozen=True)
class Verdict:
    """What becomes of a node, and why, in a few words."""

    node: Node
    goes: bool
    why: str


def judge_nodes(nodes: Sequence[Node], blades: Collection[str]) -> tuple[Verdict, ...]:
    """A verdict on each node that is not Ready, oldest first; Ready ones are not spoken of."""
    gone: list[Node] = []
    verdicts = []
    for node in nodes:
        if node.ready:
            continue
        goes, why = _judge(node, nodes, blades)
        quorum = why_not(nodes, [*gone, node]) if goes else ""
        if quorum:
            goes, why = False, quorum
        if goes:
            gone.append(node)
        verdicts.append(Verdict(node, goes, why))
    return tuple(verdicts)


def _judge(node: Node, nodes: Sequence[Node], blades: Collection[str]) -> tuple[bool, str]:
    if node.blade not in blades:
        return False, "not a blade of this lab: never touched"
    if node.state != "down":
        return False, f"it is '{node.state}', which passes"
    newer = [other for other in nodes if other.blade == node.blade and other.created > node.created]
    if any(other.ready for other in newer) or find_node(newer, node.blade, node.boot):
        return True, "a ghost: its blade has joined again"
    return True, "its blade is gone without a word" if node.lost is not None else "its blade is gone"
