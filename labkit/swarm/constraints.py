"""Whether a node meets the constraints by which services are placed.

PURE. A constraint is ``KEY == VALUE`` or ``KEY != VALUE``; values are compared without their case (swarmkit,
manager/constraint).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from labkit.swarm.node import Node


def fits(node: Node, constraints: Iterable[str]) -> bool:
    """Whether a node meets all of them, as far as its values tell.

    Of a key that is not known here, such as ``node.platform.arch``, all nodes are taken to be alike.
    """
    return all(meets(node, text) for text in constraints)


def meets(node: Node, constraint: str) -> bool:
    """Whether a node meets one constraint; what is none is met by all."""
    match = re.fullmatch(r"\s*([\w.\-/]+)\s*(==|!=)\s*(.*?)\s*", constraint)
    if match is None:
        return True
    key, operator, value = match.groups()
    known = {
        "node.id": node.id, "node.hostname": node.hostname, "node.role": node.role,
        "engine.labels.blade": node.blade, "engine.labels.boot": node.boot,
    }  # fmt: skip
    if key.lower() in known:
        has = known[key.lower()]
    elif key.lower().startswith("node.labels."):
        has = node.labels.get(key[len("node.labels.") :], "")
    else:
        return True
    return (has.casefold() == value.casefold()) is (operator == "==")
