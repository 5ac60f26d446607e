"""Images, services and answers, on real engines with real containers.

Ports are published in host mode here: the routing mesh needs ip_vs, which the blades' kernel has and this machine's
may not have.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import docker
import docker.errors
import pytest

from labkit.errors import SwarmError
from labkit.lab.secret import Secret
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.services.compose import export
from labkit.swarm.services.compose_gaps import left_out
from labkit.swarm.services.deploy import ensure_service, look, read, remove_service, roll_back, watch
from labkit.swarm.services.health import ServiceState
from labkit.swarm.services.spec import ConfigFile, HealthCheck, Mount, SecretFile, ServiceSpec
from tests.rig.fleet import Fleet, until
from tests.swarm.services.conftest import asked, refused

pytestmark = pytest.mark.engine


def test_a_service_runs_and_says_who_answers(swarm: Fleet, spec: ServiceSpec) -> None:
    shown: list[ServiceState] = []
    with engine(swarm.controller.sock) as client:
        assert ensure_service(client, spec).action == "created"
        state = watch(client, "web", 60, progress=shown.append)
        assert ensure_service(client, replace(spec)).action == "found"
    assert state.converged and (state.running, state.wanted) == (3, 3)
    assert sorted(state.places.values()) == ["blade1", "blade2", "blade3"]  # and not the drained controller
    assert [one.running for one in shown] == sorted(one.running for one in shown) and shown[-1] == state
    answers = asked(swarm)
    assert [(answer.blade, answer.status, answer.ok) for answer in answers] == [
        (f"blade{n}", 200, True) for n in (1, 2, 3)
    ]
    for answer in answers:
        name, slot, host = answer.replica.split(".")
        assert (name, host) == ("web", answer.blade)
        assert state.places[f"web.{slot}"] == answer.blade
        assert answer.body == f"slot {slot} of web\n"
        assert 0 < answer.ms < 5000


def test_an_update_changes_the_page_in_place(swarm: Fleet, spec: ServiceSpec) -> None:
    fresh = replace(spec, configs=(ConfigFile("/www/page", b"new\n"),))
    with engine(swarm.controller.sock) as client:
        ensure_service(client, spec)
        before = watch(client, "web", 60)
        assert ensure_service(client, fresh).action == "updated"
        after = watch(client, "web", 60)
        assert after.id == before.id and after.update == "completed"
        assert {answer.body for answer in asked(swarm)} == {"new\n"}
        assert len(api(client).configs()) == 2  # the old page stays for a roll-back
        assert ensure_service(client, replace(fresh, replicas=2)).action == "updated"
        assert watch(client, "web", 60).running == 2
        assert len(api(client).configs()) == 1
        assert sorted(answer.status for answer in asked(swarm)) == [0, 200, 200]
        assert remove_service(client, "web") and not remove_service(client, "web")
        assert api(client).configs() == [] and api(client).services() == []
    assert {(answer.status, answer.error) for answer in asked(swarm)} == {(0, "Connection refused")}


def test_a_service_is_taken_back_by_hand(swarm: Fleet, spec: ServiceSpec) -> None:
    with engine(swarm.controller.sock) as client:
        ensure_service(client, spec)
        first = watch(client, "web", 60)
        with pytest.raises(SwarmError, match="'web' has nothing to go back to"):
            roll_back(client, "web")
        wanted = ensure_service(client, replace(spec, configs=(ConfigFile("/www/page", b"new\n"),))).asked
        assert watch(client, "web", 60, asked=wanted).content != first.content
        state = roll_back(client, "web")
        assert state.asked == first.content
        assert watch(client, "web", 90, asked=state.asked).update == "rollback_completed"
        assert {answer.body for answer in asked(swarm)} == {f"slot {n} of web\n" for n in (1, 2, 3)}
        assert watch(client, "web", 10).running == 3  # and whoever asks later finds it well


def test_one_on_each_node(swarm: Fleet, spec: ServiceSpec) -> None:
    with engine(swarm.controller.sock) as client:
        ensure_service(client, replace(spec, replicas=None, ports=()))
        state = watch(client, "web", 60)
    assert (state.running, state.wanted) == (3, 3)
    assert set(state.places) == {"web.blade1", "web.blade2", "web.blade3"}


def test_a_secret_is_seen_by_the_replicas_only(swarm: Fleet, spec: ServiceSpec) -> None:
    key = SecretFile("/www/page", Secret("open sesame"), mode=0o444)
    spec = replace(spec, configs=(), secrets=(key,), spread=("node.labels.chassis",))
    with engine(swarm.controller.sock) as client:
        ensure_service(client, spec)
        watch(client, "web", 60)
        assert {answer.body for answer in asked(swarm)} == {"open sesame"}
        assert ensure_service(client, spec).action == "found"
        assert remove_service(client, "web") and api(client).secrets() == []


def test_a_service_is_taken_along_as_a_stack(swarm: Fleet, spec: ServiceSpec, tree: Path, tmp_path: Path) -> None:
    """What `export` writes, the real ``docker stack deploy`` reads, and the engine then has the same again."""
    check = HealthCheck(("test", "-e", "/www/page"), every_s=1)
    spec = replace(
        spec, env={"PRICE": "5$"}, health=check, mounts=(Mount("/scratch", "tmpfs"), Mount("/data", source="data"))
    )
    with engine(swarm.controller.sock) as client:
        ensure_service(client, spec)
        watch(client, "web", 60)
        first = read(client, "web")
        for name, content in export(first).items():
            (tmp_path / name).write_bytes(content)
        remove_service(client, "web")
        done = subprocess.run(
            [tree / "usr/bin/docker", "stack", "deploy", "--compose-file", tmp_path / "docker-compose.yml", "mine"],
            env={"DOCKER_HOST": f"unix://{swarm.controller.sock}", "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        try:
            assert watch(client, "mine_web", 90).running == 3
            assert [answer.status for answer in asked(swarm)] == [200, 200, 200]
            second = read(client, "mine_web").spec
        finally:
            remove_service(client, "mine_web")
            api(client).remove_network("mine_default")
            for raw in api(client).configs():
                api(client).remove_config(raw["ID"])
    for key in ("Mode", "UpdateConfig", "RollbackConfig", "EndpointSpec"):
        assert second[key] == first.spec[key]
    ours, theirs = first.spec["TaskTemplate"], second["TaskTemplate"]
    for key in ("Resources", "RestartPolicy"):
        assert theirs[key] == ours[key]
    for key in ("Hostname", "Env", "StopSignal", "StopGracePeriod", "Healthcheck"):
        assert theirs["ContainerSpec"].get(key) == ours["ContainerSpec"].get(key)
    assert theirs["ContainerSpec"]["Image"].startswith(ours["ContainerSpec"]["Image"])  # with its digest


def test_all_that_a_compose_file_can_say_is_taken_along(swarm: Fleet, web: str, tree: Path, tmp_path: Path) -> None:
    """A service as somebody else made it, with what labkit's own have not; the volume is the same one afterwards."""
    container = {
        "Image": web, "User": "0:0", "Dir": "/www", "TTY": True, "ReadOnly": True, "Init": True,
        "CapabilityAdd": ["CAP_NET_ADMIN"], "CapabilityDrop": ["CAP_CHOWN"], "Sysctls": {"net.core.somaxconn": "512"},
        "Ulimits": [{"Name": "nofile", "Soft": 1000, "Hard": 2000}], "Hosts": ["10.1.2.3 db"],
        "DNSConfig": {"Nameservers": ["10.1.2.4"], "Search": ["lab"]}, "Labels": {"tier": "back"},
        "Mounts": [{"Type": "volume", "Source": "data", "Target": "/data"},
                   {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 1 << 20}}],
    }  # fmt: skip
    with engine(swarm.controller.sock) as client:
        network = api(client).create_network("back", driver="overlay")["Id"]
        template = {
            "ContainerSpec": container, "Networks": [{"Target": network, "Aliases": ["who"]}],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
            "Resources": {"Limits": {"Pids": 50}}, "Placement": {"MaxReplicas": 1},
            "RestartPolicy": {"Condition": "on-failure", "MaxAttempts": 3},
        }  # fmt: skip
        try:
            api(client).create_service(template, name="back", endpoint_spec={"Mode": "dnsrr"})
            first = read(client, "back")
            assert left_out(first.spec) == ()
            (tmp_path / "docker-compose.yml").write_bytes(export(first)["docker-compose.yml"])
            remove_service(client, "back")
            env = {"DOCKER_HOST": f"unix://{swarm.controller.sock}", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
            words = [
                str(tree / "usr/bin/docker"),
                "stack",
                "deploy",
                "-c",
                str(tmp_path / "docker-compose.yml"),
                "mine",
            ]
            done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            second = read(client, "mine_back").spec
        finally:
            for name in ("back", "mine_back"):
                remove_service(client, name)
            until(lambda: _removed(client, network))
    assert second["EndpointSpec"]["Mode"] == "dnsrr"
    theirs, ours = second["TaskTemplate"], first.spec["TaskTemplate"]
    assert theirs["Networks"][0]["Target"] == network and "who" in theirs["Networks"][0]["Aliases"]
    assert theirs["LogDriver"] == ours["LogDriver"] and theirs["Resources"]["Limits"]["Pids"] == 50
    assert theirs["Placement"]["MaxReplicas"] == 1 and theirs["RestartPolicy"]["MaxAttempts"] == 3
    for key in ("User", "Dir", "TTY", "ReadOnly", "Init", "CapabilityAdd", "CapabilityDrop", "Sysctls", "Ulimits",
                "Hosts", "DNSConfig"):  # fmt: skip
        assert theirs["ContainerSpec"][key] == ours["ContainerSpec"][key], key
    assert theirs["ContainerSpec"]["Labels"]["tier"] == "back"
    assert {mount["Target"]: mount.get("Source") for mount in theirs["ContainerSpec"]["Mounts"]} == {
        "/data": "data", "/tmp": None}  # fmt: skip


def _removed(client: docker.DockerClient, network: str) -> bool:
    """A network goes once the last task in it has."""
    try:
        api(client).remove_network(network)
    except docker.errors.APIError:
        return False
    return True


def test_a_volume_with_other_options_is_told(swarm: Fleet, spec: ServiceSpec) -> None:
    with engine(swarm.controller.sock) as client:
        ensure_service(client, replace(spec, mounts=(Mount("/data", source="data"),)))
        before = watch(client, "web", 60)
        shared = Mount("/data", source="data", driver_options={"type": "tmpfs", "device": "tmpfs"})
        with pytest.raises(SwarmError, match=r"volume 'data' of service 'web' has other options \(local\)"):
            ensure_service(client, replace(spec, mounts=(shared,)))
        assert look(client, "web").content == before.content
        assert ensure_service(client, replace(spec, mounts=(replace(shared, source="data-2"),))).action == "updated"


def test_no_such_service(swarm: Fleet) -> None:
    with engine(swarm.controller.sock) as client, pytest.raises(SwarmError, match="no service 'web' on this swarm"):
        look(client, "web")


def test_the_controller_takes_no_tasks(swarm: Fleet, spec: ServiceSpec) -> None:
    with engine(swarm.controller.sock) as client:
        for node in cluster.nodes(client):
            cluster.drain(client, node.id)
        assert "no suitable node" in refused(swarm, spec, 2)
