"""A service as a Compose file for ``docker stack deploy``: what was built here can be taken along.

PURE, from the engine's JSON of the service (``GET /services/…``), of its configs and the names of its networks, to the
Compose file format 3.8 (3.9 where a limit of processes needs it), which is what ``docker stack deploy`` reads. A
secret's content cannot be read back from a swarm, so secrets are named as ``external``, and so are networks, which may
be other services' too. Volumes keep their names: the data is in the volume of that name. What a Compose file cannot say
is told by `labkit.swarm.services.compose_gaps`, and stands as a comment at the head of the file.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from labkit.swarm.services.compose_gaps import left_out

FILE = "docker-compose.yml"
VERSION, WITH_PIDS = "3.8", "3.9"
STACK = "com.docker.stack."
"""How the labels begin by which ``docker stack`` knows what it made; it writes its own."""
_UNITS_NS = (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))


@dataclass(frozen=True)
class Deployed:
    """A service's ``Spec``, the ``Spec`` of each of its configs by name, and its networks' names by id."""

    spec: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Any]]
    networks: Mapping[str, str] = field(default_factory=dict)


def export(service: Deployed) -> dict[str, bytes]:
    """The files by name: the Compose file, and one for each config."""
    container = service.spec["TaskTemplate"]["ContainerSpec"]
    networks = {
        service.networks.get(one["Target"], one["Target"]): _said({"aliases": one.get("Aliases")}) or None
        for one in service.spec["TaskTemplate"].get("Networks") or service.spec.get("Networks") or ()
    }
    body = _service(service.spec, container)
    if networks:
        body["networks"] = networks
    pids = body["deploy"].get("resources", {}).get("limits", {}).get("pids")
    whole: dict[str, Any] = {"version": WITH_PIDS if pids else VERSION, "services": {service.spec["Name"]: body}}
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
    outside = {name: {"external": True} for name in networks}
    for key, value in (("configs", configs), ("secrets", secrets), ("volumes", volumes), ("networks", outside)):
        if value:
            whole[key] = value
    head = "".join(f"# not in this file: {words}\n" for words in left_out(service.spec))
    return {FILE: (head + yaml.safe_dump(_escaped(whole), sort_keys=False, allow_unicode=True)).encode(), **files}


def _service(spec: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    """One entry below ``services``; what the engine does not say is left out."""
    dns, log = container.get("DNSConfig") or {}, spec["TaskTemplate"].get("LogDriver") or {}
    body: dict[str, Any] = {
        "image": container["Image"],
        "hostname": container.get("Hostname"),
        "entrypoint": container.get("Command"),
        "command": container.get("Args"),
        "environment": container.get("Env"),
        "labels": _labels(container),
        "user": container.get("User"),
        "working_dir": container.get("Dir"),
        "tty": container.get("TTY") or None,
        "stdin_open": container.get("OpenStdin") or None,
        "read_only": container.get("ReadOnly") or None,
        "init": container.get("Init"),
        "cap_add": container.get("CapabilityAdd"),
        "cap_drop": container.get("CapabilityDrop"),
        "sysctls": container.get("Sysctls"),
        "ulimits": {one["Name"]: {"soft": one["Soft"], "hard": one["Hard"]} for one in container.get("Ulimits") or ()},
        "extra_hosts": [entry for line in container.get("Hosts") or () for entry in _hosts(line)],
        "dns": dns.get("Nameservers"),
        "dns_search": dns.get("Search"),
        "logging": _said({"driver": log.get("Name"), "options": log.get("Options")}),
        "stop_signal": container.get("StopSignal"),
        "stop_grace_period": duration(container.get("StopGracePeriod")),
        "healthcheck": _health(container.get("Healthcheck")),
        "configs": [_file(file, file["ConfigName"]) for file in container.get("Configs") or () if file.get("File")],
        "secrets": [_file(file, file["SecretName"]) for file in container.get("Secrets") or () if file.get("File")],
        "volumes": [_mount(mount) for mount in container.get("Mounts") or ()],
        "ports": [_port(port) for port in (spec.get("EndpointSpec") or {}).get("Ports") or ()],
        "deploy": _deploy(spec),
    }
    return _said(body)


def _labels(body: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in (body.get("Labels") or {}).items() if not key.startswith(STACK)}


def _hosts(line: str) -> list[str]:
    """A line of hosts(5), address and names, as Compose writes it."""
    address, *names = line.split()
    return [f"{name}:{address}" for name in names]


def _deploy(spec: Mapping[str, Any]) -> dict[str, Any]:
    template, mode = spec["TaskTemplate"], spec["Mode"]
    restart, placement = template.get("RestartPolicy") or {}, template.get("Placement") or {}
    resources = template.get("Resources") or {}
    replicated = mode.get("Replicated")
    body = {
        "mode": "replicated" if replicated else "global",
        "replicas": replicated["Replicas"] if replicated else None,
        "labels": _labels(spec),
        "endpoint_mode": "dnsrr" if (spec.get("EndpointSpec") or {}).get("Mode") == "dnsrr" else None,
        "placement": _said(
            {
                "constraints": placement.get("Constraints"),
                "preferences": [
                    {"spread": one["Spread"]["SpreadDescriptor"]} for one in placement.get("Preferences") or ()
                ],
                "max_replicas_per_node": placement.get("MaxReplicas") or None,
            }
        ),
        "resources": _said({name.lower(): _amounts(resources.get(name) or {}) for name in ("Limits", "Reservations")}),
        "restart_policy": _said(
            {
                "condition": restart.get("Condition"),
                "delay": duration(restart.get("Delay")),
                "max_attempts": restart.get("MaxAttempts") or None,
                "window": duration(restart.get("Window") or None),
            }
        ),
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


def _amounts(amounts: Mapping[str, Any]) -> dict[str, Any]:
    cpus, memory = amounts.get("NanoCPUs"), amounts.get("MemoryBytes")
    generic = [one["DiscreteResourceSpec"] for one in amounts.get("GenericResources") or () if len(one) == 1
               and "DiscreteResourceSpec" in one]  # fmt: skip
    return _said(
        {
            "cpus": f"{cpus / 1e9:g}" if cpus else None,
            "memory": f"{memory}b" if memory else None,
            "pids": amounts.get("Pids") or None,
            "generic_resources": [
                {"discrete_resource_spec": {"kind": one["Kind"], "value": one["Value"]}} for one in generic
            ],
        }
    )


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
    return _said(
        {
            **body,
            "read_only": mount.get("ReadOnly") or None,
            "volume": {"nocopy": True} if nocopy else None,
            "bind": _said({"propagation": (mount.get("BindOptions") or {}).get("Propagation")}),
            "tmpfs": _said({"size": (mount.get("TmpfsOptions") or {}).get("SizeBytes") or None}),
        }
    )


def _volume(mount: Mapping[str, Any]) -> dict[str, Any]:
    options = mount.get("VolumeOptions") or {}
    driver = options.get("DriverConfig") or {}
    return _said(
        {
            "name": mount[
                "Source"
            ],  # else docker stack deploy puts the stack's name before it, and finds no data there
            "driver": driver.get("Name"),
            "driver_opts": driver.get("Options"),
            "labels": _labels(options),
        }
    )


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    return _said(
        {
            "target": port["TargetPort"],
            "published": port.get("PublishedPort"),
            "protocol": port.get("Protocol", "tcp"),
            "mode": port.get("PublishMode", "ingress"),
        }
    )


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
