"""`ServiceSpec`: what a service shall be, and the engine's JSON for it.

PURE. The JSON is that of ``POST /services/create`` (Docker Engine API v1.41).
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from labkit.errors import ParameterError
from labkit.lab.secret import Secret
from labkit.swarm.services.ports import check_port

CONTENT = "labkit.content"
"""A service's label: the digest of everything its specification says, to know one that needs no change."""

OWNER = "labkit.service"
"""A config's or secret's label: the service it was made for."""

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class ConfigFile:
    """A file in every replica, kept by the swarm itself: no image to build, no volume to share.

    With ``template`` the engine fills in Go template fields such as ``{{.Task.Slot}}`` or ``{{.Service.Name}}`` for
    each replica. (``{{.Node.Hostname}}`` stays empty in configs; it works in `ServiceSpec.hostname` and ``env``.)
    """

    path: str
    content: bytes
    template: bool = False

    @property
    def digest(self) -> str:
        """16 hexadecimal digits. Configs cannot be changed: another content is another config."""
        return hashlib.sha256(bytes([self.template]) + self.content).hexdigest()[:16]


@dataclass(frozen=True)
class SecretFile:
    """A file in every replica that only the managers keep, encrypted, and that replicas see in memory only."""

    path: str
    content: Secret
    mode: int = 0o400

    def digest(self, service: str) -> str:
        """16 hexadecimal digits, slow to compute: names are seen by many, and must not help to guess a secret."""
        salt = f"labkit {service} {self.path}".encode()
        return hashlib.scrypt(self.content.reveal().encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=8).hex()


@dataclass(frozen=True)
class Mount:
    """A place for data at ``target`` in every replica.

    ``volume``: kept on the replica's node under the name ``source``, or, with ``driver_options`` of Docker's local
    driver, on a server that all nodes mount (``{"type": "nfs", "o": "addr=…", "device": ":/…"}``). ``tmpfs``: memory,
    gone with the replica. ``bind``: the node's own folder ``source``, which is another folder on each node.
    """

    target: str
    kind: Literal["volume", "tmpfs", "bind"] = "volume"
    source: str = ""
    read_only: bool = False
    driver_options: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"Type": self.kind, "Target": self.target, "ReadOnly": self.read_only}
        if self.source:
            body["Source"] = self.source
        if self.driver_options:
            driver = {"Name": "local", "Options": dict(self.driver_options)}
            body["VolumeOptions"] = {
                "DriverConfig": driver,
                "NoCopy": True,
            }  # what is shared is not for an image to fill
        return body


@dataclass(frozen=True)
class UpdatePolicy:
    """How replicas are replaced, on an update and on the way back.

    ``start-first`` starts the new replica before the old one stops, so that the service never has one fewer.
    ``stop-first`` is for replicas that cannot run beside each other, as on a port in host mode; a way back may take a
    minute more then, because swarm waits that long for a predecessor that was never placed and so cannot say that it
    has stopped (swarmkit's ``restart.DelayStart``). ``monitor_s`` is how long a new replica is watched before it
    counts as good.
    """

    parallelism: int = 1
    delay_s: float = 0
    order: Literal["start-first", "stop-first"] = "start-first"
    on_failure: Literal["rollback", "pause", "continue"] = "rollback"
    monitor_s: float = 5

    def body(self) -> dict[str, Any]:
        return {
            "Parallelism": self.parallelism,
            "Delay": int(self.delay_s * _SECOND_NS),
            "Order": self.order,
            "FailureAction": self.on_failure,
            "Monitor": int(self.monitor_s * _SECOND_NS),
            "MaxFailureRatio": 0,
        }


@dataclass(frozen=True)
class HealthCheck:
    """A command that says, by its exit status, whether a replica is well. Until it does so nobody is sent to it.

    The engine starts a process in the container for each question, which is dear on an emulated blade. Asked often and
    given little time, replicas that are well starve each other and are ended for it.
    """

    command: tuple[str, ...]
    every_s: float = 10
    timeout_s: float = 30
    retries: int = 3
    start_s: float = 60


@dataclass(frozen=True)
class Logging:
    """Where a replica's log goes: ``driver`` and its ``options``, as of ``docker service create --log-driver``."""

    driver: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """What a service shall be.

    ``replicas`` None means global: one on each node. ``ports`` are pairs (published, target); published through the
    mesh (``ingress``) each node answers, with ``host`` only those that run a replica. ``constraints`` are swarm's own
    (``node.labels.chassis==chassis1``); replicas are spread evenly over the values of each label in ``spread``
    (``node.labels.chassis``), as far as there are nodes. ``hostname`` is the replicas' host name, with Go template
    fields; a server that names itself by it, as nginx's ``$hostname`` does, says who answered. ``command`` and
    ``stop_signal`` empty mean the image's own. ``networks`` are overlay networks of the swarm, by name, that replicas
    are on besides; ``logging`` is a log driver and its options, None for what the engine does with any log.
    Limits and reservations are for each replica, and fit blades of 2 GiB.
    """

    name: str
    image: str
    replicas: int | None = 1
    ports: tuple[tuple[int, int], ...] = ()
    publish: Literal["ingress", "host"] = "ingress"
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    configs: tuple[ConfigFile, ...] = ()
    secrets: tuple[SecretFile, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hostname: str = "{{.Service.Name}}.{{.Task.Slot}}.{{.Node.Hostname}}"
    cpus: float = 0.5
    memory_mib: int = 128
    reserved_mib: int = 32
    health: HealthCheck | None = None
    stop_signal: str = ""
    stop_grace_s: float = 10
    update: UpdatePolicy = UpdatePolicy()
    rollback: UpdatePolicy = UpdatePolicy(on_failure="pause")
    networks: tuple[str, ...] = ()
    logging: Logging | None = None

    def check(self) -> None:
        """Raise ParameterError for what the engine would take and no node could do.

        A port out of range is such a thing: swarm accepts it, allocates it never, and has given up the old one.
        """
        published = [port for port, _ in self.ports]
        for port in published:
            check_port(port, what=f"the published port of service '{self.name}'")
        for _, target in self.ports:
            check_port(target, {}, what=f"the replicas' own port of service '{self.name}'")
        twice = sorted({port for port in published if published.count(port) > 1})
        if twice:
            raise ParameterError(f"service '{self.name}' publishes port {twice[0]} twice", fix="give one another")
        if self.replicas is not None and (type(self.replicas) is not int or self.replicas < 1):
            what = f"service '{self.name}' cannot have {self.replicas!r} replicas"
            raise ParameterError(what, fix="a number of at least 1, or None for one on each node")

    @property
    def digest(self) -> str:
        """The same for two specifications that say the same."""
        body = dataclasses.asdict(dataclasses.replace(self, secrets=()))
        body["secrets"] = [[file.path, file.mode, secret_name(self, file)] for file in self.secrets]
        text = json.dumps(body, sort_keys=True, default=bytes.hex)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def config_body(spec: ServiceSpec, file: ConfigFile) -> dict[str, Any]:
    """The body of ``POST /configs/create`` for one file of a service."""
    body: dict[str, Any] = {
        "Name": config_name(spec, file),
        "Labels": {OWNER: spec.name},
        "Data": base64.b64encode(file.content).decode(),
    }
    return {**body, "Templating": {"Name": "golang"}} if file.template else body


def secret_body(spec: ServiceSpec, file: SecretFile) -> dict[str, Any]:
    """The body of ``POST /secrets/create`` for one secret of a service; its ``Data`` is the secret."""
    data = base64.b64encode(file.content.reveal().encode()).decode()
    return {"Name": secret_name(spec, file), "Labels": {OWNER: spec.name}, "Data": data}


def secret_name(spec: ServiceSpec, file: SecretFile) -> str:
    """A secret's name: the service's, the file's, and a digest, since a secret cannot be changed either."""
    head = f"{spec.name}-{file.path.rsplit('/', 1)[-1]}"
    return f"{head[:47]}-{file.digest(spec.name)}"


def config_name(spec: ServiceSpec, file: ConfigFile) -> str:
    """A config's name: the service's, the file's, and the digest of its content."""
    head = f"{spec.name}-{file.path.rsplit('/', 1)[-1]}"
    return f"{head[:47]}-{file.digest}"  # 64 characters at most


def service_body(
    spec: ServiceSpec, config_ids: Mapping[str, str], secret_ids: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The body of ``POST /services/create``; the ids are those of the spec's configs and secrets, by name."""
    placement: dict[str, Any] = {"Constraints": list(spec.constraints)}
    if spec.spread:
        placement["Preferences"] = [{"Spread": {"SpreadDescriptor": label}} for label in spec.spread]
    body: dict[str, Any] = {
        "Name": spec.name,
        "Labels": {CONTENT: spec.digest},
        "TaskTemplate": {
            "ContainerSpec": _container(spec, config_ids, secret_ids or {}),
            "Resources": {
                "Limits": {"NanoCPUs": int(spec.cpus * 1e9), "MemoryBytes": spec.memory_mib << 20},
                "Reservations": {"MemoryBytes": spec.reserved_mib << 20},
            },
            "RestartPolicy": {"Condition": "any", "Delay": 2 * _SECOND_NS},
            "Placement": placement,
        },
        "Mode": {"Global": {}} if spec.replicas is None else {"Replicated": {"Replicas": spec.replicas}},
        "UpdateConfig": spec.update.body(),
        "RollbackConfig": spec.rollback.body(),
    }
    if spec.networks:
        body["TaskTemplate"]["Networks"] = [{"Target": name} for name in spec.networks]
    if spec.logging is not None:
        body["TaskTemplate"]["LogDriver"] = {"Name": spec.logging.driver, "Options": dict(spec.logging.options)}
    endpoint = endpoint_body(spec)
    return {**body, "EndpointSpec": endpoint} if endpoint else body


def endpoint_body(spec: ServiceSpec) -> dict[str, Any]:
    """The ``EndpointSpec`` of a service's body; empty where it publishes nothing."""
    ports = [
        {"Protocol": "tcp", "PublishedPort": published, "TargetPort": target, "PublishMode": spec.publish}
        for published, target in spec.ports
    ]
    return {"Mode": "vip", "Ports": ports} if ports else {}


def mesh_ports(endpoint: Mapping[str, Any] | None) -> frozenset[tuple[str, int, int]]:
    """What an ``EndpointSpec`` publishes on every node: protocol, published and target port."""
    return frozenset(
        (str(port["Protocol"]), int(port.get("PublishedPort", 0)), int(port["TargetPort"]))
        for port in (endpoint or {}).get("Ports") or ()
        if port.get("PublishMode", "ingress") == "ingress"
    )


def _container(spec: ServiceSpec, config_ids: Mapping[str, str], secret_ids: Mapping[str, str]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "Image": spec.image,
        "Hostname": spec.hostname,
        "Env": [f"{key}={value}" for key, value in sorted(spec.env.items())],
        "StopGracePeriod": int(spec.stop_grace_s * _SECOND_NS),
        "Configs": [
            {
                "ConfigID": config_ids[config_name(spec, file)],
                "ConfigName": config_name(spec, file),
                "File": {"Name": file.path, "UID": "0", "GID": "0", "Mode": 0o444},
            }
            for file in spec.configs
        ],
    }
    if spec.secrets:
        container["Secrets"] = [
            {
                "SecretID": secret_ids[secret_name(spec, file)],
                "SecretName": secret_name(spec, file),
                "File": {"Name": file.path, "UID": "0", "GID": "0", "Mode": file.mode},
            }
            for file in spec.secrets
        ]
    if spec.mounts:
        container["Mounts"] = [mount.body() for mount in spec.mounts]
    if spec.stop_signal:
        container["StopSignal"] = spec.stop_signal
    if spec.command:
        container["Command"] = list(spec.command)
    if spec.health is not None:
        container["Healthcheck"] = {
            "Test": ["CMD", *spec.health.command],
            "Interval": int(spec.health.every_s * _SECOND_NS),
            "Timeout": int(spec.health.timeout_s * _SECOND_NS),
            "StartPeriod": int(spec.health.start_s * _SECOND_NS),
            "Retries": spec.health.retries,
        }
    return container
