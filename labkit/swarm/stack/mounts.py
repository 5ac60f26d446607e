"""Folders and volumes of a stack: what blades have none of, and what they forget. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from labkit.swarm.stack.there import Config, Finding, Made, There, able, has_plugin, name_of

EVERYWHERE = (
    "/var/run/docker.sock", "/run/docker.sock", "/var/lib/docker", "/var/lib/docker/containers",
    "/var/lib/docker/volumes", "/etc/localtime", "/etc/hostname", "/etc/hosts", "/etc/passwd", "/etc/group",
    "/etc/os-release", "/etc/machine-id", "/etc/resolv.conf", "/etc/ssl/certs", "/lib/modules", "/etc", "/usr", "/var",
    "/var/lib", "/proc", "/sys", "/dev", "/dev/disk", "/dev/mapper", "/dev/shm", "/run", "/var/run", "/var/log", "/tmp",
    "/var/tmp", "/",
)  # fmt: skip
"""What every node has, and stacks that look at their nodes mount."""
SYSTEM = ("/proc/", "/sys/", "/run/", "/var/run/")
"""Below these is what a node's kernel and its system make, and nothing of a person's."""
CLOCK = ("/etc/localtime", "/etc/timezone")

NFS_DOCS = "a volume over NFS (docs/swarm.md, A folder for all blades)"
SHARE = ":/share"


def mounts(name: str, service: Config, config: Config, there: There) -> Iterator[Finding]:
    """What of a service's mounts is on no node, and which volumes are each node's own."""
    # What a person's own machines have is not known here, and they keep what they have.
    is_own = there.own and not any(node.blade for node in able(service, there))
    kept = config.get("volumes") or {}
    for mount in service.get("volumes") or ():
        source, target = str(mount.get("source") or ""), str(mount.get("target") or "")
        if mount.get("type") == "bind" and not is_own:
            yield from _bind(name, source, target, there)
        elif mount.get("type") == "volume":
            yield from _volume(name, source, target, kept.get(source) or {}, service, there, is_own=is_own)


def _bind(name: str, source: str, target: str, there: There) -> Iterator[Finding]:
    path = PurePosixPath(source)
    if str(path) in CLOCK and (str(path) in there.lacks or str(path) not in EVERYWHERE):
        what = f"{source} is bound, and blades have none: their time is UTC"
        yield Finding(name, what, "take it out; a program's zone is TZ, as in environment: {TZ: Europe/Zurich}")
    elif any(path == PurePosixPath(one) for one in EVERYWHERE) or f"{path}/".startswith(SYSTEM):
        return
    elif path.is_relative_to("/dev"):
        what = f"{source} is bound, a device of the node that runs it, and a service may use none"
        yield Finding(name, what, "run it by hand on the node that has the device, or find a way without")
    else:
        what = f"{source} is bound, a folder of the node that runs it, and blades have none of yours"
        fix = f"{NFS_DOCS}, or configs: for a file"
        if source in there.plain:
            what = f"{source} is bound, a file of the node that runs it, and blades have none of yours"
            fix = f"configs: [{{source: {path.stem}, target: {target}}}], and at the top configs: "
            fix += f"{{{path.stem}: {{file: {source}}}}}; for secrets alike"
        yield Finding(name, what, fix)


def _volume(
    name: str, source: str, target: str, body: Config, service: Config, there: There, *, is_own: bool
) -> Iterator[Finding]:
    driver, options = _made(body)
    if driver != "local":
        if not has_plugin(able(service, there), f"Volume/{driver}", there):
            what = f"no node has {driver}, the driver of the volume {source}"
            yield Finding(name, what, f"{NFS_DOCS}; blades that boot without a disk keep no plugins")
        return
    kind, device = options.get("type", ""), options.get("device", "")
    if kind in ("none", "bind") or "bind" in options.get("o", "").split(","):
        yield from () if is_own else _bind(name, device, target, there)
    elif kind.startswith("nfs"):
        yield from _nfs(name, source, options, there)
    elif kind in there.lacks and not is_own:
        yield Finding(name, f"blades mount no {kind}, as the volume {source} asks", NFS_DOCS)
    elif there.forgets and not options and not is_own:
        called = f"the volume {source}" if source else f"the volume at {target}"
        what = f"{called} is each blade's own and lies in its memory: it is empty on another, and after a boot"
        yield Finding(name, what, f"{NFS_DOCS} keeps it", fatal=False)
    called = name_of(source, body, there.stack)
    now = there.volumes.get(called)
    if source and now is not None and not body.get("external") and now != (driver, options):
        what = f"the volume {called} is there with other options, and nodes that have it keep those"
        fix = f"give it another name: volumes: {{{source}: {{name: {called}-2}}}}; what is in the old one stays there"
        yield Finding(name, what, fix)


def _nfs(name: str, source: str, options: Mapping[str, str], there: There) -> Iterator[Finding]:
    given = dict(part.partition("=")[::2] for part in options.get("o", "").split(","))
    device, address = options.get("device", ""), given.get("addr", "")
    if not address:
        what = f"the volume {source} is NFS and names no server, which the kernel takes from addr= alone (nfs(5))"
        yield Finding(name, what, 'driver_opts: {type: nfs, o: "addr=SERVER,nfsvers=4.1", device: ":/PATH"}')
    elif address == there.server and not there.shares:
        what = f"the volume {source} is this lab's folder, and the lab serves none"
        yield Finding(name, what, "share: true under storage: in lab.yaml, then ./lab down and ./lab up")
    elif address == there.server and not f"{device}/".startswith(f"{SHARE}/"):
        yield Finding(name, f"the volume {source} names {device}, and this lab serves {SHARE}", f'device: "{SHARE}"')
    elif address == there.server and any(given.get(key, "4").startswith(("2", "3")) for key in ("vers", "nfsvers")):
        yield Finding(name, f"the volume {source} asks for NFSv3, and this lab serves NFSv4 alone", "nfsvers=4.1")


def _made(body: Config) -> Made:
    options = {str(key): str(value) for key, value in (body.get("driver_opts") or {}).items()}
    return str(body.get("driver") or "local"), options
