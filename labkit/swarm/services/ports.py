"""Which ports a service may publish, and which are published.

A published port is taken from every node, and from whoever listens there: the mesh's rules come before a program's own
socket.
"""

from __future__ import annotations

from collections.abc import Mapping

import docker

from labkit.errors import ParameterError
from labkit.lab import Lab, NetworkKind, nfs_share
from labkit.swarm.engine import api, engine_errors

FIRST, LAST = 1, 65535
OF_ENGINES: Mapping[int, str] = {2377: "swarm's managers", 7946: "swarm's engines among themselves"}
"""The TCP ports of every swarm (Docker's "Open protocols and ports between the hosts"), each with who speaks there."""
OF_BLADES: Mapping[int, str] = {22: "SSH to the blades", 53: "the blades' resolver", 5355: "the blades' resolver"}
"""Those of the system on each blade; systemd-resolved(8) listens on the latter two."""


def taken_ports(lab: Lab) -> dict[int, str]:
    """The TCP ports that something of the lab listens on at a node, each with what that is.

    A virtual lab's servers are on no node; a real one's are on the controller.
    """
    ports = {**OF_BLADES, **OF_ENGINES}
    if lab.network.kind is NetworkKind.INTERFACE:
        ports |= {lab.network.http_port: "the boot server's HTTP", lab.network.registry_port: "the lab's registry"}
        ports |= {lab.network.https_port: "the boot server's HTTPS"} if lab.network.tls else {}
        ports |= {lab.storage.cache_port: "the lab's cache of images"} if lab.storage.cache else {}
        ports |= {nfs_share.PORT: "the lab's shared folder"} if lab.storage.share else {}
    return ports


def taken_udp_ports(lab: Lab) -> dict[int, str]:
    """The UDP ports that something of the lab listens on at a node, each with what that is."""
    ports = {
        53: "the blades' resolver", 68: "the blades' DHCP", 5355: "the blades' resolver",
        7946: OF_ENGINES[7946], lab.swarm.vxlan_port: "swarm's overlay networks",
    }  # fmt: skip
    if lab.network.kind is NetworkKind.INTERFACE:
        ports |= {67: "the boot server's DHCP", 69: "the boot server's TFTP"}
    return ports


def check_port(port: object, taken: Mapping[int, str] = OF_ENGINES, *, what: str = "the published port") -> None:
    """Raise ParameterError when no service may publish this port; ``what`` begins the sentence."""
    if type(port) is not int:
        raise ParameterError(f"{what} is a whole number, not {port!r}", fix=f"a number from {FIRST} to {LAST}")
    if not FIRST <= port <= LAST:
        raise ParameterError(f"{what} is {port}", fix=f"a number from {FIRST} to {LAST}")
    if port in taken:
        fix = f"a number from {FIRST} to {LAST} that is none of {', '.join(map(str, sorted(taken)))}"
        raise ParameterError(f"{what} is {port}, and that is for {taken[port]}", fix=fix)


def port_beside(port: int, lab: Lab) -> int:
    """A port near this one that a second service may publish."""
    free = set(range(FIRST, LAST + 1)) - {port} - set(taken_ports(lab))
    above = [one for one in free if one > port]
    return min(above) if above else max(free)


def published_ports(client: docker.DockerClient) -> dict[str, list[int]]:
    """The TCP ports that services have published in the routing mesh, by service. Raises SwarmError.

    Docker's API, ``ServiceList``: ``Endpoint.Ports`` is what holds, where ``Spec.EndpointSpec`` is what was asked for.
    """
    with engine_errors():
        services = api(client).services()
    found = {}
    for raw in services:
        ports = (raw.get("Endpoint") or {}).get("Ports") or ()
        mine = [one for one in ports if one.get("PublishMode", "ingress") == "ingress" and one.get("Protocol") == "tcp"]
        if mine:
            found[str(raw["Spec"]["Name"])] = sorted(int(one["PublishedPort"]) for one in mine)
    return found
