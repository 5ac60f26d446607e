"""The doctor's checks: those of this machine and of its lab, and with the network's the order of all. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from labkit.diagnosis.doctor import network
from labkit.diagnosis.doctor.facts import Facts
from labkit.diagnosis.doctor.findings import BAD, OK, SKIPPED, WARNING, Finding
from labkit.diagnosis.listeners import KEPT, silent
from labkit.events.amounts import room
from labkit.images.needs import ended_advice, least_mib, memory_advice, signature_advice
from labkit.lab import ChassisKind, Lab, NetworkKind, nfs_share
from labkit.machines.host import memory

CACHE_MIB, STATE_MIB = 2000, 1500
LATE_S = 24 * 3600.0
OTHER_SUBNET = (
    "a swarm's pool stays as it was made; give a network of yours a subnet that nobody has: "
    "docker network create --driver overlay --subnet 172.30.1.0/24 NAME"
)
SOON_S = 30 * LATE_S
"""A certificate that ends within this time is told of: an engine that runs renews its own long before."""
MESH = {"ip_vs": "the routing mesh, by which every node answers for a service", "vxlan": "overlay networks"}


def examine(lab: Lab, facts: Facts) -> list[Finding]:
    """Everything that a lab needs, looked at in the order in which a boot needs it."""
    found = [finding for check in CHECKS for finding in check(lab, facts)]
    return found + [Finding(check, SKIPPED, f"not looked at: {why}") for check, why in facts.not_looked.items()]


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
        what = f"it is up, but {', '.join(dead)} does not run"
        yield Finding("lab", BAD, what, "read .lab/logs; ./lab down, ./lab up")
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
    yield from (Finding("memory", BAD, advice.what, advice.fix) for advice in memory_advice(lab, facts.told_mib))
    if not wanted:
        return
    if facts.is_up:
        yield Finding("memory", OK, f"{room(facts.memory_mib)} are free while the lab is up")
    elif what:
        yield Finding("memory", BAD, what, fix)
    else:
        yield Finding("memory", OK, f"{room(facts.memory_mib)} free, {room(wanted)} wanted")


def _speed(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if lab.chassis.kind is ChassisKind.VIRTUAL and "speed" not in facts.not_looked:
        slow = "no KVM: the blades are emulated, and a boot takes 40 to 90 seconds"
        yield Finding("speed", OK, "KVM runs the blades" if facts.kvm else slow)


def _share(lab: Lab, facts: Facts) -> Iterator[Finding]:
    if not lab.storage.share or "share" in facts.not_looked:
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


CHECKS: tuple[Callable[[Lab, Facts], Iterator[Finding]], ...] = (
    _parts, _listeners, _programs, _clock, _disk, _memory, _speed, _images, _configs, _share, _engine, _swarm, _cache,
    _at_boot, network.interface, network.beyond, network.held_ports, network.firewall, network.dhcp,
)  # fmt: skip
