"""The swarm in numbers, as ``/metrics`` tells them.

PURE. Whoever reaches the boot server may read them: so they are sums with labels from fixed sets, and no names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from labkit.swarm.membership.quorum import quorum
from labkit.swarm.node import Node
from labkit.swarm.observe.usage import Usage
from labkit.swarm.services.health import ServiceState

Number = tuple[str, dict[str, str], float]
"""A gauge's name, its labels and its value. JSON can carry it."""


def numbers(
    nodes: Sequence[Node], states: Iterable[ServiceState], reasons: Mapping[str, str], used: Iterable[Usage]
) -> list[Number]:
    """All there is to tell; ``reasons`` says why a service is not whole, and is empty where it is."""
    counted = Counter((node.role, node.state) for node in nodes)
    held, services = quorum(nodes), list(states)
    able = [one for one in used if one.state == "ready" and one.availability == "active"]
    whole = sum(not why for why in reasons.values())
    return [
        *(
            ("labkit_swarm_nodes", {"role": role, "state": state}, count)
            for (role, state), count in sorted(counted.items())
        ),
        ("labkit_swarm_managers", {"kind": "reachable"}, held.reachable),
        ("labkit_swarm_managers", {"kind": "needed"}, held.needed),
        ("labkit_swarm_services", {"state": "whole"}, whole),
        ("labkit_swarm_services", {"state": "not_whole"}, len(reasons) - whole),
        ("labkit_swarm_replicas", {"state": "running"}, sum(state.running for state in services)),
        ("labkit_swarm_replicas", {"state": "wanted"}, sum(state.wanted for state in services)),
        ("labkit_swarm_memory_bytes", {"kind": "total"}, sum(one.memory_b for one in able)),
        ("labkit_swarm_memory_bytes", {"kind": "reserved"}, sum(one.reserved_b for one in able)),
        ("labkit_swarm_cpus", {"kind": "total"}, sum(one.cpus for one in able)),
        ("labkit_swarm_cpus", {"kind": "reserved"}, sum(one.reserved_cpus for one in able)),
    ]
