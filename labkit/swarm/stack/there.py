"""What a stack is held against, and what is said of it. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.swarm.constraints import fits
from labkit.swarm.node import Node

Config = Mapping[str, Any]
"""A Compose file as ``docker stack config`` gives it: merged, interpolated and in its long form."""

Made = tuple[str, Mapping[str, str]]
"""What a volume is made with: its driver, and the driver's options."""


@dataclass(frozen=True, kw_only=True)
class There:
    """What is there already, for a stack of this name.

    ``taken`` are TCP ports of the lab's own, each with whose, ``taken_udp`` those of UDP; ``published`` ports by number
    and protocol with the service that has them. ``networks``, ``secrets`` and ``contents`` are what the swarm keeps by
    name, of configs with their content; ``volumes`` what services have volumes made with. ``files`` is what the files
    hold that the stack makes configs of, by path; ``sizes_b`` how large these and those of secrets are, None where one
    cannot be read; ``plain`` are the sources of binds that are files here. ``images`` says of each image why no node
    gets it, empty where one does.

    ``forgets``: nodes that take tasks lose their volumes at a boot. ``own``: nodes that are no blades are a person's
    own machines, as in a real lab. ``cached``: nodes ask the lab's cache first for what is Docker Hub's. ``lacks`` are
    paths and file systems that blades' systems have not. ``server`` is the lab's own address, where ``shares`` says
    whether a folder is served. By id of a node, where that is known: ``room`` is its processors and its memory in
    bytes, ``plugins`` its drivers as ``Volume/local``.
    """

    stack: str
    nodes: tuple[Node, ...]
    taken: Mapping[int, str] = field(default_factory=dict)
    taken_udp: Mapping[int, str] = field(default_factory=dict)
    published: Mapping[tuple[int, str], str] = field(default_factory=dict)
    networks: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    contents: Mapping[str, bytes] = field(default_factory=dict)
    volumes: Mapping[str, Made] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    sizes_b: Mapping[str, int | None] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    images: Mapping[str, str] = field(default_factory=dict)
    forgets: bool = True
    own: bool = False
    cached: bool = False
    lacks: frozenset[str] = frozenset()
    server: str = ""
    shares: bool = False
    room: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    plugins: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Something that a person should know. ``fatal`` is what will not work; else it works in another way than meant."""

    where: str
    what: str
    fix: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  {'fix' if self.fatal else 'way out'}: {self.fix}"


def constraints_of(service: Config) -> list[str]:
    """Where a service of the file may run, as it was written."""
    return [str(text) for text in ((service.get("deploy") or {}).get("placement") or {}).get("constraints") or ()]


def able(service: Config, there: There) -> list[Node]:
    """The nodes that would take its replicas."""
    takers = [node for node in there.nodes if node.ready and node.availability == "active"]
    return [node for node in takers if fits(node, constraints_of(service))]


def is_global(service: Config) -> bool:
    """Whether it runs once on each node."""
    return str((service.get("deploy") or {}).get("mode") or "").startswith("global")


def replicas_of(service: Config) -> int:
    """How many replicas it wants; of one that runs on each node as many as would be there are not known here: 0."""
    if is_global(service):
        return 0
    wanted = (service.get("deploy") or {}).get("replicas")
    return 1 if wanted is None else int(wanted)


def name_of(key: str, body: Config, stack: str) -> str:
    """What a network, volume, secret or config of the file is called in the swarm."""
    own = key if body.get("external") else f"{stack}_{key}"
    return str(body.get("name") or own)


def has_plugin(nodes: Sequence[Node], plugin: str, there: There) -> bool:
    """Whether a node has a driver, with the tag ``latest`` or without one; also where that is not known."""
    known = [there.plugins[node.id] for node in nodes if node.id in there.plugins]
    return not known or any({plugin, f"{plugin}:latest"} & has for has in known)
