"""Which services lie on few nodes after a roll, and could lie on more.

PURE. Swarm moves no replica that runs: a blade that has just come back is empty until something starts. To spread a
service again its replicas are started anew by its own update rules (``docker service update --force``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.swarm.constraints import fits
from labkit.swarm.node import Node, Task

UNEVEN = 2
"""Where the fullest node has so many replicas more than the emptiest, one of them could move."""


@dataclass(frozen=True)
class Verdict:
    """A service that lies unevenly: its id and name, replicas by node, and whether it is spread; ``why`` not."""

    service: str
    name: str
    replicas: Mapping[str, int]
    goes: bool
    why: str = ""


def judge_spread(
    services: Sequence[Mapping[str, Any]], tasks: Sequence[Task], nodes: Sequence[Node]
) -> tuple[Verdict, ...]:
    """A verdict on each service that lies unevenly; the others are not spoken of."""
    verdicts = (_judge(raw, [task for task in tasks if task.service == raw["ID"]], nodes) for raw in services)
    return tuple(sorted((found for found in verdicts if found is not None), key=lambda found: found.name))


def _judge(raw: Mapping[str, Any], tasks: Sequence[Task], nodes: Sequence[Node]) -> Verdict | None:
    spec = raw["Spec"]
    wanted = int((spec["Mode"].get("Replicated") or {}).get("Replicas", 0))
    placement = spec["TaskTemplate"].get("Placement") or {}
    able = [
        node
        for node in nodes
        if node.ready and node.availability == "active" and fits(node, placement.get("Constraints") or ())
    ]
    held = Counter(task.node for task in tasks if task.wanted and task.state == "running")
    if wanted < 2 or len(able) < 2:
        return None
    counts = {node.blade or node.hostname: held[node.id] for node in able}
    if max(counts.values()) - min(counts.values()) < UNEVEN:
        return None
    update = spec.get("UpdateConfig") or {}
    at_once = int(update.get("Parallelism", 1))
    if at_once == 0 or at_once >= wanted:
        return Verdict(raw["ID"], spec["Name"], counts, False, "its update rules replace all replicas at once")
    return Verdict(raw["ID"], spec["Name"], counts, True)
