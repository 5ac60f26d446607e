"""What of a Compose file will not work on these nodes, told before anything is started.

PURE: from the file as ``docker stack config`` gives it, and what is there. It says what would otherwise be found out
minutes later and one at a time, and leaves all else to Docker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from labkit.swarm.constraints import fits, meets
from labkit.swarm.node import Node
from labkit.swarm.stack.declared import declared
from labkit.swarm.stack.mounts import mounts
from labkit.swarm.stack.ports import ports
from labkit.swarm.stack.there import Config, Finding, There, able, constraints_of, has_plugin, replicas_of

__all__ = ["Config", "Finding", "There", "explain", "images_of"]

BY_NAME = "services of a stack reach each other by their names"
NO_WAY = "a service has none of that: run it by hand on the node that needs it, or find a way without"
LEFT_OUT: Mapping[str, str] = {
    "cgroup_parent": "deploy.resources.limits",
    "cgroupns_mode": NO_WAY,
    "container_name": BY_NAME,
    "devices": "a service gets no device: run it by hand on the node that has it",
    "domainname": "hostname: takes a name with dots",
    "expose": BY_NAME + ", on every port",
    "external_links": BY_NAME + "; an external network reaches others",
    "ipc": NO_WAY,
    "links": BY_NAME,
    "mac_address": NO_WAY,
    "network_mode": BY_NAME,
    "pid": NO_WAY,
    "privileged": "cap_add: gives single rights",
    "restart": "swarm starts again whatever ends; deploy.restart_policy says otherwise",
    "security_opt": NO_WAY,
    "shm_size": "volumes: [{type: tmpfs, target: /dev/shm, tmpfs: {size: BYTES}}]",
    "userns_mode": NO_WAY,
}
"""What ``docker stack deploy`` leaves out, each with what does in its place (docker/cli, cli/compose/types:
``UnsupportedProperties``, and those that it calls deprecated); ``build`` is told with the image."""
MISSED = ("devices", "privileged", "network_mode", "pid", "ipc", "security_opt", "cgroupns_mode", "userns_mode")
"""Those of them without which a program most often does not do its work."""
HOST = "the node's own network is networks: [outside], and at the top networks: {outside: {external: true, name: host}}"
MIB = 1 << 20


def explain(config: Config, there: There) -> tuple[Finding, ...]:
    """All findings: those of services in their order, then what the stack stands on."""
    services = config.get("services") or {}
    found = [finding for name, service in services.items() for finding in _service(name, service, config, there)]
    return (*found, *ports(services, there), *declared(config, there))


def images_of(config: Config) -> tuple[str, ...]:
    """The images that the services name."""
    return tuple(dict.fromkeys(str(s["image"]) for s in (config.get("services") or {}).values() if s.get("image")))


def _service(name: str, service: Config, config: Config, there: There) -> Iterator[Finding]:
    yield from _image(name, service, there)
    yield from mounts(name, service, config, there)
    yield from _placement(name, service, there)
    yield from _room(name, service, there)
    ignored = [key for key in LEFT_OUT if service.get(key)]
    if missed := [key for key in ignored if key in MISSED]:
        what = f"a stack has no {', '.join(missed)}: Docker leaves that out, and the program runs without"
        yield Finding(name, what, _instead(service, missed), fatal=False)
    if rest := [key for key in ignored if key not in MISSED]:
        what = f"Docker leaves out {', '.join(rest)}: a service has none of that"
        yield Finding(name, what, _instead(service, rest), fatal=False)
    if service.get("depends_on"):
        what = "depends_on is not waited for: swarm starts all services at once"
        yield Finding(name, what, "let it try again until the other answers, or end, so that it is restarted", False)
    if any(str(key).startswith("traefik.") for key in service.get("labels") or ()):
        what = "its labels for Traefik are the container's, and in a swarm Traefik reads those of the service"
        yield Finding(name, what, "write them under deploy: labels:", fatal=False)


def _instead(service: Config, keys: Sequence[str]) -> str:
    ways = [HOST if (key, service[key]) == ("network_mode", "host") else LEFT_OUT[key] for key in keys]
    return "; ".join(dict.fromkeys(ways))


def _image(name: str, service: Config, there: There) -> Iterator[Finding]:
    image = str(service.get("image") or "")
    if not image and not service.get("build"):
        yield Finding(name, "it names no image", "write image: with what it is to run")
    if service.get("build"):
        push = f"docker build -t {image or name + ':1'} …; docker save {image or name + ':1'} | ./lab swarm push"
        if not image:
            yield Finding(name, "swarm builds no images, and this service names none", f"{push}; then write image:")
            return
        what = f"swarm builds no images: build: is left out, and {image} is taken as it is in its registry"
        yield Finding(name, what, f"{push}; then write the name that this prints", fatal=False)
    if why := there.images.get(image, ""):
        # Whether the cache has it the controller's engine need not have heard: it is asked as Docker Hub's own.
        is_open = there.cached and _is_unreached(image, why)
        yield Finding(name, f"no node can have the image {image}: {why}", _image_fix(image, why), fatal=not is_open)


def _is_unreached(image: str, why: str) -> bool:
    """Whether Docker Hub was to be asked, and could not be."""
    host, slash, _ = image.partition("/")
    is_hub = not (slash and ("." in host or ":" in host or host == "localhost"))
    return is_hub and any(sign in why for sign in ("lookup", "dial", "no answer", "Client.Timeout"))


def _image_fix(image: str, why: str) -> str:
    push = f"docker save {image} | ./lab swarm push, and write the name that this prints"
    if _is_unreached(image, why):
        return f"in a virtual lab, cache: true under storage: in lab.yaml; or, where you have it, {push}"
    if "denied" in why or "unauthorized" in why:
        return f"docker login here and ./lab swarm deploy --with-registry-auth --anyway; or {push}"
    return f"correct its name; or, where you have it, {push}"


def _placement(name: str, service: Config, there: There) -> Iterator[Finding]:
    constraints = constraints_of(service)
    if not constraints or able(service, there):
        return
    idle = [node for node in there.nodes if node.ready and fits(node, constraints)]
    unmet = [text for text in constraints if not any(meets(node, text) for node in there.nodes)]
    where = f"{name} ({'; '.join(constraints)})"
    if idle:
        names = ", ".join(node.blade or node.hostname for node in idle)
        what = f"the only nodes that meet this take no tasks: {names}"
        yield Finding(where, what, _manager_ways(idle))
    elif unmet:
        what = f"no node meets {' and '.join(unmet)}"
        yield Finding(where, what, "./lab docker node update --label-add KEY=VALUE NODE, or correct the constraint")
    else:
        yield Finding(where, "no node meets all of this at once", "./lab swarm nodes shows what there is")


def _manager_ways(idle: Sequence[Node]) -> str:
    first = idle[0].hostname
    ways = [f"let it take tasks: ./lab docker node update --availability active {first}"]
    if any(node.role == "manager" for node in idle):
        ways.insert(0, "make a blade a manager: ./lab swarm managers BLADE, which then meets it")
        ways.append("or take the constraint out, where the program does not speak with the swarm itself")
    return "; ".join(ways)


def _room(name: str, service: Config, there: There) -> Iterator[Finding]:
    """What no node has enough of, so that replicas wait for ever: places, memory, processors, drivers."""
    nodes, deploy = able(service, there), service.get("deploy") or {}
    if not nodes:
        return
    most, wanted = int((deploy.get("placement") or {}).get("max_replicas_per_node") or 0), replicas_of(service)
    if most and wanted > most * len(nodes):
        what = f"{wanted} replicas, {most} on a node at the most and {len(nodes)} nodes that take them: "
        yield Finding(name, f"{what}{wanted - most * len(nodes)} would wait for ever", f"replicas: {most * len(nodes)}")
    reserved = (deploy.get("resources") or {}).get("reservations") or {}
    processors, memory = float(reserved.get("cpus") or 0), str(reserved.get("memory") or "")
    memory_b = int(memory) if memory.isdecimal() else 0  # as Docker's client gives it
    known = [there.room[node.id] for node in nodes if node.id in there.room]
    if known and not any(room[0] >= processors and room[1] >= memory_b for room in known):
        has = f"{max(room[0] for room in known):g} processors and {max(room[1] for room in known) // MIB} MiB"
        what = f"it reserves {processors:g} processors and {memory_b // MIB} MiB, and nodes have {has} at the most"
        yield Finding(name, what, "reserve less under deploy.resources, or give a blade more")
    driver = str((service.get("logging") or {}).get("driver") or "")
    if driver not in ("", "none") and not has_plugin(nodes, f"Log/{driver}", there):
        what = f"no node has the logging driver {driver}"
        yield Finding(name, what, "take logging: out; ./lab swarm logs reads what they say")
