"""A service on real engines that the tests of deploying share, and what is asked of it."""

from __future__ import annotations

import pytest

from labkit.errors import SwarmError
from labkit.swarm.engine import engine
from labkit.swarm.services.deploy import ensure_service, watch
from labkit.swarm.services.health import ServiceState
from labkit.swarm.services.http_probe import Answer, probe
from labkit.swarm.services.spec import ConfigFile, ServiceSpec, UpdatePolicy
from tests.rig.fleet import Fleet

PORT = 8080


@pytest.fixture
def spec(web: str) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        image=web,
        replicas=3,
        ports=((PORT, 80),),
        publish="host",
        configs=(ConfigFile("/www/page", b"slot {{.Task.Slot}} of {{.Service.Name}}\n", template=True),),
        update=UpdatePolicy(parallelism=3, order="stop-first", monitor_s=1),
        rollback=UpdatePolicy(parallelism=3, order="stop-first", monitor_s=1, on_failure="pause"),
    )


def asked(fleet: Fleet, path: str = "/cgi-bin/who", port: int = PORT) -> list[Answer]:
    addresses = {machine.name: machine.address for machine in fleet.blades}
    return fleet.inside(lambda: probe(addresses, port, path=path))


def start(fleet: Fleet, spec: ServiceSpec, timeout_s: float) -> ServiceState:
    with engine(fleet.controller.sock) as client:
        wanted = ensure_service(client, spec).asked
        return watch(client, spec.name, timeout_s, asked=wanted)


def refused(fleet: Fleet, spec: ServiceSpec, timeout_s: float) -> str:
    with pytest.raises(SwarmError) as error:
        start(fleet, spec, timeout_s)
    return error.value.what
