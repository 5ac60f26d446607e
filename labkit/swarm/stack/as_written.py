"""What a Compose file says that a stack is not, by its lines: what Docker refuses in it, and what Docker drops.

PURE: from the file's text, before Docker has read it. Docker names one thing at a time, and of ``mem_limit`` or
``extends`` none ("Configuration contains forbidden properties").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

import yaml

from labkit.swarm.stack.there import Finding

TOP = frozenset({"version", "services", "networks", "volumes", "secrets", "configs"})
SERVICE = frozenset(
    (
        "build cap_add cap_drop cgroup_parent cgroupns_mode command configs container_name credential_spec depends_on "
        "deploy devices dns dns_search domainname entrypoint env_file environment expose external_links extra_hosts "
        "healthcheck hostname image init ipc isolation labels links logging mac_address network_mode networks "
        "oom_score_adj pid ports privileged read_only restart secrets security_opt shm_size stdin_open "
        "stop_grace_period stop_signal sysctls tmpfs tty ulimits user userns_mode volumes working_dir"
    ).split()
)
"""What a stack's file may have (docker/cli, cli/compose/schema/data/config_schema_v3.13.json)."""

LIMITS = "deploy: {resources: {limits: {cpus: '0.5', memory: 512M}}}"
OTHERWISE: Mapping[str, str] = {
    "name": "take it out: the stack is called by ./lab swarm deploy --name NAME",
    "include": "name the files one after the other: ./lab swarm deploy A B",
    "extends": "write out what it takes; in one file an anchor does: x-base: &base {…}, and <<: *base",
    "profiles": "take it out; what is not always wanted gets a file of its own, named behind the others",
    "scale": "deploy: {replicas: N}",
    "platform": "deploy: {placement: {constraints: [node.platform.arch == x86_64]}}",
    "pull_policy": "take it out: each node fetches the image that it has not",
    "pids_limit": "deploy: {resources: {limits: {pids: N}}}",
    "mem_reservation": "deploy: {resources: {reservations: {memory: 256M}}}",
    "volumes_from": "name the volume in both services, under volumes:",
    "volume_driver": "driver: of the volume, under volumes: at the top",
    "group_add": "user: with a group, as in user: '1000:998'",
    "gpus": "deploy: {resources: {reservations: {generic_resources: …}}}, and an engine that has some",
    "develop": "take it out: it is for docker compose watch",
    **dict.fromkeys(("mem_limit", "memswap_limit", "cpus", "cpu_quota", "cpu_shares", "cpuset", "cpu_count"), LIMITS),
}
VARIABLE = re.compile(r"\$(?:(\$)|([_a-z][_a-z0-9]*)|\{([_a-z][_a-z0-9]*)(:?[-?+][^}]*)?\})", re.IGNORECASE)
"""docker/cli, cli/compose/template: a name, and in braces perhaps a value where there is none; ``$$`` is a dollar."""
ADDRESS = re.compile(r"(\d+(?:\.\d+){3}|\[[0-9a-fA-F:]+\]):")

Pairs = Iterator[tuple[yaml.ScalarNode, yaml.Node]]


def refused(file: str, text: str) -> tuple[Finding, ...]:
    """Everything that Docker refuses in a file, in its order; of what is no YAML nothing."""
    found: list[Finding] = []
    root = _read(text)
    for key, value in _pairs(root):
        if key.value not in TOP and not key.value.startswith("x-"):
            found.append(_no(file, key, key.value))
        elif key.value == "version" and isinstance(value, yaml.ScalarNode) and not value.value.startswith("3"):
            found.append(_no(file, key, "version", "take the line out: what is written is read as the newest"))
        elif key.value == "services":
            for name, service in _pairs(value):
                found += _of_service(file, f"services.{name.value}", service)
        elif key.value in ("configs", "secrets"):
            for name, body in _pairs(value):
                for own, _ in _pairs(body):
                    if own.value in ("content", "environment"):
                        fix = "write it into a file, and file: its path; or make it before, and external: true"
                        found.append(_no(file, own, f"{key.value}.{name.value}.{own.value}", fix))
    return tuple(found)


def dropped(file: str, text: str, environment: Collection[str], dotenv: Collection[str] = ()) -> tuple[Finding, ...]:
    """What Docker takes in another way than meant: variables that are not set, and addresses of ports.

    ``environment`` are the names that are set, ``dotenv`` those that a ``.env`` beside the file sets: Docker Compose
    reads that, and a stack does not.
    """
    found, told = [], set()
    for key, section in _pairs(_read(text)):
        for scalar in _scalars(section, set()) if key.value in TOP else ():
            for escaped, plain, braced, otherwise in VARIABLE.findall(scalar.value):
                name = plain or braced
                if escaped or otherwise or name in environment or name in told:
                    continue
                told.add(name)
                fix = f"export {name}=…, or write ${{{name}:-VALUE}}"
                if name in dotenv:
                    fix = "a stack reads no .env, as Docker Compose does: set -a; . ./.env; set +a"
                what = f"{name} is not set, and is taken as empty"
                found.append(Finding(f"{file}:{_line(scalar)}", what, fix, fatal=False))
        for name, service in _pairs(section) if key.value == "services" else ():
            for item in (one for own, ports in _pairs(service) if own.value == "ports" for one in _items(ports)):
                if isinstance(item, yaml.ScalarNode) and (match := ADDRESS.match(item.value)):
                    what = f"{item.value} is published on every address of every node, not on {match[1]} alone"
                    fix = "leave ports: out where only the stack's own services need it: they have its network"
                    found.append(Finding(f"{file}:{_line(item)}: services.{name.value}.ports", what, fix, fatal=False))
    return tuple(found)


def _of_service(file: str, at: str, service: yaml.Node) -> Iterator[Finding]:
    for key, value in _pairs(service):
        where = f"{at}.{key.value}"
        if key.value not in SERVICE and not key.value.startswith("x-"):
            yield _no(file, key, where)
        elif key.value == "depends_on" and isinstance(value, yaml.MappingNode):
            names = ", ".join(name.value for name, _ in _pairs(value))
            fix = f"depends_on: [{names}]; no service is waited for: let it try again until the other answers"
            yield _no(file, key, f"{where} with conditions", fix)
        elif key.value == "env_file" and any(isinstance(one, yaml.MappingNode) for one in _items(value)):
            yield _no(file, key, f"{where} with required:", "env_file: [PATH], and that file has to be there")
        elif key.value == "ports":
            for item in _items(value):
                yield from _port(file, where, item)
        elif key.value == "deploy":
            for path, node in _deep(value, set()):
                if path.endswith("reservations.devices"):
                    yield _no(file, node, f"{where}.{path}", OTHERWISE["gpus"])


def _port(file: str, where: str, item: yaml.Node) -> Iterator[Finding]:
    for key, value in _pairs(item):
        if key.value not in ("target", "published", "protocol", "mode") and not key.value.startswith("x-"):
            yield _no(file, key, f"{where}: {key.value}", "take it out: a port is published on every address")
        elif key.value == "published" and not value.tag.endswith(":int"):
            number = value.value if isinstance(value, yaml.ScalarNode) else "a number"
            yield _no(file, key, f"{where}: published: as a text", f"without quotes: published: {number}")


def _no(file: str, node: yaml.Node, where: str, fix: str = "") -> Finding:
    fix = fix or OTHERWISE.get(where.rpartition(".")[2], "take it out")
    return Finding(f"{file}:{_line(node)}", f"a stack has no {where}", fix)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _read(text: str) -> yaml.Node | None:
    """The file's nodes; None for what is no YAML, or has itself for a part."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if root is None or _holds_itself(root, set(), set()) else root
    except (yaml.YAMLError, RecursionError):
        return None


# An alias is the very node that it stands for, and nine levels of nine are millions: each node is gone through once.


def _holds_itself(node: yaml.Node, above: set[int], known: set[int]) -> bool:
    if isinstance(node, yaml.ScalarNode) or id(node) in known:
        return False
    if id(node) in above:
        return True
    above.add(id(node))
    parts = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
    if any(_holds_itself(part, above, known) for part in parts):
        return True
    above.discard(id(node))
    known.add(id(node))
    return False


def _pairs(node: yaml.Node | None, merged: set[int] | None = None) -> Pairs:
    """Keys and values of a mapping, those of ``<<`` too, of each base once; of another node none."""
    merged = set() if merged is None else merged
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.tag.endswith(":merge"):
            for base in _items(value) if isinstance(value, yaml.SequenceNode) else (value,):
                if id(base) not in merged:
                    merged.add(id(base))
                    yield from _pairs(base, merged)
        elif isinstance(key, yaml.ScalarNode):
            yield key, value


def _items(node: yaml.Node) -> Iterator[yaml.Node]:
    yield from node.value if isinstance(node, yaml.SequenceNode) else ()


def _deep(node: yaml.Node, known: set[int], path: str = "") -> Iterator[tuple[str, yaml.Node]]:
    """What is in a mapping and in those below it, by its path."""
    if id(node) not in known:
        known.add(id(node))
        for key, value in _pairs(node):
            yield f"{path}{key.value}", key
            yield from _deep(value, known, f"{path}{key.value}.")


def _scalars(node: yaml.Node, known: set[int]) -> Iterator[yaml.ScalarNode]:
    if id(node) in known:
        return
    known.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield node
    for _, value in _pairs(node):
        yield from _scalars(value, known)
    for item in _items(node):
        yield from _scalars(item, known)
