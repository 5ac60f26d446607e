"""The doctor's checks of the network between this machine and the blades. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Interface

from labkit.diagnosis.doctor.facts import Answer, Facts
from labkit.diagnosis.doctor.findings import BAD, OK, WARNING, Finding
from labkit.lab import Lab, NetworkKind
from labkit.netboot.ports import stop_words, store_ports

USUAL_MTU, VXLAN_B = 1500, 50
"""Bytes of a packet on Ethernet, and what VXLAN over IPv4 adds to each (RFC 7348, section 5)."""
LEAVE_ALONE = (
    "if NetworkManager or systemd-networkd took it over, tell them to leave lab* alone (docs/machines.md); "
    "then ./lab down, ./lab up"
)
"""Bytes of a packet on Ethernet, and what VXLAN over IPv4 adds to each (RFC 7348, section 5)."""


def interface(lab: Lab, facts: Facts) -> Iterator[Finding]:
    network = lab.network
    if network.kind is NetworkKind.VIRTUAL:
        if "subnet" in facts.not_looked:
            return
        if facts.way_in:
            yield Finding("interface", BAD, facts.way_in, LEAVE_ALONE)
        elif facts.overlap:
            yield Finding("interface", BAD, facts.overlap, "another network.subnet in lab.yaml, or take that lab down")
        else:
            yield Finding("interface", OK, f"{network.subnet} is the lab's own, in a namespace of its own")
        return
    card = facts.interface
    if card is None:
        known = ", ".join(facts.interfaces) or "none"
        what = f"there is no interface {network.interface}; this machine has {known}"
        yield Finding("interface", BAD, what, "correct network.interface in lab.yaml")
        return
    if card.mtu < USUAL_MTU:
        room = card.mtu - VXLAN_B
        what = (
            f"{card.name} carries packets of {card.mtu} bytes, of which VXLAN takes {VXLAN_B}; Docker makes overlay "
            f"networks for {USUAL_MTU - VXLAN_B}, so that large packets between containers will be lost"
        )
        fix = (
            f"ip link set {card.name} mtu {USUAL_MTU}, where the switch bears it; or make overlay networks with "
            f"--opt com.docker.network.driver.mtu={room}"
        )
        yield Finding("interface", WARNING, what, fix)
    if not card.is_up:
        yield Finding("interface", BAD, f"{card.name} is down", f"ip link set {card.name} up")
    elif not card.has_carrier:
        yield Finding("interface", BAD, f"{card.name} has no link", "plug the cable in, and look at the switch's port")
    wanted = f"{network.server}/{network.subnet.prefixlen}"
    if wanted in card.addresses:
        yield Finding("interface", OK, f"{card.name} has {wanted}")
    elif any(IPv4Interface(address).ip == network.server for address in card.addresses):
        have = ", ".join(card.addresses)
        yield Finding("interface", BAD, f"{card.name} has {have}, and the subnet is {network.subnet}", "correct either")
    else:
        have = ", ".join(card.addresses) or "no address"
        what = f"{card.name} has {have}, and not the server's address"
        yield Finding("interface", BAD, what, f"ip address add {wanted} dev {card.name}")


def beyond(lab: Lab, facts: Facts) -> Iterator[Finding]:
    """What DHCP tells of the world beyond, and where each of it comes from."""
    open_, network = lab.network.open, facts.beyond or lab.network
    if network.kind is NetworkKind.VIRTUAL or network.is_proxy or "network" in facts.not_looked:
        return
    route = f"this machine's default route by {network.interface}"
    told = [
        _told("router", [network.router] if network.router else [], route if "router" in open_ else ""),
        _told("name server", network.dns, facts.resolver if "dns" in open_ else ""),
        _told("time server", network.ntp, ""),
        _told("domain", [network.domain] if network.domain else [], facts.resolver if "domain" in open_ else ""),
    ]
    what = f"blades are told of {', '.join(told)}"
    lacking = {"router": network.router, "dns": network.dns}
    if any(not value and key in open_ for key, value in lacking.items()):
        fix = "write router: and dns: under network: in lab.yaml; router: none and dns: [] if that is what you want"
        yield Finding("network", WARNING, f"{what}: they reach nothing outside by name", fix)
    else:
        yield Finding("network", OK, what)


def _told(name: str, values: Iterable[object], source: str) -> str:
    text = " and ".join(map(str, values))
    return f"no {name}" if not text else f"the {name} {text}" + (f" ({source})" if source else "")


def held_ports(lab: Lab, facts: Facts) -> Iterator[Finding]:
    stores = {("tcp", one.port): one.instead for one in store_ports(lab)}
    wanted = ports(lab)
    if not wanted or facts.is_up or "ports" in facts.not_looked:
        return
    mine = {"0.0.0.0", "*", "[::]", "::", f"0.0.0.0%{lab.network.interface}"}
    mine |= {str(lab.network.server), str(lab.cache_address)}
    taken = [one for one in facts.holders if (one.protocol, one.port) in wanted and one.address in mine]
    for holder in taken:
        who = f"{holder.program} (process {holder.pid})" if holder.program else "another program"
        stop = f"systemctl stop {holder.program}" if holder.program else stop_words(holder.port)
        instead = stores.get((holder.protocol, holder.port))
        fix = f"{stop}, or {instead}" if instead else stop
        yield Finding("ports", BAD, f"{holder.protocol.upper()} {holder.port} is held by {who}", fix)
    if not taken:
        yield Finding("ports", OK, ", ".join(f"{protocol.upper()} {port}" for protocol, port in wanted) + " are free")


def ports(lab: Lab) -> tuple[tuple[str, int], ...]:
    """What blades send to at this machine: DHCP, a proxy's own port, TFTP, HTTP, HTTPS, and what it keeps for them."""
    stores = tuple(("tcp", one.port) for one in store_ports(lab))
    if lab.network.kind is NetworkKind.VIRTUAL:
        return stores
    boot = (("udp", 4011),) if lab.network.is_proxy else ()
    https = (("tcp", lab.network.https_port),) if lab.network.tls else ()
    return (("udp", 67), *boot, ("udp", 69), ("tcp", lab.network.http_port), *https, *stores)


def reached_ports(lab: Lab) -> tuple[tuple[str, int], ...]:
    """What a firewall of this machine has to let in from the blades: `ports`, and in a real lab the swarm's own."""
    return ports(lab) + (() if lab.network.kind is NetworkKind.VIRTUAL else swarm_ports(lab))


def swarm_ports(lab: Lab) -> tuple[tuple[str, int], ...]:
    """Managers, engines among themselves, and VXLAN (Docker's "Open protocols and ports between the hosts"). In a real
    lab this machine's engine is the first manager."""
    return ("tcp", 2377), ("tcp", 7946), ("udp", 7946), ("udp", lab.swarm.vxlan_port)


def firewall(lab: Lab, facts: Facts) -> Iterator[Finding]:
    virtual = lab.network.kind is NetworkKind.VIRTUAL
    if (virtual and not lab.storage.cache) or "firewall" in facts.not_looked:
        return
    for protocol, port, verdict, rule in facts.blocked:
        name, allow = f"{protocol.upper()} {port}", _allow(lab, protocol, port)
        if verdict == "drop":
            yield Finding("firewall", BAD, f"{name} from the blades is dropped by {rule}", allow)
        else:
            what = f"{name} may be dropped by {rule}: there are rules that the doctor does not understand"
            yield Finding("firewall", WARNING, what, allow)
    if not facts.blocked:
        let = "the blades reach the cache" if virtual else "the blades' DHCP, TFTP and HTTP in, and the swarm's packets"
        yield Finding("firewall", OK, f"it lets {let}")


def _allow(lab: Lab, protocol: str, port: int) -> str:
    link = "lab+" if lab.network.kind is NetworkKind.VIRTUAL else lab.network.interface
    return f"iptables -I INPUT -i {link} -p {protocol} --dport {port} -j ACCEPT, or the same in nft"


def dhcp(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if "dhcp" in facts.not_looked:
        return
    foreign = [answer for answer in facts.answers if answer.server != str(lab.network.server)]
    if lab.network.is_proxy:
        yield from _routers(lab, foreign)
        return
    for server in sorted({answer.server for answer in foreign}):
        mine = [answer for answer in foreign if answer.server == server]
        told = "; ".join(
            f"to {answer.client}: {answer.address or 'no address'}"
            + (f", boot file {answer.file}" if answer.file else "")
            for answer in mine
        )
        fix = f"switch {server} off, or keep it from this network: blades go to whoever answers first"
        yield Finding("dhcp", BAD, f"another DHCP server answers: {server} ({told})", fix)
    if not foreign:
        yield Finding("dhcp", OK, "no other DHCP server answers")


def _routers(lab: Lab, foreign: Sequence[Answer]) -> Iterator[Finding]:
    """Beside a proxy there has to be one server that gives addresses, and none that names another boot file."""
    givers = sorted({answer.server for answer in foreign if answer.address})
    if not givers:
        what = "with dhcp: proxy another server gives the addresses, and none answers"
        yield Finding("dhcp", BAD, what, "switch the router's DHCP on, or write dhcp: server")
    elif len(givers) > 1:
        what = f"{' and '.join(givers)} give addresses here, and a blade takes the first"
        yield Finding("dhcp", WARNING, what, "leave one of them on")
    else:
        yield Finding("dhcp", OK, f"{givers[0]} gives the addresses")
    for server in sorted({answer.server for answer in foreign if answer.file}):
        files = ", ".join(sorted({answer.file for answer in foreign if answer.server == server and answer.file}))
        fix = f"remove the boot file (options 66 and 67) from {server}'s settings"
        yield Finding("dhcp", BAD, f"{server} names a boot file of its own: {files}", fix)
