"""Which ports of a service are its page's: published in the mesh, and TCP."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import docker
import docker.errors
import pytest

from labkit.errors import SwarmError
from labkit.swarm.services.ports import published_ports


def engine(services: Any) -> docker.DockerClient:
    """A client whose engine answers ``GET /services`` so."""
    return cast(docker.DockerClient, SimpleNamespace(api=SimpleNamespace(services=services)))


def service(name: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {"Spec": {"Name": name}, "Endpoint": {"Ports": list(ports)} if ports else {}}


def port(number: int, protocol: str = "tcp", mode: str = "ingress") -> dict[str, Any]:
    return {"Protocol": protocol, "TargetPort": 80, "PublishedPort": number, "PublishMode": mode}


def test_only_what_every_node_answers_on_counts() -> None:
    listed = [
        service("web", port(8080), port(443)),
        service("dns", port(53, protocol="udp")),
        service("own", port(8081, mode="host")),
        service("quiet"),
    ]
    assert published_ports(engine(lambda: listed)) == {"web": [443, 8080]}


def test_an_engine_that_refuses_is_a_swarm_error() -> None:
    def refuse() -> None:
        raise docker.errors.APIError("This node is not a swarm manager.")

    with pytest.raises(SwarmError, match="not a swarm manager"):
        published_ports(engine(refuse))
