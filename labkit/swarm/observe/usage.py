"""What each node has, what services have asked of it, and what its system measures.

PURE. A manager knows of a node what its engine told it (``Description.Resources`` of ``GET /nodes``: processors and
memory) and what services reserve there (``Resources`` of ``GET /tasks``). How much is really used it does not know:
that is in the blade's own ``/proc`` (proc(5)).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labkit.swarm.node import read_node, read_task


@dataclass(frozen=True)
class Measured:
    """What a blade's system says: the load of the last minute (loadavg), memory in use and in all, in bytes.

    Memory that can be had at once, such as caches, is not in use (``MemAvailable``); files in memory, the root of a
    diskless blade and its images, are.
    """

    load: float
    used_b: int
    total_b: int


@dataclass(frozen=True, kw_only=True)
class Usage:
    """One node. ``cpus`` and ``memory_b`` are what its engine has, ``reserved_…`` what its tasks were promised and
    ``limit_b`` what those may use at most that have a limit; ``unlimited`` counts those that have none. ``tasks`` run,
    ``starting`` are to run. ``measured`` is None where the blade was not asked or does not answer.
    """

    node: str
    blade: str
    state: str
    availability: str
    cpus: float
    memory_b: int
    reserved_cpus: float = 0.0
    reserved_b: int = 0
    limit_b: int = 0
    unlimited: int = 0
    tasks: int = 0
    starting: int = 0
    measured: Measured | None = None


def usage(nodes: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]) -> tuple[Usage, ...]:
    """Each node's, from the engine's JSON, in the order of their names."""
    found = {raw["ID"]: _of_node(raw) for raw in nodes}
    for raw in tasks:
        task = read_task(raw)
        if task.node in found and task.wanted and not task.ended:
            found[task.node] = _with_task(found[task.node], raw, is_running=task.state == "running")
    return tuple(sorted(found.values(), key=lambda one: (one.blade or one.node, one.node)))


def _of_node(raw: Mapping[str, Any]) -> Usage:
    node, has = read_node(raw), raw.get("Description", {}).get("Resources") or {}
    return Usage(
        node=node.hostname, blade=node.blade, state=node.state, availability=node.availability,
        cpus=int(has.get("NanoCPUs", 0)) / 1e9, memory_b=int(has.get("MemoryBytes", 0)),
    )  # fmt: skip


def _with_task(node: Usage, raw: Mapping[str, Any], *, is_running: bool) -> Usage:
    asked = raw.get("Spec", {}).get("Resources") or {}
    reserved, limits = asked.get("Reservations") or {}, asked.get("Limits") or {}
    limit_b = int(limits.get("MemoryBytes", 0))
    return replace(
        node,
        reserved_cpus=node.reserved_cpus + int(reserved.get("NanoCPUs", 0)) / 1e9,
        reserved_b=node.reserved_b + int(reserved.get("MemoryBytes", 0)),
        limit_b=node.limit_b + limit_b,
        unlimited=node.unlimited + (not limit_b),
        tasks=node.tasks + is_running,
        starting=node.starting + (not is_running),
    )


def read_measured(text: str) -> Measured | None:
    """From the text of ``/proc/loadavg`` and ``/proc/meminfo``, in this order; None where it is something else."""
    load = re.match(r"(\d+\.\d+) ", text)
    memory = dict(re.findall(r"^(MemTotal|MemAvailable): +(\d+) kB$", text, re.MULTILINE))
    if load is None or len(memory) != 2:
        return None
    total_b = int(memory["MemTotal"]) << 10
    return Measured(float(load[1]), total_b - (int(memory["MemAvailable"]) << 10), total_b)
