"""The ports that a stack publishes: those that the lab, other services or the stack itself have already. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from labkit.swarm.stack.there import Config, Finding, There, able, is_global, replicas_of

Port = tuple[int, str]
"""A port's number and protocol."""


def ports(services: Mapping[str, Config], there: There) -> Iterator[Finding]:
    """What stands in the way of each published port, service by service."""
    mine: dict[Port, str] = {}
    on_node: dict[Port, list[str]] = {}
    for name, service in services.items():
        for port in service.get("ports") or ():
            number, protocol = int(port.get("published") or 0), str(port.get("protocol") or "tcp")
            is_host = port.get("mode") == "host"
            if not is_host and (service.get("deploy") or {}).get("endpoint_mode") == "dnsrr":
                what = f"port {port.get('target')} is for the mesh, and endpoint_mode: dnsrr has none"
                yield Finding(name, what, "mode: host under ports:, or take endpoint_mode out")
            if not number:
                continue
            key = (number, protocol)
            yield from _taken(name, key, there)
            if key in mine and not (is_host and key in on_node):
                what = f"port {number} is published by {mine[key]} too"
                yield Finding(name, what, "a port belongs to one service, on every node: publish another one")
            elif is_host:
                on_node.setdefault(key, []).append(name)
            mine.setdefault(key, name)
    for key, names in on_node.items():
        yield from _host_mode(key, names, services, there)


def _taken(name: str, key: Port, there: There) -> Iterator[Finding]:
    number, protocol = key
    of_lab = {"tcp": there.taken, "udp": there.taken_udp}.get(protocol, {}).get(number)
    other = there.published.get(key, "")
    if of_lab:
        yield Finding(name, f"port {number} is for {of_lab}", "publish another one")
    elif other and other != f"{there.stack}_{name}":
        fix = f"publish another one, or remove that service: ./lab docker service rm {other}"
        yield Finding(name, f"port {number} is published by the service {other}", fix)


def _host_mode(key: Port, names: list[str], services: Mapping[str, Config], there: There) -> Iterator[Finding]:
    """A node has a port once, so that there can be as many replicas as nodes that take them."""
    nodes = {node.id for name in names for node in able(services[name], there)}
    mine = [services[name] for name in names]
    wanted = sum(len(able(one, there)) if is_global(one) else replicas_of(one) for one in mine)
    if nodes and wanted > len(nodes):
        what = f"port {key[0]} is each node's own (mode: host): {wanted} replicas, {len(nodes)} nodes that take them"
        fix = f"{len(nodes)} replicas at the most, mode: global, or mode: ingress, by which every node answers for all"
        yield Finding(", ".join(names), f"{what}: {wanted - len(nodes)} would wait for ever", fix)
    elif nodes and wanted == len(nodes) and any(_starts_first(one) for one in mine):
        what = f"an update starts the new replica first, and every node's port {key[0]} is taken by an old one"
        yield Finding(", ".join(names), what, "update_config: {order: stop-first}", fatal=False)


def _starts_first(service: Config) -> bool:
    return ((service.get("deploy") or {}).get("update_config") or {}).get("order") == "start-first"
