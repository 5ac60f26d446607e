"""What a service shall be, the engine's JSON for it, and the sentence when it is not."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.lab.secret import Secret
from labkit.swarm.services.compose import Deployed, duration, export
from labkit.swarm.services.spec import (
    CONTENT,
    ConfigFile,
    HealthCheck,
    Logging,
    Mount,
    SecretFile,
    ServiceSpec,
    config_body,
    config_name,
    secret_body,
    secret_name,
    service_body,
)  # fmt: skip

PAGE = ConfigFile("/usr/share/nginx/html/index.html", b"slot {{.Task.Slot}}\n", template=True)
SPEC = ServiceSpec(
    name="nginx",
    image="10.77.0.1:5000/nginx:1",
    replicas=3,
    ports=((8080, 80),),
    env={"B": "2", "A": "1"},
    constraints=("node.role==worker",),
    configs=(PAGE,),
    stop_signal="SIGQUIT",
)


def test_the_body_of_a_service() -> None:
    name = config_name(SPEC, PAGE)
    assert service_body(SPEC, {name: "c1"}) == {
        "Name": "nginx",
        "Labels": {CONTENT: SPEC.digest},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "10.77.0.1:5000/nginx:1",
                "Hostname": "{{.Service.Name}}.{{.Task.Slot}}.{{.Node.Hostname}}",
                "Env": ["A=1", "B=2"],
                "StopSignal": "SIGQUIT",
                "StopGracePeriod": 10_000_000_000,
                "Configs": [
                    {
                        "ConfigID": "c1",
                        "ConfigName": name,
                        "File": {"Name": PAGE.path, "UID": "0", "GID": "0", "Mode": 0o444},
                    }
                ],
            },
            "Resources": {
                "Limits": {"NanoCPUs": 500_000_000, "MemoryBytes": 128 << 20},
                "Reservations": {"MemoryBytes": 32 << 20},
            },
            "RestartPolicy": {"Condition": "any", "Delay": 2_000_000_000},
            "Placement": {"Constraints": ["node.role==worker"]},
        },
        "Mode": {"Replicated": {"Replicas": 3}},
        "UpdateConfig": {
            "Parallelism": 1,
            "Delay": 0,
            "Order": "start-first",
            "FailureAction": "rollback",
            "Monitor": 5_000_000_000,
            "MaxFailureRatio": 0,
        },
        "RollbackConfig": {
            "Parallelism": 1,
            "Delay": 0,
            "Order": "start-first",
            "FailureAction": "pause",
            "Monitor": 5_000_000_000,
            "MaxFailureRatio": 0,
        },
        "EndpointSpec": {
            "Mode": "vip",
            "Ports": [{"Protocol": "tcp", "PublishedPort": 8080, "TargetPort": 80, "PublishMode": "ingress"}],
        },
    }


def test_the_body_of_a_plain_global_service() -> None:
    body = service_body(ServiceSpec(name="n", image="i", replicas=None, command=("a", "b"),
                                    health=HealthCheck(("true",))), {})  # fmt: skip
    assert body["Mode"] == {"Global": {}} and "EndpointSpec" not in body
    assert body["TaskTemplate"]["ContainerSpec"]["Command"] == ["a", "b"]
    assert body["TaskTemplate"]["ContainerSpec"]["Healthcheck"]["Test"] == ["CMD", "true"]


def test_the_body_of_a_config() -> None:
    body = config_body(SPEC, PAGE)
    assert base64.b64decode(body["Data"]) == PAGE.content
    assert body["Templating"] == {"Name": "golang"} and body["Labels"] == {"labkit.service": "nginx"}
    assert body["Name"] == f"nginx-index.html-{PAGE.digest}"
    assert "Templating" not in config_body(SPEC, replace(PAGE, template=False))


@settings(max_examples=60, deadline=None)
@given(st.text("abc-/", max_size=99), st.text("abc-", min_size=1, max_size=63), st.binary(max_size=9), st.booleans())
def test_configs_have_names_swarm_takes_and_another_name_for_another_content(
    path: str, service: str, content: bytes, template: bool
) -> None:
    spec = ServiceSpec(name=service, image="i")
    file = ConfigFile("/" + path, content, template)
    assert 0 < len(config_name(spec, file)) <= 64
    assert config_name(spec, file) == config_name(spec, replace(file))
    for other in (replace(file, content=content + b"x"), replace(file, template=not template)):
        assert config_name(spec, other) != config_name(spec, file)


def test_what_is_not_said_is_left_to_the_image_and_the_engine() -> None:
    body = service_body(ServiceSpec(name="any", image="any:1"), {})
    assert "StopSignal" not in body["TaskTemplate"]["ContainerSpec"]
    assert not {"Networks", "LogDriver"} & body["TaskTemplate"].keys()


def test_networks_and_the_log_of_a_service() -> None:
    spec = ServiceSpec(name="any", image="any:1", networks=("front", "back"), logging=Logging("syslog", {"tag": "x"}))
    task = service_body(spec, {})["TaskTemplate"]
    assert task["Networks"] == [{"Target": "front"}, {"Target": "back"}]
    assert task["LogDriver"] == {"Name": "syslog", "Options": {"tag": "x"}}


def test_every_word_of_a_specification_counts() -> None:
    changes: list[dict[str, Any]] = [
        {"image": "other"}, {"replicas": 2}, {"replicas": None}, {"ports": ()}, {"publish": "host"},
        {"command": ("x",)}, {"env": {"A": "1"}}, {"constraints": ()}, {"configs": ()},
        {"configs": (replace(PAGE, content=b"new"),)}, {"hostname": "h"}, {"cpus": 1.0}, {"memory_mib": 64},
        {"reserved_mib": 1}, {"health": HealthCheck(("true",))}, {"stop_signal": "SIGTERM"}, {"stop_grace_s": 1.0},
        {"stop_signal": ""}, {"networks": ("back",)}, {"logging": Logging("syslog")},
        {"spread": ("node.labels.chassis",)}, {"mounts": (Mount("/data", source="d"),)},
        {"secrets": (KEY,)}, {"secrets": (replace(KEY, content=Secret("other")),)},
        {"secrets": (replace(KEY, mode=0),)},
        {"update": replace(SPEC.update, order="stop-first")}, {"rollback": replace(SPEC.rollback, parallelism=2)},
    ]  # fmt: skip
    digests = {replace(SPEC, **change).digest for change in changes}
    assert len(digests) == len(changes) and SPEC.digest not in digests
    assert replace(SPEC, env={"A": "1", "B": "2"}).digest == SPEC.digest


KEY = SecretFile("/run/secrets/key", Secret("open sesame"))


def test_a_secret_is_in_no_name_and_no_specification() -> None:
    spec = replace(SPEC, secrets=(KEY,), spread=("node.labels.chassis",), mounts=(NFS, Mount("/tmp", "tmpfs")))
    name = secret_name(spec, KEY)
    assert name.startswith("nginx-key-") and len(name) == 26
    assert name != secret_name(replace(spec, name="other"), KEY).replace("other", "nginx")  # salted by the service
    template = service_body(spec, {config_name(spec, file): "c" for file in spec.configs}, {name: "s1"})["TaskTemplate"]
    assert template["ContainerSpec"]["Secrets"] == [
        {"SecretID": "s1", "SecretName": name,
         "File": {"Name": "/run/secrets/key", "UID": "0", "GID": "0", "Mode": 0o400}}]  # fmt: skip
    assert template["ContainerSpec"]["Mounts"] == [
        {"Type": "volume", "Source": "pages", "Target": "/www", "ReadOnly": True, "VolumeOptions": {
            "NoCopy": True, "DriverConfig": {
                "Name": "local", "Options": {"type": "nfs", "o": "addr=10.77.0.1,vers=4.2", "device": ":/pages"}}}},
        {"Type": "tmpfs", "Target": "/tmp", "ReadOnly": False},
    ]  # fmt: skip
    assert template["Placement"]["Preferences"] == [{"Spread": {"SpreadDescriptor": "node.labels.chassis"}}]
    assert "sesame" not in repr(spec) + repr(template)
    assert base64.b64decode(secret_body(spec, KEY)["Data"]) == b"open sesame"


NFS = Mount("/www", source="pages", read_only=True,
            driver_options={"type": "nfs", "o": "addr=10.77.0.1,vers=4.2", "device": ":/pages"})  # fmt: skip


# --- taking it along


def deployed(spec: ServiceSpec) -> Deployed:
    ids = {config_name(spec, file): "c" for file in spec.configs}
    body = service_body(spec, ids, {secret_name(spec, file): "s" for file in spec.secrets})
    return Deployed(body, {config_name(spec, file): config_body(spec, file) for file in spec.configs})


def test_a_service_as_a_compose_file() -> None:
    spec = ServiceSpec(
        stop_signal="SIGQUIT",
        name="web", image="10.77.0.1:5000/nginx:labkit", replicas=2, ports=((8080, 80),), env={"PRICE": "5$"},
        constraints=("node.role==worker",), spread=("node.labels.chassis",), configs=(PAGE,), secrets=(KEY,),
        mounts=(NFS,), health=HealthCheck(("test", "-e", "/x"), every_s=1.5),
    )  # fmt: skip
    files = export(deployed(spec))
    page = config_name(spec, PAGE)
    assert files[page] == PAGE.content and set(files) == {"docker-compose.yml", page}
    whole = yaml.safe_load(files["docker-compose.yml"])
    web = whole["services"]["web"]
    assert whole["version"] == "3.8" and whole["secrets"] == {secret_name(spec, KEY): {"external": True}}
    assert whole["configs"][page] == {"file": f"./{page}", **({"template_driver": "golang"} if PAGE.template else {})}
    assert {"nocopy": True} in [volume.get("volume") for volume in web["volumes"]]
    assert whole["volumes"] == {
        "pages": {
            "name": "pages",
            "driver": "local",
            "driver_opts": dict(NFS.driver_options),
        }  # and no stack's before it
    }
    assert not files["docker-compose.yml"].startswith(b"#")
    assert web["environment"] == ["PRICE=5$$"] and web["stop_signal"] == "SIGQUIT" and web["stop_grace_period"] == "10s"
    assert web["healthcheck"] == {
        "test": ["CMD", "test", "-e", "/x"],
        "retries": 3,
        "interval": "1500ms",
        "timeout": "30s",
        "start_period": "60s",
    }
    assert web["ports"] == [{"target": 80, "published": 8080, "protocol": "tcp", "mode": "ingress"}]
    deploy = web["deploy"]
    assert (deploy["mode"], deploy["replicas"]) == ("replicated", 2)
    assert deploy["placement"] == {
        "constraints": ["node.role==worker"],
        "preferences": [{"spread": "node.labels.chassis"}],
    }
    assert deploy["resources"] == {
        "limits": {"cpus": "0.5", "memory": f"{128 << 20}b"},
        "reservations": {"memory": f"{32 << 20}b"},
    }
    assert deploy["update_config"] == {
        "parallelism": 1,
        "delay": "0s",
        "order": "start-first",
        "failure_action": "rollback",
        "monitor": "5s",
        "max_failure_ratio": 0,
    }
    assert deploy["rollback_config"]["failure_action"] == "pause"
    everywhere = yaml.safe_load(
        export(deployed(ServiceSpec(name="all", image="i", replicas=None)))["docker-compose.yml"]
    )
    assert everywhere["services"]["all"]["deploy"]["mode"] == "global"
    assert set(everywhere) == {"version", "services"}


@pytest.mark.parametrize(
    ("nanoseconds", "said"), [(None, None), (0, "0s"), (1, "1ns"), (1_500_000, "1500us"), (90_000_000_000, "90s")]
)
def test_compose_writes_lengths_of_time_exactly(nanoseconds: int | None, said: str | None) -> None:
    assert duration(nanoseconds) == said
