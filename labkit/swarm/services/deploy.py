"""Services on the swarm: put there, watched until they run, and removed.

Every function takes a client of a manager's engine (`labkit.swarm.engine.connect`) and raises SwarmError. What a
service shall be is a `ServiceSpec` (`labkit.swarm.services.spec`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine_errors
from labkit.swarm.node import read_task
from labkit.swarm.services.compose import Deployed
from labkit.swarm.services.failure_reasons import crashed, failure
from labkit.swarm.services.health import ServiceState, judge_service
from labkit.swarm.services.pinned_image import pin
from labkit.swarm.services.replica_failures import Deaths
from labkit.swarm.services.spec import (
    CONTENT,
    OWNER,
    ServiceSpec,
    config_body,
    config_name,
    endpoint_body,
    mesh_ports,
    secret_body,
    secret_name,
    service_body,
)  # fmt: skip

SETTLE_S = 2.0
"""How long all replicas must have been running before a service counts as converged: one that dies at once does not."""


def ensure_service(client: docker.DockerClient, spec: ServiceSpec) -> ServiceState:
    """Make the service be what ``spec`` says: create it, update it, or leave it when it says the same already.

    One whose ports in the mesh change is removed and created anew. Updated in place, old and new replicas share a
    virtual address for a while, and when the last old one goes the engines take the new port's rules away with the old
    one's: all replicas run, and no node answers (https://github.com/moby/moby/issues/41364).

    The image is named by its digest (`labkit.swarm.services.pinned_image`), so one that was rebuilt under the same tag
    is a change.

    Returns at once, with ``action`` saying which; `watch` waits until it runs. Raises ParameterError for what no engine
    should be asked for (`ServiceSpec.check`), SwarmError, for example when another service publishes the same port.
    """
    spec.check()
    with engine_errors():
        raw = _find(client, spec.name)
        spec = pin(client, spec, raw)
        if raw is not None and (raw["Spec"].get("Labels") or {}).get(CONTENT) == spec.digest:
            return _state(client, raw, "found", spec.digest)
        refuse_changed_volumes(spec, api(client).services())
        action = "created" if raw is None else "updated"
        if raw is not None and mesh_ports(raw["Spec"].get("EndpointSpec")) != mesh_ports(endpoint_body(spec)):
            _refuse_taken(client, spec)
            remove_service(client, spec.name)
            raw = None
        body = service_body(spec, _ensure_configs(client, spec), _ensure_secrets(client, spec))
        if raw is None:
            api(client).create_service(**_fields(body))
        else:
            api(client).update_service(raw["ID"], raw["Version"]["Index"], **_fields(body))
        raw = api(client).inspect_service(spec.name)
        _prune_files(client, raw)
        return _state(client, raw, action, spec.digest)


def look(client: docker.DockerClient, name: str, *, asked: str = "") -> ServiceState:
    """How a service is doing now; ``asked`` is the digest of what it is wanted to be.

    Raises SwarmError when there is none of that name.
    """
    with engine_errors():
        raw = _find(client, name)
        if raw is None:
            raise SwarmError(f"no service '{name}' on this swarm", fix="deploy it first")
        return _state(client, raw, "", asked)


def read(client: docker.DockerClient, name: str) -> Deployed:
    """What a service says of itself, with its configs' content. Raises SwarmError when there is none of that name."""
    with engine_errors():
        raw = _find(client, name)
        if raw is None:
            raise SwarmError(f"no service '{name}' on this swarm", fix="deploy it first")
        files = raw["Spec"]["TaskTemplate"]["ContainerSpec"].get("Configs") or ()
        configs = {file["ConfigName"]: api(client).inspect_config(file["ConfigID"])["Spec"] for file in files}
        attached = raw["Spec"]["TaskTemplate"].get("Networks") or raw["Spec"].get("Networks") or ()
        networks = {one["Target"]: str(api(client).inspect_network(one["Target"])["Name"]) for one in attached}
    return Deployed(raw["Spec"], configs, networks)


def watch(
    client: docker.DockerClient,
    name: str,
    timeout_s: float,
    *,
    progress: Callable[[ServiceState], None] | None = None,
    every_s: float = 0.5,
    settle_s: float = SETTLE_S,
    asked: str = "",
    check: Callable[[], None] = lambda: None,
) -> ServiceState:
    """Wait until a service has converged and stayed so for ``settle_s``; ``progress`` gets each new state.

    ``asked`` is the digest of what it is wanted to be (`ServiceState.asked` of the state that `ensure_service` and
    `roll_back` return), else what it is to be at the first look. ``check`` is called before each look and may raise:
    what the service depends on besides the swarm.

    Raises SwarmError with the reason when it does not within ``timeout_s``, or as soon as that is known: swarm gives up
    an update, or replicas die in the same way again and again (`labkit.swarm.services.replica_failures`).
    """
    deadline = time.monotonic() + timeout_s
    since, shown, deaths = None, None, Deaths()
    while True:
        check()
        state, now = look(client, name, asked=asked), time.monotonic()
        asked, crash = state.asked, deaths.take(state.deaths)
        if state != shown and progress is not None:
            progress(state)
        shown = state
        since = (now if since is None else since) if state.converged else None
        if since is not None and now - since >= settle_s:
            return state
        late = now >= deadline and since is None
        if state.given_up or (late and state.failed):
            raise failure(client, state, f"service '{name}' was not updated: {state.reason}", deaths.latest)
        if crash is not None and since is None:
            raise failure(client, state, crashed(state, crash), crash.latest)
        if late:
            what = f"service '{name}' has {state.running} of {state.wanted} replicas after {timeout_s:g} s"
            raise failure(client, state, f"{what}: {state.reason}", deaths.latest)
        time.sleep(every_s)


def roll_back(client: docker.DockerClient, name: str) -> ServiceState:
    """Take a service back to what it was before its last update; `watch` it with the state's ``asked``.

    Raises SwarmError when there is nothing to go back to.
    """
    with engine_errors():
        raw = _find(client, name)
        if raw is None or "PreviousSpec" not in raw:
            raise SwarmError(f"service '{name}' has nothing to go back to", fix="update it first")
        # The SDK's update_service() knows no rollback; the engine's API does (POST /services/{id}/update).
        url = api(client)._url("/services/{0}/update", raw["ID"])
        params = {"version": raw["Version"]["Index"], "rollback": "previous"}
        api(client)._result(api(client)._post_json(url, data=raw["Spec"], params=params), json=True)
        return _state(client, api(client).inspect_service(name), "rolled back", "")


def remove_service(client: docker.DockerClient, name: str, *, timeout_s: float = 30.0) -> bool:
    """Remove a service with its configs, and wait until its replicas have stopped. False when there was none."""
    with engine_errors():
        raw = _find(client, name)
        if raw is None:
            return False
        api(client).remove_service(raw["ID"])
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and _alive(client, raw["ID"]):
            time.sleep(0.2)
        _remove_files(client, name, keep=frozenset())
        return True


def _find(client: docker.DockerClient, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = api(client).inspect_service(name)
    except docker.errors.NotFound:
        return None
    return found if found["Spec"]["Name"] == name else None  # the engine also takes the start of an id for a name


def _state(client: docker.DockerClient, raw: Mapping[str, Any], action: str, asked: str) -> ServiceState:
    tasks = [read_task(task) for task in api(client).tasks({"service": raw["ID"]})]
    return judge_service(raw, tasks, cluster.nodes(client), action=action, asked=asked)


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a service as the SDK's arguments."""
    return {
        "task_template": body["TaskTemplate"],
        "name": body["Name"],
        "labels": body["Labels"],
        "mode": body["Mode"],
        "update_config": body["UpdateConfig"],
        "rollback_config": body["RollbackConfig"],
        "endpoint_spec": body.get("EndpointSpec"),
    }


def _refuse_taken(client: docker.DockerClient, spec: ServiceSpec) -> None:
    """Raise SwarmError, as the engine would, while the service that is to make way still runs."""
    wanted = {port for port, _ in spec.ports}
    for other in api(client).services():
        for port in (other["Spec"].get("EndpointSpec") or {}).get("Ports") or ():
            if other["Spec"]["Name"] != spec.name and port.get("PublishedPort") in wanted:
                what = f"port '{port['PublishedPort']}' is already in use by service '{other['Spec']['Name']}'"
                raise SwarmError(what, fix="take another port, or remove that service")


def refuse_changed_volumes(spec: ServiceSpec, services: Sequence[Mapping[str, Any]]) -> None:
    """Raise SwarmError when a volume of the spec is on the swarm with other options.

    An engine that has a volume of a name keeps it, and says nothing of other options (``docker volume create``), so
    that a replica would go on with the data of before, or with none, depending on where it runs.
    """
    volumes = [mount for mount in spec.mounts if mount.kind == "volume" and mount.source]
    wanted = {mount.source: volume_options(mount.body()) for mount in volumes}
    for raw in services:
        for name, mount in named_volumes(raw):
            if name in wanted and volume_options(mount) != wanted[name]:
                now, shall = _in_words(volume_options(mount)), _in_words(wanted[name])
                what = (
                    f"volume '{name}' of service '{raw['Spec']['Name']}' has other options ({now}) than it shall have"
                )
                fix = f"give the volume another name, such as {name}-2; what is in the old one stays there"
                raise SwarmError(f"{what} ({shall}), and nodes that have it would keep the old ones", fix=fix)


def named_volumes(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The volumes of a service that have a name, as the engine tells of the service (``GET /services``)."""
    for mount in raw["Spec"]["TaskTemplate"].get("ContainerSpec", {}).get("Mounts") or ():
        if mount["Type"] == "volume" and mount.get("Source"):
            yield str(mount["Source"]), mount


def volume_options(mount: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    """What a volume is made with: its driver, and the driver's options."""
    driver = (mount.get("VolumeOptions") or {}).get("DriverConfig") or {}
    return driver.get("Name") or "local", dict(driver.get("Options") or {})


def _in_words(made: tuple[str, Mapping[str, str]]) -> str:
    driver, options = made
    return ", ".join([driver, *(f"{key}={value}" for key, value in sorted(options.items()))])


def _ensure_configs(client: docker.DockerClient, spec: ServiceSpec) -> dict[str, str]:
    """The ids of the spec's configs by name; those that are not there yet are made."""
    ids = {raw["Spec"]["Name"]: str(raw["ID"]) for raw in api(client).configs()}
    for file in spec.configs:
        name = config_name(spec, file)
        if name not in ids:
            body = config_body(spec, file)
            made = api(client).create_config(name, file.content, body["Labels"], body.get("Templating"))
            ids[name] = str(made["ID"])
    return ids


def _ensure_secrets(client: docker.DockerClient, spec: ServiceSpec) -> dict[str, str]:
    """The ids of the spec's secrets by name; those that are not there yet are made."""
    if not spec.secrets:
        return {}
    ids = {raw["Spec"]["Name"]: str(raw["ID"]) for raw in api(client).secrets()}
    for file in spec.secrets:
        name = secret_name(spec, file)
        if name not in ids:
            body = secret_body(spec, file)
            made = api(client).create_secret(name, file.content.reveal().encode(), body["Labels"])
            ids[name] = str(made["ID"])
    return ids


def _prune_files(client: docker.DockerClient, raw: Mapping[str, Any]) -> None:
    """Remove the service's configs and secrets that neither it nor what it may be rolled back to uses."""
    specs = [raw["Spec"], *([raw["PreviousSpec"]] if "PreviousSpec" in raw else [])]
    containers = [spec["TaskTemplate"]["ContainerSpec"] for spec in specs]
    used = {file["ConfigID"] for container in containers for file in container.get("Configs") or ()}
    used |= {file["SecretID"] for container in containers for file in container.get("Secrets") or ()}
    _remove_files(client, raw["Spec"]["Name"], keep=frozenset(used))


def _remove_files(client: docker.DockerClient, service: str, keep: frozenset[str]) -> None:
    mine = {"label": f"{OWNER}={service}"}
    for raw in api(client).configs(mine):
        if raw["ID"] not in keep:
            api(client).remove_config(raw["ID"])
    for raw in api(client).secrets(filters=mine):
        if raw["ID"] not in keep:
            api(client).remove_secret(raw["ID"])


def _alive(client: docker.DockerClient, service: str) -> bool:
    """Whether replicas of a removed service still run; the engine lists them until they have stopped.

    One on a node that is gone is listed for ever, and not waited for.
    """
    tasks = (read_task(raw) for raw in api(client).tasks())
    ready = {node.id for node in cluster.nodes(client) if node.ready}
    return any(task.service == service and task.node in ready and not task.ended for task in tasks)
