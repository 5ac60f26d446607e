"""This machine's routes, as ip-route(8) shows them, and the networks they lead to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any

SHORTEST_PREFIX = 8
"""A route to more than that is a default one: a VPN has two halves of one, 0.0.0.0/1 and 128.0.0.0/1."""


def routes(*words: str) -> list[dict[str, Any]]:
    """The IPv4 routes that ``ip route show`` lists with these words, in the caller's network namespace; none where it
    cannot say."""
    command = ["ip", "-json", "-4", "route", "show", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return list(json.loads(done.stdout or "[]"))


def reached_networks() -> tuple[IPv4Network, ...]:
    """The destinations of all routes in the caller's network namespace, each once, without default routes."""
    return destinations(routes("table", "all"))


def destinations(found: Iterable[Mapping[str, Any]]) -> tuple[IPv4Network, ...]:
    """Where routes lead, without the loopback's, those that lead nowhere or to everybody, and default ones."""
    networks = set()
    for route in found:
        target = str(route.get("dst", "default"))
        if target == "default" or route.get("type", "unicast") not in ("unicast", "local"):
            continue
        try:
            network = IPv4Network(target)
        except ValueError:
            continue
        if network.prefixlen >= SHORTEST_PREFIX and not network.is_loopback and not network.is_multicast:
            networks.add(network)
    return tuple(sorted(networks))
