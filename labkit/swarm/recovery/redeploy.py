"""A swarm's services as they can be deployed again in another swarm, each from its own specification.

PURE: the answers of ``GET /services``, ``/networks``, ``/configs`` and ``/secrets`` (Docker Engine API v1.41) in, the
bodies of the requests that make the same again out. The one thing that a swarm never gives away is what its secrets
hold: that has to come from the person.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from typing import Any

Raw = Mapping[str, Any]

ALLOCATED = "com.docker.network.driver.overlay.vxlanid_list"
"""An option that the swarm itself has given a network."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What of a swarm can be made again. Each item is a specification as the API takes it; networks of services are
    named, not numbered."""

    services: tuple[dict[str, Any], ...]
    networks: tuple[dict[str, Any], ...] = ()
    configs: tuple[dict[str, Any], ...] = ()
    secrets: tuple[dict[str, Any], ...] = ()

    @property
    def needed_secrets(self) -> tuple[str, ...]:
        """The secrets that a service uses, by name, but for those that a driver keeps elsewhere."""
        driven = {spec["Name"] for spec in self.secrets if spec.get("Driver")}
        used = {ref["SecretName"] for spec in self.services for ref in _container(spec).get("Secrets") or ()}
        return tuple(sorted(used - driven))

    @property
    def bound_to_nodes(self) -> tuple[str, ...]:
        """Services that are placed by a node's number, or by labels of nodes, which go with these."""
        return tuple(
            spec["Name"]
            for spec in self.services
            if any(
                word.replace(" ", "").startswith(("node.id", "node.labels."))
                for word in ((spec.get("TaskTemplate") or {}).get("Placement") or {}).get("Constraints") or ()
            )
        )

    def as_json(self) -> dict[str, Any]:
        """For a file; `of_json` reads it."""
        return asdict(self)


def of_json(body: Mapping[str, Any]) -> Inventory:
    """What `Inventory.as_json` wrote."""
    return Inventory(**{name: tuple(body[name]) for name in ("services", "networks", "configs", "secrets")})


def take(
    services: Iterable[Raw], networks: Iterable[Raw], configs: Iterable[Raw], secrets: Iterable[Raw],
    pools: Sequence[str] = (),
) -> Inventory:  # fmt: skip
    """The inventory of a swarm whose overlay networks come from ``pools`` where nobody chose."""
    listed = list(networks)
    names = {raw["Id"]: raw["Name"] for raw in listed}
    own = [raw for raw in listed if raw.get("Scope") == "swarm" and not raw.get("Ingress")]
    return Inventory(
        services=tuple(_named(raw["Spec"], names) for raw in services),
        networks=tuple(_network(raw, pools) for raw in own),
        configs=tuple(dict(raw["Spec"]) for raw in configs),
        secrets=tuple(dict(raw["Spec"]) for raw in secrets),
    )


def secret_body(spec: Raw, value: bytes | None) -> dict[str, Any]:
    """The body of ``POST /secrets/create``."""
    return dict(spec) if value is None else {**spec, "Data": base64.b64encode(value).decode()}


def service_body(spec: Raw, configs: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, Any]:
    """The body of ``POST /services/create``, with the new numbers of its configs and secrets by their names."""
    body = copy.deepcopy(dict(spec))
    container = _container(body)
    for ref in container.get("Configs") or ():
        ref["ConfigID"] = configs[ref["ConfigName"]]
    for ref in container.get("Secrets") or ():
        ref["SecretID"] = secrets[ref["SecretName"]]
    return body


def _container(spec: Raw) -> dict[str, Any]:
    return (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}


def _named(spec: Raw, names: Mapping[str, str]) -> dict[str, Any]:
    """A service's specification with its networks by name: their numbers are others in another swarm."""
    body = copy.deepcopy(dict(spec))
    for place in (body, body.get("TaskTemplate") or {}):
        for attached in place.get("Networks") or ():
            attached["Target"] = names.get(attached["Target"], attached["Target"])
    return body


def _network(raw: Raw, pools: Sequence[str]) -> dict[str, Any]:
    """The body of ``POST /networks/create``; a subnet that the swarm itself chose is left for the new one to choose."""
    ipam = raw.get("IPAM") or {}
    chosen = [one for one in ipam.get("Config") or () if not _from_pool(str(one.get("Subnet", "")), pools)]
    options = {key: value for key, value in (raw.get("Options") or {}).items() if key != ALLOCATED}
    return {
        **{key: raw.get(key) for key in ("Name", "Driver", "Internal", "Attachable", "EnableIPv6")},
        "Labels": raw.get("Labels") or {},
        "Options": options,
        "IPAM": {"Driver": ipam.get("Driver") or "default", "Options": ipam.get("Options"), "Config": chosen},
        "CheckDuplicate": True,
    }


def _from_pool(subnet: str, pools: Sequence[str]) -> bool:
    try:
        return any(IPv4Network(subnet).subnet_of(IPv4Network(pool)) for pool in pools)
    except ValueError:
        return False
