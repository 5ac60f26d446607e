"""What a Compose file carries of a service that somebody else made, and what it names instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from labkit.cli.swarm import verbs
from labkit.errors import SwarmError
from labkit.servers import client
from labkit.swarm.services import deploy
from labkit.swarm.services.compose import Deployed, export
from labkit.swarm.services.compose_gaps import left_out
from labkit.swarm.services.deploy import refuse_changed_volumes
from labkit.swarm.services.spec import Mount, ServiceSpec, service_body

CONTAINER = {
    "Image": "app:1", "Isolation": "default", "User": "33:33", "Dir": "/srv", "TTY": True, "OpenStdin": False,
    "ReadOnly": True, "Init": False, "CapabilityAdd": ["CAP_NET_ADMIN"], "CapabilityDrop": ["CAP_CHOWN"],
    "Sysctls": {"net.core.somaxconn": "512"}, "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
    "Hosts": ["10.1.2.3 db db.lab"], "DNSConfig": {"Nameservers": ["10.1.2.4"], "Search": ["lab"]},
    "Labels": {"tier": "back", "com.docker.stack.namespace": "old"},
    "Mounts": [{"Type": "volume", "Source": "data", "Target": "/data", "VolumeOptions": {"Labels": {"a": "b"}}},
               {"Type": "bind", "Source": "/etc", "Target": "/host", "BindOptions": {"Propagation": "rslave"}},
               {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 1024}}],
}  # fmt: skip
SPEC: dict[str, Any] = {
    "Name": "app", "Labels": {"com.docker.stack.namespace": "old", "mine": "1"},
    "Mode": {"Replicated": {"Replicas": 2}},
    "TaskTemplate": {
        "ContainerSpec": CONTAINER, "Runtime": "container", "ForceUpdate": 3,
        "LogDriver": {"Name": "journald", "Options": {"tag": "x"}},
        "Networks": [{"Target": "n1", "Aliases": ["who"]}, {"Target": "n2"}],
        "Placement": {"MaxReplicas": 1, "Platforms": [{"Architecture": "amd64", "OS": "linux"}]},
        "Resources": {"Limits": {"Pids": 50}, "Reservations": {
            "GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}]}},
        "RestartPolicy": {"Condition": "on-failure", "MaxAttempts": 3, "Window": 5_000_000_000},
    },
    "EndpointSpec": {"Mode": "dnsrr", "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishMode": "host"}]},
}  # fmt: skip


def read(files: dict[str, bytes]) -> dict[str, Any]:
    whole = yaml.safe_load(files["docker-compose.yml"])
    assert isinstance(whole, dict)
    return whole


def test_all_that_a_compose_file_can_say_is_said() -> None:
    whole = read(export(Deployed(SPEC, {}, {"n1": "back"})))
    app = whole["services"]["app"]
    assert whole["version"] == "3.9" and left_out(SPEC) == ()
    assert whole["networks"] == {"back": {"external": True}, "n2": {"external": True}}
    assert app["networks"] == {"back": {"aliases": ["who"]}, "n2": None}
    assert (app["user"], app["working_dir"], app["tty"], app["read_only"], app["init"]) == (
        "33:33", "/srv", True, True, False)  # fmt: skip
    assert (app["cap_add"], app["cap_drop"]) == (["CAP_NET_ADMIN"], ["CAP_CHOWN"])
    assert app["sysctls"] == {"net.core.somaxconn": "512"} and app["ulimits"] == {"nofile": {"soft": 10, "hard": 20}}
    assert app["extra_hosts"] == ["db:10.1.2.3", "db.lab:10.1.2.3"]
    assert (app["dns"], app["dns_search"]) == (["10.1.2.4"], ["lab"])
    assert app["logging"] == {"driver": "journald", "options": {"tag": "x"}}
    assert app["labels"] == {"tier": "back"} and app["deploy"]["labels"] == {"mine": "1"}
    assert app["ports"] == [{"target": 80, "protocol": "tcp", "mode": "host"}]
    assert app["volumes"][1:] == [
        {"type": "bind", "source": "/etc", "target": "/host", "bind": {"propagation": "rslave"}},
        {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 1024}},
    ]
    assert whole["volumes"] == {"data": {"name": "data", "labels": {"a": "b"}}}
    assert app["deploy"]["endpoint_mode"] == "dnsrr" and app["deploy"]["placement"] == {"max_replicas_per_node": 1}
    assert app["deploy"]["restart_policy"] == {"condition": "on-failure", "max_attempts": 3, "window": "5s"}
    assert app["deploy"]["resources"] == {
        "limits": {"pids": 50},
        "reservations": {"generic_resources": [{"discrete_resource_spec": {"kind": "gpu", "value": 2}}]},
    }


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("TaskTemplate.ContainerSpec.Groups", ["adm"]),
        ("TaskTemplate.ContainerSpec.Privileges.NoNewPrivileges", True),
        ("TaskTemplate.ContainerSpec.DNSConfig.Options", ["ndots:2"]),
        ("TaskTemplate.ContainerSpec.Healthcheck.StartInterval", 5),
        ("TaskTemplate.ContainerSpec.Isolation", "hyperv"),
        ("TaskTemplate.ContainerSpec.OomScoreAdj", 5),
        ("TaskTemplate.Runtime", "plugin"),
        ("TaskTemplate.Networks.DriverOpts", {"a": "b"}),
        ("TaskTemplate.Resources.Limits.Swap", 5),
        ("Mode.ReplicatedJob.MaxConcurrent", 2),
        ("What.Comes.Later", "x"),
    ],
)
def test_the_rest_is_named(place: str, value: object) -> None:
    *path, last = place.split(".")
    body: dict[str, Any] = {last: value}
    for key in reversed(path):
        body = {key: [body] if key == "Networks" else body}
    [said] = left_out(body)
    assert place.startswith(said.partition(" = ")[0]) and str(value) in said


def test_a_mounts_own_options_are_named_once() -> None:
    mounts = [
        {"Type": "volume", "VolumeOptions": {"Subpath": "a"}},
        {"Type": "bind", "BindOptions": {"NonRecursive": True}},
    ]
    spec = {"TaskTemplate": {"ContainerSpec": {"Mounts": [*mounts, mounts[0]]}}}
    assert left_out(spec) == (
        "TaskTemplate.ContainerSpec.Mounts.VolumeOptions.Subpath = a",
        "TaskTemplate.ContainerSpec.Mounts.BindOptions.NonRecursive = True",
    )


def test_what_labkit_deploys_is_carried_whole() -> None:
    assert left_out(service_body(ServiceSpec(name="web", image="i", mounts=(Mount("/d", source="d"),)), {})) == ()


def test_export_says_what_is_missing_with_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Engine:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    said = {**SPEC, "TaskTemplate": {**SPEC["TaskTemplate"], "ContainerSpec": {**CONTAINER, "Groups": ["adm"]}}}
    monkeypatch.setattr(client, "connect", lambda *_: SimpleNamespace(engine=Engine))
    options: Any = SimpleNamespace(lab=None, state=None, service="app", folder=tmp_path / "out")
    for spec, status in ((SPEC, 0), (said, 1)):
        monkeypatch.setattr(deploy, "read", lambda *_, spec=spec: Deployed(spec, {}))
        assert verbs.export(options) == status
    words = "TaskTemplate.ContainerSpec.Groups = ['adm']"
    assert capsys.readouterr().err == f"not in the file: {words}\n"
    assert (tmp_path / "out/docker-compose.yml").read_text().startswith(f"# not in this file: {words}\nversion:")


# --- volumes


NFS = Mount("/d", source="d", driver_options={"type": "nfs", "device": ":/a"})


def test_a_volume_with_other_options_is_refused() -> None:
    spec = ServiceSpec(name="web", image="i", mounts=(NFS,))
    there = [{"Spec": service_body(spec, {})}]
    refuse_changed_volumes(spec, there)
    refuse_changed_volumes(replace(spec, mounts=(replace(NFS, target="/e", read_only=True),)), there)
    refuse_changed_volumes(replace(spec, mounts=(Mount("/d", "bind", "d"), Mount("/e"))), there)
    for other in (Mount("/d", source="d"), replace(NFS, driver_options={"type": "nfs", "device": ":/b"})):
        with pytest.raises(
            SwarmError, match=r"volume 'd' of service 'web' has other options \(local, device=:/a, type=nfs\)"
        ):
            refuse_changed_volumes(replace(spec, name="other", mounts=(other,)), there)
