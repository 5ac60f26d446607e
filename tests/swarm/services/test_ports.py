"""What a service may publish, and of how many replicas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import ParameterError
from labkit.lab import lab_yaml
from labkit.swarm.services.ports import check_port, port_beside, taken_ports
from labkit.swarm.services.spec import (
    ServiceSpec,
    endpoint_body,
    mesh_ports,
)  # fmt: skip

SPEC = ServiceSpec(name="nginx", image="10.77.0.1:5000/nginx:1", replicas=2, ports=((8080, 80),))
VIRTUAL = lab_yaml.parse("blades: [{name: blade1}]\n", Path("lab.yaml"))
REAL = lab_yaml.parse(
    """
chassis: {kind: ipmi}
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2, tls: true}
storage: {share: true, cache: true}
bmc: {password_file: bmc}
blades: [{name: red1, bmc: {address: 10.0.41.11}, macs: ["00:25:90:aa:00:11"]}]
""",
    Path("lab.yaml"),
)


@pytest.mark.parametrize("port", [0, -1, 65536, 99999, 10**30, True, False, 80.0, "8080", "abc", None, float("nan")])
def test_what_is_no_port_is_refused(port: Any) -> None:
    for wrong in (replace(SPEC, ports=((port, 80),)), replace(SPEC, ports=((8081, 81), (8080, port)))):
        with pytest.raises(ParameterError, match="port of service 'nginx' is") as caught:
            wrong.check()
        assert caught.value.fix == "a number from 1 to 65535"


def test_what_a_service_may_publish() -> None:
    for right in (
        SPEC,
        replace(SPEC, ports=()),
        replace(SPEC, ports=((1, 1), (65535, 65535))),
        replace(SPEC, replicas=None),
    ):
        right.check()
    for port in (2377, 7946):
        with pytest.raises(ParameterError, match=f"is {port}, and that is for swarm's") as caught:
            replace(SPEC, ports=((port, 80),)).check()
        assert caught.value.fix == "a number from 1 to 65535 that is none of 2377, 7946"
    with pytest.raises(ParameterError, match="publishes port 8080 twice"):
        replace(SPEC, ports=((8080, 80), (8080, 81))).check()


@pytest.mark.parametrize("replicas", [0, -1, True, 1.0, "2"])
def test_a_service_of_no_replicas_is_refused(replicas: Any) -> None:
    with pytest.raises(ParameterError, match="cannot have .* replicas"):
        replace(SPEC, replicas=replicas).check()


def test_a_port_of_the_labs_own_is_not_published() -> None:
    """A virtual lab's servers are on no node; in a real one they are beside the first manager's engine."""
    assert sorted(taken_ports(VIRTUAL)) == [22, 53, 2377, 5355, 7946]
    assert sorted(taken_ports(REAL)) == [22, 53, 80, 443, 2049, 2377, 5000, 5001, 5355, 7946]
    with pytest.raises(ParameterError, match="the published port is 5000, and that is for the lab's registry"):
        check_port(5000, taken_ports(REAL))
    check_port(5000, taken_ports(VIRTUAL))


@pytest.mark.parametrize(
    ("port", "beside"), [(8080, 8081), (21, 23), (2376, 2378), (65535, 65534), (65534, 65535), (1, 2)]
)
def test_the_port_beside_is_free(port: int, beside: int) -> None:
    assert port_beside(port, VIRTUAL) == beside


def test_only_the_mesh_makes_a_service_anew_for_another_port() -> None:
    there = {"Mode": "vip", "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080}]}
    assert mesh_ports(there) == mesh_ports(endpoint_body(SPEC)) == {("tcp", 8080, 80)}
    assert mesh_ports(endpoint_body(replace(SPEC, ports=((8081, 80),)))) != mesh_ports(there)
    assert mesh_ports(endpoint_body(replace(SPEC, publish="host"))) == mesh_ports(None) == frozenset()
