"""How many managers the swarm can lose, and what must not be done because it would lose more.

PURE. The managers agree by raft: nothing in the swarm can be changed while fewer than half of them plus one can be
reached (the quorum). Services go on as they are then, but nothing that fails is replaced, nobody joins, and nobody
leaves in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from labkit.swarm.node import Node

NUMBERS = {0: "none", 1: "one", 2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Quorum:
    """A group of managers: how many there are, and how many of them answer."""

    managers: int
    reachable: int

    @property
    def needed(self) -> int:
        """How many must answer for the swarm to change anything."""
        return self.managers // 2 + 1

    @property
    def held(self) -> bool:
        return self.reachable >= self.needed

    @property
    def survives(self) -> int:
        """How many more may be lost."""
        return max(0, self.reachable - self.needed)

    def __str__(self) -> str:
        if not self.held:
            return f"{self.reachable} of {self.managers} managers can be reached and {self.needed} are needed: " + LOST
        words = "1 manager" if self.managers == 1 else f"{self.managers} managers"
        gone = self.managers - self.reachable
        words += f", {NUMBERS.get(gone, gone)} of them gone" if gone else ""
        return f"{words}: {tells(self.survives)}" + (EVEN if self.managers % 2 == 0 and not gone else "")


LOST = "services run on as they are, and nothing can be changed until enough of them are back"
EVEN = f" (an even number survives no more than the odd one below it: {NUMBERS[1]} less would do)"


def tells(survives: int) -> str:
    """What a group of managers survives, in words."""
    if survives == 0:
        return "none may be lost, or nothing can be changed any more"
    return f"the swarm survives the loss of {NUMBERS.get(survives, survives)} of them"


def quorum(nodes: Iterable[Node]) -> Quorum:
    """The managers among these nodes. A manager that is no longer reachable still counts as one."""
    managers = [node for node in nodes if node.raft]
    return Quorum(len(managers), sum(bool(node.manager) for node in managers))


def why_not(nodes: Sequence[Node], going: Iterable[Node], *, dying: bool = False) -> str:
    """Why these nodes must not go, or an empty string when they may.

    In order (``dying`` False) a manager first becomes a worker, so the group gets smaller with each one; one that is
    switched off instead stays a member that is not reachable.
    """
    ids = {node.id for node in going if node.raft}
    lost = [node for node in nodes if node.id in ids]
    before = quorum(nodes)
    if not lost or not before.managers:
        return ""
    names = ", ".join(sorted(node.blade or node.hostname for node in lost))
    one = len(lost) == 1
    if not before.held:
        return f"the managers have lost their quorum already: {before}"
    reachable = before.reachable - sum(bool(node.manager) for node in lost)
    after = Quorum(before.managers - (0 if dying else len(lost)), reachable)
    if after.managers == 0:
        return f"{names} {'is the only manager' if one else 'are all the managers'}: the swarm would be lost"
    if after.held:
        return ""
    return (
        f"without {names} {after.reachable} of {after.managers} managers could be reached and {after.needed} are "
        f"needed: {LOST}"
    )


def in_order(nodes: Iterable[Node], wanted: Iterable[str], blades: Iterable[str]) -> tuple[tuple[Node, ...], ...]:
    """The nodes to promote and the nodes to demote so that of these ``blades`` exactly ``wanted`` are managers.

    Only Ready nodes are promoted. To be done one after the other, promotions first: the group is never smaller than it
    must be. What cannot be reached is demoted before what can, as that makes the rest safer. A manager that is down and
    no member of the group any more is none: swarm was forced to go on without it, and refuses to demote it.
    """
    chosen, known = set(wanted), set(blades)
    mine = sorted((node for node in nodes if node.blade in known), key=lambda node: (node.blade, node.created))
    up = tuple(node for node in mine if node.blade in chosen and node.role == "worker" and node.ready)
    down = [node for node in mine if node.blade not in chosen and node.role == "manager" and (node.raft or node.ready)]
    return up, tuple(sorted(down, key=lambda node: bool(node.manager)))
