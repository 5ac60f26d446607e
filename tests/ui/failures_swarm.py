"""Services, the swarm and its engine, gone wrong."""

from __future__ import annotations

import dataclasses
import functools
import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import docker.errors

from labkit import events, nginx
from labkit.swarm import cluster, registry, service
from labkit.swarm import engine as swarm_engine

from .failures import BLADE, CASES, LAB, Patch, as_nobody, case

# --- services: a swarm whose one task has gone wrong, asked by `service.watch` ---------------------------------------


def stuck_service(error: str, state: str = "rejected", container: dict[str, Any] | None = None) -> object:
    container = container or {"Image": "10.77.0.1:5000/nginx:labkit"}
    spec = {"Name": "web", "Mode": {"Replicated": {"Replicas": 1}}, "TaskTemplate": {"ContainerSpec": container}}
    task = {
        "ID": "t1", "ServiceID": "s1", "Slot": 1, "NodeID": "n1", "CreatedAt": "2026-01-01T00:00:00Z",
        "DesiredState": "running" if state == "pending" else "shutdown", "Spec": {"ContainerSpec": container},
        "Status": {"State": state, "Err": error, "Message": ""},
    }  # fmt: skip
    waiting = {**task, "ID": "t2", "DesiredState": "running", "Status": {"State": "pending", "Message": ""}}
    api = SimpleNamespace(
        services=lambda **_: [{"ID": "s1", "Spec": spec}], inspect_service=lambda *_, **__: {"ID": "s1", "Spec": spec},
        tasks=lambda *_: [task, waiting] if state != "pending" else [task], nodes=lambda **_: [],
    )  # fmt: skip
    return service.watch(SimpleNamespace(api=api), "web", 0.0)  # type: ignore[arg-type]


SERVICE = {
    "image-missing": ("No such image: 10.77.0.1:5000/nginx:labkit", "rejected"),
    "service-port-taken": ("host-mode port already in use on 2 nodes", "pending"),
    "node-port-taken": ("Bind for 0.0.0.0:80 failed: port is already allocated", "failed"),
    "no-suitable-node": ("no suitable node (scheduling constraints not satisfied on 3 nodes)", "pending"),
    "unhealthy": ("task: non-zero exit (1): unhealthy container", "failed"),
    "out-of-memory": ("task: non-zero exit (137)", "failed"),
    "replica-ended": ("task: non-zero exit (3)", "failed"),
}  # fmt: skip
for _name, (_error, _state) in SERVICE.items():
    CASES[_name] = functools.partial(lambda error, state, patch: stuck_service(error, state), _error, _state)


@case("mesh-silent")
def _(patch: Patch) -> object:
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        blade = dataclasses.replace(BLADE, address=IPv4Address("127.0.0.1"))
        lab = dataclasses.replace(LAB, blades=(blade,))
        stream = [
            events.Power(blade="blade1", state="on", time=1),
            events.Phoned(blade="blade1", stage="joined", time=2),
        ]
        return nginx.ask_blades(patch.running(stream, lab), taken.getsockname()[1], settle_s=0)


def refuse(words: str) -> Callable[..., object]:
    def call(*_: object, **__: object) -> object:
        raise docker.errors.APIError("500", explanation=words)

    return call


@case("registry-unreachable")
def _(patch: Patch) -> object:
    (patch.folder / "root.tar").write_bytes(b"tar")
    api = SimpleNamespace(inspect_distribution=refuse("dial tcp 10.77.0.1:5000: connect: connection refused"))
    fake: Any = SimpleNamespace(api=api)
    return registry.ensure_image(fake, patch.folder / "root.tar", reference="10.77.0.1:5000/nginx:labkit", changes=())


# --- the swarm --------------------------------------------------------------------------------------------------------


def said_by_engine(words: str) -> object:
    fake: Any = SimpleNamespace(api=SimpleNamespace(nodes=refuse(words)))
    return cluster.nodes(fake)


CASES["quorum-lost"] = lambda patch: said_by_engine(
    "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are "
    "online. Make sure more than half of the managers are online."
)
CASES["token-expired"] = lambda patch: said_by_engine(
    "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
)


def engine_with(**swarm: object) -> Any:
    return SimpleNamespace(info=lambda: {"Swarm": swarm}, api=SimpleNamespace(nodes=list))


CASES["swarm-locked"] = lambda patch: cluster.ensure_swarm(engine_with(LocalNodeState="locked"), advertise="10.0.0.1")
CASES["other-swarm"] = lambda patch: cluster.ensure_swarm(
    engine_with(LocalNodeState="active", ControlAvailable=False), advertise="10.0.0.1"
)
CASES["no-swarm"] = lambda patch: cluster.join_body(
    engine_with(LocalNodeState="inactive", ControlAvailable=False), role=BLADE.role, address="10.0.0.2"
)
CASES["node-not-ready"] = lambda patch: cluster.wait_nodes(engine_with(), ["blade1"], 0.0)
CASES["engine-down"] = lambda patch: swarm_engine.connect(patch.folder / "docker.sock")


@case("engine-silent")
def _(patch: Patch) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(patch.folder / "d.sock"))  # bound and not listening
        return swarm_engine.connect(patch.folder / "d.sock")


@case("engine-forbidden")
def _(patch: Patch) -> object:
    shut = patch.folder / "docker"
    shut.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    with as_nobody():
        return swarm_engine.connect(shut / "docker.sock")
