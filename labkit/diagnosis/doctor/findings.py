"""What facts mean for a lab: findings, each with what to do about it. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface

from labkit.diagnosis.doctor.facts import Answer, Facts
from labkit.diagnosis.listeners import KEPT, silent
from labkit.events.amounts import room
from labkit.images.needs import ended_advice, least_mib, memory_advice, signature_advice
from labkit.lab import ChassisKind, Lab, NetworkKind, nfs_share
from labkit.machines.host import memory
from labkit.netboot.ports import stop_words, store_ports

OK, WARNING, BAD, SKIPPED = "ok", "warning", "bad", "skipped"
CACHE_MIB, STATE_MIB = 2000, 1500
LEAVE_ALONE = (
    "if NetworkManager or systemd-networkd took it over, tell them to leave lab* alone (docs/machines.md); "
    "then ./lab down, ./lab up"
)
LATE_S = 24 * 3600.0
OTHER_SUBNET = (
    "a swarm's pool stays as it was made; give a network of yours a subnet that nobody has: "
    "docker network create --driver overlay --subnet 172.30.1.0/24 NAME"
)
SOON_S = 30 * LATE_S
"""A certificate that ends within this time is told of: an engine that runs renews its own long before."""
MESH = {"ip_vs": "the routing mesh, by which every node answers for a service", "vxlan": "overlay networks"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``state`` is ``ok``, ``warning``, ``bad`` or ``skipped``."""

    check: str
    state: str
    what: str
    fix: str = ""


def examine(lab: Lab, facts: Facts) -> list[Finding]:
    """Everything that a lab needs, looked at in the order in which a boot needs it."""
    found = [finding for check in CHECKS for finding in check(lab, facts)]
    return found + [Finding(check, SKIPPED, f"not looked at: {why}") for check, why in facts.not_looked.items()]


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.state != BAD for finding in findings)


def render(findings: Sequence[Finding]) -> str:
    """The findings for a person, each fix below its finding, and a last line that counts."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8} {finding.check:10} {finding.what}")
        if finding.fix:
            lines.append(f"{'':19} fix: {finding.fix}")
    bad, odd = (sum(finding.state == state for finding in findings) for state in (BAD, WARNING))
    last = "nothing is in the way of a boot" if not bad else f"{bad} to be mended before a boot"
    return "\n".join([*lines, "", last + (f", {odd} to know about" if odd else "")])


# --- this machine -----------------------------------------------------------------------------------------------------


def _programs(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if facts.missing:
        packages = " ".join(sorted(set(facts.missing.values())))
        what = f"not installed: {', '.join(sorted(facts.missing))}"
        yield Finding("programs", BAD, what, f"./lab setup, or apt-get install {packages}")
    else:
        yield Finding("programs", OK, "everything a lab runs is installed")


def _parts(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if facts.silent:
        yield Finding("lab", BAD, f"it is up and does not answer: {facts.silent}", "./lab down, ./lab up")
        return
    if "lab" in facts.not_looked:
        return
    if not facts.is_up:
        yield Finding("lab", OK, "not up; what follows is what it will find")
        return
    dead = [name for name, pid in facts.parts.items() if not pid]
    if dead:
        yield Finding(
            "lab", BAD, f"it is up, but {', '.join(dead)} does not run", "read .lab/logs; ./lab down, ./lab up"
        )
    else:
        yield Finding("lab", OK, f"up, with {len(facts.parts)} parts")


def _listeners(lab: Lab, facts: Facts) -> Iterator[Finding]:
    for part in facts.heard:
        if why := silent(facts.heard, part):
            anew = "" if part in KEPT else "within a minute it is started anew; else "
            fix = f"{anew}read logs/{part}.log in the state folder; ./lab down, ./lab up"
            yield Finding("lab", BAD, f"{part} runs, and {why}", fix)
    if facts.unwritten:
        yield Finding("lab", BAD, f"events are not written: {facts.unwritten}", "make room where the state folder is")


def _clock(lab: Lab, facts: Facts) -> Iterator[Finding]:
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(facts.now))
    set_it = "set it: timedatectl set-ntp true, or date --set"
    if facts.now < facts.newest_file - LATE_S:
        yield Finding("clock", BAD, f"it is {shown}, which is before labkit's own files were made", set_it)
    elif facts.synchronised is False:
        what = f"it is {shown}, and nothing keeps it right; a swarm's certificates depend on the time"
        yield Finding("clock", WARNING, what, set_it)
    else:
        yield Finding("clock", OK, shown)


def _disk(lab: Lab, facts: Facts) -> Iterator[Finding]:
    for place, wanted_mib in ((facts.cache, CACHE_MIB), (facts.state, STATE_MIB)):
        if place is not None and place.free_mib < wanted_mib:
            what = f"{place.free_mib:,} MiB are free for {place.path}, {wanted_mib:,} are wanted"
            yield Finding("disk", BAD, what, "make room; LABKIT_CACHE and LABKIT_STATE name other places")
        elif place is not None:
            yield Finding("disk", OK, f"{room(place.free_mib)} free for {place.path}")


def _memory(lab: Lab, facts: Facts) -> Iterator[Finding]:
    wanted = memory.wanted_mib(lab)
    what, fix = memory.shortage(lab, facts.memory_mib, least_mib(lab))
    if not wanted:
        return
    if facts.is_up:
        yield Finding("memory", OK, f"{room(facts.memory_mib)} are free while the lab is up")
    elif what:
        yield Finding("memory", BAD, what, fix)
    else:
        yield Finding("memory", OK, f"{room(facts.memory_mib)} free, {room(wanted)} wanted")
    yield from (Finding("memory", BAD, advice.what, advice.fix) for advice in memory_advice(lab))


def _speed(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if lab.chassis.kind is ChassisKind.VIRTUAL and "speed" not in facts.not_looked:
        slow = "no KVM: the blades are emulated, and a boot takes 40 to 90 seconds"
        yield Finding("speed", OK, "KVM runs the blades" if facts.kvm else slow)


def _share(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if not lab.storage.share:
        return
    if "share" in facts.not_looked:
        return
    named = lab.storage.folder is not None
    if facts.unservable:
        what = f"{lab.storage.folder or 'share/ in the state folder'} cannot be shared over NFS: {facts.unservable}"
        yield Finding("share", BAD if named else WARNING, what, nfs_share.FIX)
    else:
        yield Finding("share", OK, "its file system can be served over NFS")


def _images(lab: Lab, facts: Facts) -> Iterator[Finding]:
    for image in facts.images:
        if image.wrong:
            yield Finding("images", BAD, f"{image.name}: {image.wrong}", image.fix)
        elif image.unseen:
            yield Finding("images", SKIPPED, f"{image.name}: what may be read is whole; {image.unseen}", image.fix)
        else:
            yield Finding("images", OK, f"{image.name}: there and whole")
    yield from (Finding("images", WARNING, advice.what, advice.fix) for advice in ended_advice(lab))
    yield from (Finding("images", BAD, advice.what, advice.fix) for advice in signature_advice(lab))


def _configs(lab: Lab, facts: Facts) -> Iterator[Finding]:
    named = sum(bool(blade.config) for blade in lab.blades)
    yield from (Finding("configs", BAD, what, fix) for what, fix in facts.configs)
    if named and not facts.configs and "configs" not in facts.not_looked:
        yield Finding("configs", OK, f"what the configs of {named} blade{'s' * (named > 1)} say can be booted")


def _engine(lab: Lab, facts: Facts) -> Iterator[Finding]:
    virtual = lab.network.kind is NetworkKind.VIRTUAL
    if facts.engine:
        fix = "./lab down, ./lab up" if virtual else "apt-get install docker.io; systemctl start docker"
        yield Finding("engine", BAD, f"the swarm's manager is not there: {facts.engine}", fix)
    elif "engine" not in facts.not_looked:
        yield Finding("engine", OK, "the swarm's manager answers")
    for name, use in MESH.items():
        if name in facts.modules:
            yield Finding("engine", OK, f"this kernel has {name}")
            continue
        what = f"this kernel has no {name}, which is for {use}"
        if virtual:
            yield Finding("engine", WARNING, f"{what}; the blades' kernel has it, and only they answer", "")
            continue
        if name == "ip_vs":  # the controller runs nothing itself: what is lost is its own port
            what = f"{what}: published ports will answer on the blades only"
        state = WARNING if name == "ip_vs" else BAD
        yield Finding("engine", state, what, f"modprobe {name}; else install this kernel's modules")


def _swarm(lab: Lab, facts: Facts) -> Iterator[Finding]:
    """What state the swarm is in, and what will be wrong with it later."""
    seen = facts.swarm
    if seen is None:
        return
    yield Finding("swarm", OK if seen.is_well else BAD, seen.what, seen.fix)
    if seen.ends is not None:
        day = time.strftime("%Y-%m-%d", time.gmtime(seen.ends))
        what = f"the certificate of the controller's node is good until {day}"
        if seen.ends - facts.now < SOON_S:
            fix = "leave the lab up, its engine renews it by itself; after that day ./lab swarm recover does"
            yield Finding("swarm", WARNING, f"{what} only", fix)
        else:
            yield Finding("swarm", OK, f"{what}; so long the engine may be off")
    if seen.lock:
        yield Finding("swarm", WARNING if seen.lock_fix else OK, seen.lock, seen.lock_fix)
    if seen.covers:
        what = f"containers on these overlay networks do not reach what they cover: {'; '.join(seen.covers)}"
        yield Finding("swarm", WARNING, what, OTHER_SUBNET)
    if seen.pool:
        what = f"new overlay networks are taken from {seen.pool}, which has the lab's own {lab.network.subnet} in it"
        yield Finding("swarm", WARNING, what, OTHER_SUBNET)


def _at_boot(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if facts.at_boot is not None:
        yield from (Finding("at boot", WARNING, what, fix) for what, fix in facts.at_boot.wrong)
        if not facts.at_boot.wrong:
            yield Finding("at boot", OK, facts.at_boot.what)


def _cache(lab: Lab, facts: Facts) -> Iterator[Finding]:
    """Whether a real lab's manager, an engine whose settings are its owner's, asks the lab's cache."""
    if facts.mirrors is None:
        return
    mirror = f"https://{lab.mirror}"
    others = [url.rstrip("/") for url in facts.mirrors]
    if mirror in others:
        yield Finding("cache", OK, "this machine's Docker asks the lab's cache first")
        return
    line = f'"registry-mirrors": {json.dumps([mirror, *others])}'
    what = "this machine's Docker does not know the lab's cache: it fetches every image itself"
    fix = (
        f"write {line} into /etc/docker/daemon.json; if there is no such file, {{{line}}}; then systemctl reload docker"
    )
    yield Finding("cache", WARNING, what, fix)


# --- the network ------------------------------------------------------------------------------------------------------


USUAL_MTU, VXLAN_B = 1500, 50
"""Bytes of a packet on Ethernet, and what VXLAN over IPv4 adds to each (RFC 7348, section 5)."""


def _interface(lab: Lab, facts: Facts) -> Iterator[Finding]:
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


def _beyond(lab: Lab, facts: Facts) -> Iterator[Finding]:
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


def _ports(lab: Lab, facts: Facts) -> Iterator[Finding]:
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


def _firewall(lab: Lab, facts: Facts) -> Iterator[Finding]:
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
        what = (
            "it lets the blades reach the cache"
            if virtual
            else "it lets the blades' DHCP, TFTP and HTTP in, and the swarm's packets"
        )
        yield Finding("firewall", OK, what)


def _allow(lab: Lab, protocol: str, port: int) -> str:
    link = "lab+" if lab.network.kind is NetworkKind.VIRTUAL else lab.network.interface
    return f"iptables -I INPUT -i {link} -p {protocol} --dport {port} -j ACCEPT, or the same in nft"


def _dhcp(lab: Lab, facts: Facts) -> Iterator[Finding]:
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


CHECKS: tuple[Callable[[Lab, Facts], Iterator[Finding]], ...] = (
    _parts, _listeners, _programs, _clock, _disk, _memory, _speed, _images, _configs, _share, _engine, _swarm, _cache,
    _at_boot, _interface, _beyond, _ports, _firewall, _dhcp,
)  # fmt: skip
