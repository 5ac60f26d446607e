"""Whose swarm it is: one that labkit made, or one that was there before and is somebody's.

PURE. In a virtual lab the engine is the lab's own, and so is its swarm. In a real lab it is this machine's, whose owner
may have had a swarm long before: that keeps its ways, and nothing of it is changed until he has said yes to what will
be. Which is which stands in the swarm itself, as labels of it, so that it lasts as long as the swarm does.
"""

from __future__ import annotations

from collections.abc import Mapping

from labkit.errors import SwarmError

MADE = "labkit.made"
"""The label of a swarm that labkit made; it holds the lab's name."""
AGREED = "labkit.agreed"
"""The label of a swarm that was found, once its owner has said yes; it holds the lab's name."""

FIX = "./lab swarm adopt --yes, or adopt=True in chapter 3 (./lab run -p adopt=true)"


def is_made(labels: Mapping[str, str], *, own_engine: bool) -> bool:
    """Whether labkit made the swarm with these labels; ``own_engine`` is a virtual lab's."""
    return own_engine or MADE in labels


def may_change(labels: Mapping[str, str], *, own_engine: bool) -> bool:
    """Whether labkit may change this swarm: it made it, or its owner said yes."""
    return is_made(labels, own_engine=own_engine) or AGREED in labels


def terms(*, services: int, nodes: int, availability: str) -> str:
    """What labkit will change of a swarm that was there before, and what it will not."""
    return TERMS.format(
        services=f"{services} service{'s' * (services != 1)}",
        nodes=f"{nodes} node{'s' * (nodes != 1)}",
        availability=availability,
    )


TERMS = """\
There is a swarm on this machine's engine that labkit did not make, with {services} and {nodes}. For the lab it would
- change the join tokens, behind every blade that joins and whenever a ticket was misused: a token that you have written
  down somewhere opens nothing then;
- add the lab's blades as nodes, label them (blade, chassis, slot, mac), and take them off the list when they are gone;
- write down in labels of the swarm that you agreed, and which blades are managers.
It leaves alone your services, your other nodes and their labels, and this node's availability: that stays
{availability}."""


def refusal(said: str = "") -> SwarmError:
    """What is said as long as nobody has said yes, with the `terms` where they are known."""
    what = "this machine's swarm was there before labkit, and nobody has said yes to changing it"
    return SwarmError(f"{what}.\n{said}" if said else what, fix=FIX)
