"""What is there already, as `labkit.swarm.stack.explain` needs it: asked of the engine, of registries and of files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import docker

from labkit.lab import Flavour, Lab, NetworkKind
from labkit.swarm.engine import api, engine_errors
from labkit.swarm.node import read_node
from labkit.swarm.services.deploy import named_volumes, volume_options
from labkit.swarm.services.failure_reasons import ask_registry
from labkit.swarm.services.ports import taken_ports, taken_udp_ports
from labkit.swarm.stack.explain import There, images_of
from labkit.swarm.stack.there import Made

NAMESPACE = "com.docker.stack.namespace"
"""The label that ``docker stack deploy`` puts on all of a stack."""
LARGEST_B = 1 << 20
AT_ONCE = 8
LABOS_LACKS = frozenset({"/etc/localtime", "cifs", "smb3"})
"""Paths that containers bind often, and file systems that volumes name, which the blade OS has not."""

Engine = Callable[[], AbstractContextManager[docker.DockerClient]]


def look_around(engine: Engine, lab: Lab, stack: str, config: Mapping[str, Any]) -> There:
    """What is there for a stack of this name. ``engine`` gives a client of a manager's engine, one for each thread.

    Raises SwarmError. A registry that does not answer costs ten seconds.
    """
    with engine() as client, engine_errors():
        services = api(client).services()
        configs = {
            raw["Spec"]["Name"]: base64.b64decode(raw["Spec"].get("Data") or "") for raw in api(client).configs()
        }
        secrets = frozenset(raw["Spec"]["Name"] for raw in api(client).secrets())
        networks = frozenset(raw["Name"] for raw in api(client).networks() if raw.get("Scope") == "swarm")
        raw_nodes = api(client).nodes()
    nodes = tuple(map(read_node, raw_nodes))
    blades = {blade.name for blade in lab.blades}
    takers = [node for node in nodes if node.ready and node.availability == "active"]
    is_real = lab.network.kind is NetworkKind.INTERFACE
    has_labos = not is_real or any(blade.os is Flavour.LABOS for blade in lab.blades)
    files, sizes_b = _files(config)
    return There(
        stack=stack, nodes=nodes, taken=taken_ports(lab), taken_udp=taken_udp_ports(lab),
        published=_published(services), networks=networks, secrets=secrets, contents=configs,
        volumes=_volumes(services), files=files, sizes_b=sizes_b, plain=_plain(config),
        images=_images(engine, images_of(config)), forgets=any(node.blade in blades for node in takers), own=is_real,
        cached=bool(lab.mirror), lacks=LABOS_LACKS if has_labos else frozenset(), server=str(lab.network.server),
        shares=lab.storage.share, room={raw["ID"]: _room(raw) for raw in raw_nodes if _resources(raw)},
        plugins={raw["ID"]: _plugins(raw) for raw in raw_nodes if _plugins(raw)},
    )  # fmt: skip


def _resources(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return (raw.get("Description") or {}).get("Resources") or {}


def _room(raw: Mapping[str, Any]) -> tuple[float, int]:
    return int(_resources(raw).get("NanoCPUs", 0)) / 1e9, int(_resources(raw).get("MemoryBytes", 0))


def _plugins(raw: Mapping[str, Any]) -> frozenset[str]:
    listed = ((raw.get("Description") or {}).get("Engine") or {}).get("Plugins") or ()
    return frozenset(f"{one['Type']}/{one['Name']}" for one in listed)


def _volumes(services: list[dict[str, Any]]) -> dict[str, Made]:
    """What the volumes of services are made with, by name."""
    return {name: volume_options(mount) for raw in services for name, mount in named_volumes(raw)}


def _plain(config: Mapping[str, Any]) -> frozenset[str]:
    """The sources of binds that are files here."""
    mounts = [mount for one in (config.get("services") or {}).values() for mount in one.get("volumes") or ()]
    sources = {str(mount.get("source") or "") for mount in mounts if mount.get("type") == "bind"}
    return frozenset(source for source in sources if Path(source).is_file())


def _published(services: list[dict[str, Any]]) -> dict[tuple[int, str], str]:
    return {
        (int(port["PublishedPort"]), str(port.get("Protocol", "tcp"))): str(raw["Spec"]["Name"])
        for raw in services
        for port in (raw.get("Endpoint") or {}).get("Ports")
        or (raw["Spec"].get("EndpointSpec") or {}).get("Ports")
        or ()
        if port.get("PublishedPort")
    }


def _files(config: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[str, int | None]]:
    """What the files of configs hold, and how large these and those of secrets are; None for one that is not there."""
    contents: dict[str, bytes] = {}
    sizes: dict[str, int | None] = {}
    for kind in ("configs", "secrets"):
        for body in (config.get(kind) or {}).values():
            if not (path := str((body or {}).get("file") or "")):
                continue
            try:
                sizes[path] = Path(path).stat().st_size if Path(path).is_file() else None
                if kind == "configs" and (sizes[path] or 0) < LARGEST_B:
                    contents[path] = Path(path).read_bytes()
            except OSError:
                sizes[path] = None
    return contents, sizes


def _images(engine: Engine, names: tuple[str, ...]) -> dict[str, str]:
    """Why each image cannot be had, as this engine hears it from the registry; empty where it can."""

    def ask(name: str) -> str:
        with engine() as client:
            return ask_registry(client, name)

    if not names:
        return {}
    with ThreadPoolExecutor(min(len(names), AT_ONCE)) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))
