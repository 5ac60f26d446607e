"""A service as a Compose file for ``docker stack deploy``: what was built here can be taken along.

PURE, from the engine's JSON of the service (``GET /services/…``) and of its configs, to the Compose file format 3.8,
which is what ``docker stack deploy`` reads. A secret's content cannot be read back from a swarm, so secrets are named
as ``external``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

FILE = "docker-compose.yml"
VERSION = "3.8"
_UNITS_NS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))


@dataclass(frozen=True)
class Deployed:
    """A service's ``Spec`` and the ``Spec`` of each of its configs by name, as the engine has them."""

    spec: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Any]]


def export(service: Deployed) -> dict[str, bytes]:
    """The files by name: the Compose file, and one for each config."""
    container = service.spec["TaskTemplate"]["ContainerSpec"]
    whole: dict[str, Any] = {"version": VERSION, "services": {service.spec["Name"]: _service(service.spec, container)}}
    files: dict[str, bytes] = {}
    configs: dict[str, Any] = {}
    for name, config in service.configs.items():
        files[name] = base64.b64decode(config["Data"])
        driver = (config.get("Templating") or {}).get("Name")
        configs[name] = {"file": f"./{name}", **({"template_driver": driver} if driver else {})}
    secrets = {file["SecretName"]: {"external": True} for file in container.get("Secrets") or ()}
    volumes = {
        mount["Source"]: _volume(mount)
        for mount in container.get("Mounts") or ()
        if mount["Type"] == "volume" and mount.get("Source")
    }
    for key, value in (("configs", configs), ("secrets", secrets), ("volumes", volumes)):
        if value:
            whole[key] = value
    return {FILE: yaml.safe_dump(_escaped(whole), sort_keys=False, allow_unicode=True).encode(), **files}


def _service(spec: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    """One entry below ``services``; what the engine does not say is left out."""
    body: dict[str, Any] = {
        "image": container["Image"],
        "hostname": container.get("Hostname"),
        "entrypoint": container.get("Command"),
        "command": container.get("Args"),
        "environment": container.get("Env"),
        "stop_signal": container.get("StopSignal"),
        "stop_grace_period": duration(container.get("StopGracePeriod")),
        "healthcheck": _health(container.get("Healthcheck")),
        "configs": [_file(file, file["ConfigName"]) for file in container.get("Configs") or ()],
        "secrets": [_file(file, file["SecretName"]) for file in container.get("Secrets") or ()],
        "volumes": [_mount(mount) for mount in container.get("Mounts") or ()],
        "ports": [_port(port) for port in (spec.get("EndpointSpec") or {}).get("Ports") or ()],
        "deploy": _deploy(spec),
    }
    return _said(body)


def _deploy(spec: Mapping[str, Any]) -> dict[str, Any]:
    template, mode = spec["TaskTemplate"], spec["Mode"]
    restart, placement = template.get("RestartPolicy") or {}, template.get("Placement") or {}
    resources = template.get("Resources") or {}
    replicated = mode.get("Replicated")
    body = {
        "mode": "replicated" if replicated else "global",
        "replicas": replicated["Replicas"] if replicated else None,
        "labels": dict(spec.get("Labels") or {}),
        "placement": _said(
            {
                "constraints": placement.get("Constraints"),
                "preferences": [
                    {"spread": one["Spread"]["SpreadDescriptor"]} for one in placement.get("Preferences") or ()
                ],
            }
        ),
        "resources": _said({name.lower(): _amounts(resources.get(name) or {}) for name in ("Limits", "Reservations")}),
        "restart_policy": _said({"condition": restart.get("Condition"), "delay": duration(restart.get("Delay"))}),
        "update_config": _policy(spec.get("UpdateConfig")),
        "rollback_config": _policy(spec.get("RollbackConfig")),
    }
    return _said(body)


def _policy(policy: Mapping[str, Any] | None) -> dict[str, Any]:
    if not policy:
        return {}
    return _said(
        {
            "parallelism": policy.get("Parallelism"),
            "delay": duration(policy.get("Delay")),
            "order": policy.get("Order"),
            "failure_action": policy.get("FailureAction"),
            "monitor": duration(policy.get("Monitor")),
            "max_failure_ratio": policy.get("MaxFailureRatio"),
        }
    )


def _amounts(amounts: Mapping[str, Any]) -> dict[str, str]:
    cpus, memory = amounts.get("NanoCPUs"), amounts.get("MemoryBytes")
    return _said({"cpus": f"{cpus / 1e9:g}" if cpus else None, "memory": f"{memory}b" if memory else None})


def _health(check: Mapping[str, Any] | None) -> dict[str, Any]:
    if not check:
        return {}
    times = {"interval": "Interval", "timeout": "Timeout", "start_period": "StartPeriod"}
    body = {"test": check.get("Test"), "retries": check.get("Retries")}
    return _said({**body, **{name: duration(check.get(key)) for name, key in times.items()}})


def _file(file: Mapping[str, Any], source: str) -> dict[str, Any]:
    place = file["File"]
    return {"source": source, "target": place["Name"], "uid": place["UID"], "gid": place["GID"], "mode": place["Mode"]}


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    body = {"type": mount["Type"], "source": mount.get("Source"), "target": mount["Target"]}
    nocopy = (mount.get("VolumeOptions") or {}).get("NoCopy")
    return _said({**body, "read_only": mount.get("ReadOnly") or None, "volume": {"nocopy": True} if nocopy else None})


def _volume(mount: Mapping[str, Any]) -> dict[str, Any]:
    driver = (mount.get("VolumeOptions") or {}).get("DriverConfig") or {}
    return _said({"driver": driver.get("Name"), "driver_opts": driver.get("Options")})


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "target": port["TargetPort"],
        "published": port["PublishedPort"],
        "protocol": port.get("Protocol", "tcp"),
        "mode": port.get("PublishMode", "ingress"),
    }


def duration(nanoseconds: int | None) -> str | None:
    """A length of time as Compose writes it, in the largest unit that is exact."""
    if nanoseconds is None:
        return None
    unit, size = next((unit, size) for unit, size in _UNITS_NS if nanoseconds % size == 0)
    return f"{nanoseconds // size}{unit}"


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    """Without the keys that say nothing. (0 and False say something.)"""
    return {key: value for key, value in body.items() if value not in (None, "", [], {}, ())}


def _escaped(value: Any) -> Any:
    """With every ``$`` doubled: Compose puts variables in where a single one stands."""
    match value:
        case str():
            return value.replace("$", "$$")
        case Mapping():
            return {key: _escaped(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_escaped(entry) for entry in value]
    return value
