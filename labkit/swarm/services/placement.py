"""Why no node can run a service that asks for a manager, and the ways out.

PURE. ``node.role == manager`` is in the most deployed stacks, since a proxy, Portainer or the Visualizer asks its own
engine about the whole swarm. In a lab the only manager is the controller, which is drained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from labkit.swarm.node import Node

FOR_MANAGERS = re.compile(r"\s*node\.role\s*(==\s*manager|!=\s*worker)\s*", re.IGNORECASE)
"""A constraint that only a manager meets; keys and values are compared without regard to case (swarmkit's
constraint.go)."""


def ways_out(constraints: Iterable[str], nodes: Sequence[Node]) -> str:
    """What holds a service up that may run on managers only, and what to do, or an empty text.

    It holds it up while no manager is Ready and takes tasks.
    """
    asked = next((text.strip() for text in constraints if FOR_MANAGERS.fullmatch(text)), "")
    managers = [node for node in nodes if node.role == "manager"]
    if not asked or not managers or any(node.ready and node.availability == "active" for node in managers):
        return ""
    names = {node.id: node.blade or node.hostname for node in managers}
    if len(managers) == 1:
        who = f"the only manager, {names[managers[0].id]}, {_why(managers[0])}"
    else:
        who = f"no manager takes tasks: {', '.join(f'{names[node.id]} {_why(node)}' for node in managers)}"
    ways = [f"let it run on blades too, without '{asked}'"]
    idle = [names[node.id] for node in managers if node.ready]
    if idle:
        ways.insert(0, f"let {idle[0]} take tasks (docker node update --availability active {idle[0]})")
    workers = sorted(node.blade for node in nodes if node.blade and node.ready and node.role == "worker")
    if len(workers) >= 2:
        ways.insert(0, f"make blades managers as well (./lab swarm managers {' '.join(workers[:2])})")
    return f"it asks for {asked}, and {who}; {', or '.join(ways)}"


def _why(node: Node) -> str:
    if not node.ready:
        return f"is {node.state}"
    return {"drain": "is drained", "pause": "is paused"}.get(node.availability, "takes no tasks")
