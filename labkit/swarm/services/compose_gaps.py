"""What of a service a Compose file for ``docker stack deploy`` cannot say, named so that nobody misses it later.

PURE. It is the other way round than a list of what is missing: all that `labkit.swarm.services.compose` carries stands
here, by the names of the engine's JSON (Docker Engine API v1.41, ``ServiceSpec``), and whatever else a service says is
named, also what an engine of years to come may say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Carried = Mapping[str, Any]
"""Names that are carried; below a name either None, for all that it holds, or what of that is carried."""


def _all(names: str) -> dict[str, None]:
    return dict.fromkeys(names.split())


_AMOUNTS = {**_all("NanoCPUs MemoryBytes Pids"), "GenericResources": {"DiscreteResourceSpec": None}}
_MOUNT = {
    **_all("Type Source Target ReadOnly Consistency"),
    "BindOptions": _all("Propagation"),
    "VolumeOptions": _all("NoCopy DriverConfig Labels"),
    "TmpfsOptions": _all("SizeBytes"),
}
_CONTAINER = {
    **_all("Image Hostname Command Args Env Labels User Dir TTY OpenStdin ReadOnly Init CapabilityAdd CapabilityDrop"),
    **_all("Sysctls Ulimits Hosts StopSignal StopGracePeriod"),
    "DNSConfig": _all("Nameservers Search"),
    "Healthcheck": _all("Test Interval Timeout StartPeriod Retries"),
    "Configs": _all("ConfigID ConfigName File"),
    "Secrets": _all("SecretID SecretName File"),
    "Mounts": _MOUNT,
}
_NETWORKS = _all("Target Aliases")
_TEMPLATE = {
    **_all("ForceUpdate LogDriver"),
    "ContainerSpec": _CONTAINER,
    "Resources": {"Limits": _AMOUNTS, "Reservations": _AMOUNTS},
    "RestartPolicy": _all("Condition Delay MaxAttempts Window"),
    "Placement": {**_all("Constraints MaxReplicas Platforms"), "Preferences": {"Spread": None}},
    "Networks": _NETWORKS,
}
_SPEC: Carried = {
    **_all("Name Labels UpdateConfig RollbackConfig"),
    "TaskTemplate": _TEMPLATE,
    "Mode": _all("Replicated Global"),
    "EndpointSpec": _all("Mode Ports"),
    "Networks": _NETWORKS,
}

DEFAULTS = {"TaskTemplate.Runtime": "container", "TaskTemplate.ContainerSpec.Isolation": "default"}
"""What the engine writes by itself where nobody said anything."""


def left_out(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Each thing that a service says and its Compose file cannot, by its place in the engine's JSON, with its value."""
    return tuple(dict.fromkeys(_missing(spec, _SPEC, "")))


def _missing(said: Mapping[str, Any], carried: Carried, place: str) -> Iterator[str]:
    for key, value in said.items():
        where = f"{place}{key}"
        if value in (None, "", 0, False, [], {}) or DEFAULTS.get(where) == value:
            continue
        if key not in carried:
            yield f"{where} = {_shown(value)}"
        elif carried[key] is not None:
            for entry in value if isinstance(value, list) else [value]:
                yield from _missing(entry, carried[key], f"{where}.")


def _shown(value: Any) -> str:
    text = str(value).replace("\n", " ")
    return text if len(text) <= 80 else text[:79] + "…"
