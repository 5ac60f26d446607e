"""Nodes as the pure tests make them."""

from __future__ import annotations

from labkit.swarm.node import LEAVING, LOST, Node

LABELS = {name: {"blade": name, "slot": name[-1]} for name in ("blade1", "blade2", "blade3")}


def node(id: str, blade: str = "blade1", boot: str = "a", *, state: str = "ready", at: float = 1, leaving: str = "",
         labelled: bool = True, availability: str = "active", lost: int | None = None) -> Node:  # fmt: skip
    labels = {**(LABELS.get(blade, {}) if labelled else {}), **({LEAVING: leaving} if leaving else {})}
    labels |= {LOST: str(lost)} if lost is not None else {}
    return Node(id=id, hostname=blade or id, blade=blade, boot=boot, state=state, created=at, labels=labels,
                availability=availability)  # fmt: skip
