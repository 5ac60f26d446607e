"""What of a swarm is made again in another one: the same, but for what the swarm itself had chosen."""

from __future__ import annotations

import base64
import json
from typing import Any

from labkit.swarm.recovery import redeploy
from labkit.swarm.recovery.redeploy import Inventory, of_json, take

SPEC: dict[str, Any] = {
    "Name": "web",
    "Labels": {"owner": "me"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "10.77.0.1:5000/web:1@sha256:00",
            "Configs": [{"ConfigID": "c-old", "ConfigName": "page", "File": {"Name": "/page"}}],
            "Secrets": [{"SecretID": "s-old", "SecretName": "password", "File": {"Name": "password"}}],
        },
        "Networks": [{"Target": "n1", "Aliases": ["web"]}, {"Target": "unknown"}],
        "Placement": {"Constraints": ["node.labels.disk == ssd"]},
    },
    "Mode": {"Replicated": {"Replicas": 2}},
    "EndpointSpec": {"Mode": "vip", "Ports": [{"TargetPort": 80, "PublishedPort": 8080}]},
}
NETWORKS: list[dict[str, Any]] = [
    {"Id": "n1", "Name": "back", "Scope": "swarm", "Driver": "overlay", "Attachable": True, "Internal": False,
     "EnableIPv6": False, "Ingress": False, "Labels": {"a": "b"},
     "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": "10.128.3.0/24", "Gateway": "10.128.3.1"}]},
     "Options": {redeploy.ALLOCATED: "4099", "encrypted": ""}},
    {"Id": "n2", "Name": "mine", "Scope": "swarm", "Driver": "overlay", "Ingress": False,
     "IPAM": {"Driver": "default", "Config": [{"Subnet": "172.30.0.0/24"}]}, "Options": {}},
    {"Id": "n3", "Name": "ingress", "Scope": "swarm", "Ingress": True},
    {"Id": "n4", "Name": "bridge", "Scope": "local"},
]  # fmt: skip


def inventory() -> Inventory:
    configs = [{"ID": "c-old", "Spec": {"Name": "page", "Labels": {}, "Data": "aGVsbG8="}}]
    secrets = [{"ID": "s-old", "Spec": {"Name": name, "Labels": {}}} for name in ("password", "unused")]
    return take([{"ID": "old", "Spec": SPEC}], NETWORKS, configs, secrets, ["10.128.0.0/9"])


def test_a_service_is_the_same_with_new_numbers() -> None:
    (spec,) = inventory().services
    body = redeploy.service_body(spec, {"page": "c-new"}, {"password": "s-new"})
    container = body["TaskTemplate"]["ContainerSpec"]
    assert (container["Configs"][0]["ConfigID"], container["Secrets"][0]["SecretID"]) == ("c-new", "s-new")
    assert body["TaskTemplate"]["Networks"] == [{"Target": "back", "Aliases": ["web"]}, {"Target": "unknown"}]
    back = json.loads(json.dumps(body).replace("c-new", "c-old").replace("s-new", "s-old").replace('"back"', '"n1"'))
    assert back == SPEC
    assert SPEC["TaskTemplate"]["Networks"][0]["Target"] == "n1"  # what was read is not changed


def test_a_network_keeps_what_a_person_chose() -> None:
    back, mine = inventory().networks
    assert back["IPAM"]["Config"] == [] and back["Options"] == {"encrypted": ""}
    assert back["Attachable"] and back["Labels"] == {"a": "b"}
    assert mine["IPAM"]["Config"] == [{"Subnet": "172.30.0.0/24"}]


def test_what_a_person_has_to_bring_or_to_know() -> None:
    found = inventory()
    assert found.needed_secrets == ("password",)
    assert found.bound_to_nodes == ("web",)
    assert base64.b64decode(redeploy.secret_body(found.secrets[0], b"\x00x")["Data"]) == b"\x00x"


def test_it_is_kept_in_a_file() -> None:
    found = inventory()
    assert of_json(json.loads(json.dumps(found.as_json()))) == found
