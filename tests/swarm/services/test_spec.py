"""What a service shall be, the engine's JSON for it, and the sentence when it is not."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import ParameterError
from labkit.lab import lab_yaml
from labkit.lab.secret import Secret
from labkit.swarm.node import Node, Task
from labkit.swarm.services.compose import Deployed, duration, export
from labkit.swarm.services.health import ServiceState, explain_task, judge_service
from labkit.swarm.services.ports import check_port, port_beside, taken_ports
from labkit.swarm.services.spec import (
    CONTENT,
    ConfigFile,
    HealthCheck,
    Mount,
    SecretFile,
    ServiceSpec,
    config_body,
    config_name,
    endpoint_body,
    mesh_ports,
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


def test_every_word_of_a_specification_counts() -> None:
    changes: list[dict[str, Any]] = [
        {"image": "other"}, {"replicas": 2}, {"replicas": None}, {"ports": ()}, {"publish": "host"},
        {"command": ("x",)}, {"env": {"A": "1"}}, {"constraints": ()}, {"configs": ()},
        {"configs": (replace(PAGE, content=b"new"),)}, {"hostname": "h"}, {"cpus": 1.0}, {"memory_mib": 64},
        {"reserved_mib": 1}, {"health": HealthCheck(("true",))}, {"stop_signal": "SIGTERM"}, {"stop_grace_s": 1.0},
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
    assert whole["volumes"] == {"pages": {"driver": "local", "driver_opts": dict(NFS.driver_options)}}
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


# --- how it is doing


NODES = [Node(id=f"n{n}", hostname=f"host{n}", blade=f"blade{n}", state="ready") for n in (1, 2, 3)]
CONTAINER: dict[str, Any] = {"Image": "i"}


def task(number: int, state: str = "running", **more: Any) -> Task:
    known = {"service": "s", "slot": number, "node": f"n{number}", "container": CONTAINER, "created": number}
    return Task(**{"id": f"t{number}{state}", "state": state, **known, **more})


def judged(*tasks: Task, replicas: int | None = 2, update: str = "", asked: str = "", down: str = "",
           heard: Sequence[str] = ("blade1", "blade2", "blade3")) -> ServiceState:  # fmt: skip
    mode = {"Global": {}} if replicas is None else {"Replicated": {"Replicas": replicas}}
    raw = {"ID": "s", "Spec": {"Name": "web", "Mode": mode, "TaskTemplate": {"ContainerSpec": CONTAINER}},
           "UpdateStatus": {"State": update}}  # fmt: skip
    nodes = [replace(node, state="down") if node.blade == down else node for node in NODES]
    nodes = [node if node.blade in heard else replace(node, state="unknown") for node in nodes]
    return judge_service(raw, tasks, nodes, action="found", asked=asked)


def test_what_ran_on_a_lost_blade_does_not_run() -> None:
    state = judged(task(1), task(2), down="blade2")
    assert (state.running, state.converged, dict(state.places)) == (1, False, {"web.1": "blade1"})
    assert state.reason == "blade2 is down: what ran there is to start elsewhere"


def test_a_new_leader_does_not_know_yet_who_is_there() -> None:
    state = judged(task(1), task(2), heard=("blade1",))
    assert (state.running, state.converged, dict(state.places)) == (1, False, {"web.1": "blade1"})
    assert state.reason == "the swarm has not heard of blade2 yet, which may run what it ran before"


def test_all_replicas_run() -> None:
    state = judged(task(1), task(2), task(3, "shutdown", desired="shutdown"))
    assert state.converged and state.reason == "" and state.action == "found"
    assert str(state) == "web: 2 of 2 running (web.1 on blade1, web.2 on blade2)"
    assert judged(task(1, slot=0), task(3, slot=0), replicas=None).places == {
        "web.blade1": "blade1",
        "web.blade3": "blade3",
    }


def test_a_global_service_is_not_whole_while_a_dead_replica_waits_for_its_next_start() -> None:
    dead = task(2, "failed", slot=0, desired="shutdown", error="task: non-zero exit (1)")
    heir = task(2, "ready", slot=0, desired="ready", created=9)
    state = judged(task(1, slot=0), dead, heir, task(3, slot=0), replicas=None)
    assert (state.running, state.wanted, state.converged) == (2, 3, False)
    assert state.reason == "the replica on blade2 ended with status 1: the program's own error"


def test_replicas_of_the_specification_before_do_not_count() -> None:
    old = {"Image": "old"}
    state = judged(task(1), task(2, container=old), task(2, "preparing"), update="updating")
    assert (state.running, state.converged, state.reason) == (1, False, "fetching the image on blade2")
    state = judged(task(1), task(2), update="updating")
    assert not state.converged and state.reason == "the update is under way"


def test_nobody_to_run_it() -> None:
    state = judged(replicas=None)
    assert not state.converged and state.reason == "no node is there to run it"
    assert not judged(replicas=0).converged


def test_an_old_failure_explains_nothing() -> None:
    failed = task(1, "failed", desired="shutdown", error="task: non-zero exit (1)", container={"Image": "old"})
    assert judged(failed, task(1, "starting"), task(2)).reason == "starting on blade1"
    assert judged(failed, task(1), task(2)).reason == ""
    assert judged(failed, task(1), task(2), update="rollback_completed", asked="another").reason == (
        "swarm gave up the update and took it back: the replica on blade1 ended with status 1: the program's own error"
    )


def test_an_update_on_its_way_back_says_why_and_what_it_waits_for() -> None:
    bad = task(1, "failed", desired="shutdown", error="task: non-zero exit (4)", container={"Image": "bad"})
    heir = task(2, "ready", desired="ready", created=9)
    old = task(2, desired="shutdown", node="n3")
    back = judged(bad, task(1), heir, old, update="rollback_started", asked="another")
    assert back.failed and not back.given_up and not back.converged
    assert back.reason == (
        "swarm gave up the update and is taking it back: the replica on blade1 ended with status 4: the program's own "
        "error; now waiting on blade2 for its predecessor to stop on blade3"
    )
    assert not judged(task(1), heir, update="updating").failed


def test_a_service_that_was_taken_back_on_purpose_is_well() -> None:
    """Once it is what somebody wants, a later loss of a replica is no failed update either."""
    lost = task(2, "failed", desired="shutdown", error="task: non-zero exit (137)", created=5)
    well = judged(task(1), task(2), update="rollback_completed")
    assert well.converged and not well.failed and well.reason == ""
    hurt = judged(task(1), lost, task(2, "starting", created=6), update="rollback_completed")
    assert not hurt.converged and not hurt.failed
    assert hurt.reason.startswith("the replica on blade2 ended with status 137")
    assert not judged(task(1), task(2, "starting"), update="rollback_started").failed
    assert judged(task(1), task(2), update="paused").given_up
    unwanted = judged(task(1), task(2), update="rollback_completed", asked="another")
    assert unwanted.given_up and not unwanted.converged


def test_what_a_replica_that_is_ready_waits_for() -> None:
    heir = task(2, "ready", desired="ready", created=9)
    running = task(2, desired="shutdown", node="n3")
    assert judged(task(1), heir, running).reason == "waiting on blade2 for its predecessor to stop on blade3"
    unplaced = task(2, "pending", desired="shutdown", node="", created=8)
    assert judged(task(1), heir, running, unplaced).reason == (
        "waiting on blade2 for a predecessor that was never placed: swarm gives that up after a minute"
    )
    ended = task(2, "failed", desired="shutdown", container={"Image": "old"})
    assert judged(task(1), heir, ended, task(3, desired="shutdown")).reason == "waiting for its start on blade2"
    everywhere = replace(heir, slot=0), task(2, desired="shutdown", slot=0), task(3, desired="shutdown", slot=0)
    assert judged(*everywhere, replicas=None).reason == "waiting on blade2 for its predecessor to stop on blade2"


def test_the_newest_failure_counts() -> None:
    first = task(1, "rejected", desired="shutdown", error="No such image: i", created=1)
    last = replace(first, id="t9", state="failed", error="task: non-zero exit (2)", created=9)
    assert judged(last, first, task(1, "pending", node="")).reason == (
        "the replica on blade1 ended with status 2: the program's own error"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("No such image: i", "image missing: blade1 could not fetch 10.77.0.1:5000/i:1 from its registry"),
        ('invalid mount config for type "bind": bind source path does not exist: /srv/page',
         "no folder to bind: blade1 has no /srv/page; a bind is each node's own folder"),
        ("error while mounting volume '/var/lib/docker/volumes/pages/_data': failed to mount local volume: "
         "mount :/share:/var/lib/docker/volumes/pages/_data, data: addr=10.77.0.1,nfsvers=4.1: connection refused",
         "volume not mounted: blade1 could not mount :/share: connection refused"),
        ("no suitable node (host-mode port already in use on 1 node)",
         "port taken: another service publishes it on 1 node"),
        ("no suitable node (insufficient resources on 2 nodes)",
         "no suitable node: insufficient resources on 2 nodes"),
        ("no suitable node", "no suitable node: none is Ready and active"),
        ("driver failed: Bind for 0.0.0.0:80 failed: port is already allocated",
         "port taken: another program uses it on blade1"),
        ("task: non-zero exit (137): dockerexec: unhealthy container",
         "unhealthy: the replica on blade1 did not pass its health check"),
        ("task: non-zero exit (137)",
         "the replica on blade1 ended with status 137: killed (signal 9): it needs more memory than its limit, or was "
         "killed by somebody"),
        ("", "the replica on blade1 ended by itself"),
        ("something new", "something new on blade1"),
    ],
)  # fmt: skip
def test_the_engine_is_put_into_words(error: str, said: str) -> None:
    assert explain_task(task(1, "failed", error=error), "10.77.0.1:5000/i:1", "blade1") == said


@pytest.mark.parametrize("image", ["nginx", "nginx:1.25", "library/nginx"])
def test_an_image_of_docker_hub_says_so(image: str) -> None:
    assert "could not fetch " + image + " from Docker Hub: that needs internet" in explain_task(
        task(1, "rejected", error="No such image: nginx"), image, "blade1"
    )


def test_a_replica_that_stopped_in_order_because_it_was_sick() -> None:
    sick = task(1, "complete", container={"Image": "i", "Healthcheck": {"Test": ["CMD", "false"]}})
    assert explain_task(sick, "i", "blade1").startswith("unhealthy: the replica on blade1 did not pass")


# --- what no engine is asked for --------------------------------------------------------------------------------------

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
