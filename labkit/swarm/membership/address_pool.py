"""The addresses that a swarm's overlay networks are taken from: a pool in which nothing is that containers may need.

PURE. A container reaches what its overlay network does not cover. Left alone the engine takes 10.0.0.0/24 first, the
home network of many, and a lab that lives in 10.0.0.0/8 would overlap itself. A pool cannot be changed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from labkit.errors import SwarmError

WITHIN = (IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"))
"""The private networks of RFC 1918, the largest first."""
SMALLEST = 20
"""A pool of this prefix length is good for 16 overlay networks of `SIZE`."""
SIZE = 24
"""The prefix length of each overlay network."""
USUAL = tuple(
    IPv4Network(text)
    for text in ("10.0.0.0/23", "10.1.1.0/24", "10.10.10.0/24", "172.17.0.0/16", "192.168.0.0/22", "192.168.178.0/24")
)
"""Networks behind so many routers, or of Docker itself, that they are left free where that can be."""


def choose(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The largest free pool beside all networks that are taken, the last of its size: routers take the first ones.

    Raises SwarmError when there is none.
    """
    known = tuple(taken)
    for avoided in ((*known, *USUAL), known):
        for pool in _candidates():
            if not any(pool.overlaps(network) for network in avoided):
                return pool
    raise SwarmError(
        "this machine has routes to every private network: none is left for the swarm's overlay networks",
        fix="name one that containers need not reach in lab.yaml: swarm: {pool: 10.128.0.0/16}",
    )


def _candidates() -> Iterator[IPv4Network]:
    for whole in WITHIN:
        for length in range(whole.prefixlen + 1, SMALLEST + 1):
            yield from reversed(list(whole.subnets(new_prefix=length)))


def overlapping(networks: Iterable[tuple[str, str]], taken: Iterable[IPv4Network]) -> tuple[str, ...]:
    """Which of these networks, name and subnet, cover one that is taken, each in words; IPv6 is left out."""
    known, found = tuple(taken), []
    for name, subnet in networks:
        try:
            own = IPv4Network(subnet)
        except ValueError:
            continue
        covered = [network for network in known if own.overlaps(network)]
        if covered:
            found.append(f"{name} ({subnet}) covers {', '.join(map(str, covered[:3]))}")
    return tuple(found)
