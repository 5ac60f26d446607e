"""What blades are told of the world beyond their network: router, name servers, time servers, domain.

Whatever ``network:`` of ``lab.yaml`` leaves open is what this machine uses itself, where it can be of use to a blade:
its resolver and, as the router, its default route by the card that the blades are on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from labkit.lab import Lab, Network, NetworkKind
from labkit.machines.host.routes import routes

RESOLVERS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
"""Where this machine's name servers stand: systemd-resolved names itself in /etc, and the real ones here."""


@dataclass(frozen=True)
class Found:
    """What this machine uses. ``resolver`` is the file that the name servers and the domain came from."""

    router: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    domain: str = ""
    resolver: str = ""


def completed(lab: Lab) -> Lab:
    """The lab with what its file leaves open, as this machine has it. A virtual network has only what its file says,
    unless it has a way out."""
    return replace(lab, network=fill(lab.network, look(lab.network))) if lab.network.open else lab


def fill(network: Network, found: Found) -> Network:
    """A network with what was found in the place of what its file leaves open."""
    values = {name: getattr(found, name) for name in network.open}
    return replace(network, **values, open=frozenset())


def look(network: Network) -> Found:
    """Look at this machine, in the network namespace of the caller."""
    found = Found()
    if network.kind is NetworkKind.INTERFACE:
        found = replace(found, router=_router(network))
    for path in RESOLVERS:
        try:
            dns, domain = parse_resolver(path.read_text(errors="replace"))
        except OSError:
            continue
        if dns:
            return replace(found, dns=dns, domain=domain, resolver=str(path))
    return found


def _router(network: Network) -> IPv4Address | None:
    """The gateway of this machine's default route by the lab's card, where blades can reach it."""
    for route in routes("default", "dev", network.interface):
        gateway = IPv4Address(route["gateway"]) if "gateway" in route else None
        if gateway is not None and gateway in network.subnet:
            return gateway
    return None


def _of_use(text: str) -> IPv4Address | None:
    """An address that means the same to another machine, or None."""
    try:
        address = IPv4Address(text)
    except ValueError:
        return None
    return None if address.is_loopback or address.is_unspecified else address


def parse_resolver(text: str) -> tuple[tuple[IPv4Address, ...], str]:
    """The IPv4 name servers of a resolv.conf(5) that another machine can use, three at most, and the domain."""
    servers: list[IPv4Address] = []
    domain = ""
    for words in (line.split() for line in text.splitlines()):
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            address = _of_use(words[1])
            servers += [] if address is None or address in servers else [address]
        elif words[0] in ("search", "domain") and words[1] != ".":
            domain = words[1].rstrip(".")  # the last of these lines counts
    return tuple(servers[:3]), domain
