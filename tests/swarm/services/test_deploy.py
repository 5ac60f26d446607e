"""Images, services and answers, on real engines with real containers.

Ports are published in host mode here: the routing mesh needs ip_vs, which the blades' kernel has and this machine's
may not have.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import SwarmError
from labkit.lab.secret import Secret
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.node import read_time
from labkit.swarm.registry.upload import ensure_image
from labkit.swarm.services.compose import export
from labkit.swarm.services.deploy import ensure_service, look, read, remove_service, roll_back, watch
from labkit.swarm.services.health import ServiceState
from labkit.swarm.services.http_probe import Answer, probe
from labkit.swarm.services.spec import ConfigFile, HealthCheck, Mount, SecretFile, ServiceSpec, UpdatePolicy
from tests.rig.fleet import REGISTRY, SERVER, Fleet, until
from tests.rig.known import causes

pytestmark = pytest.mark.engine

PORT = 8080
ENDS = ("failed", "rejected", "complete")


@pytest.fixture
def spec(web: str) -> ServiceSpec:
    return ServiceSpec(
        name="web",
        image=web,
        replicas=3,
        ports=((PORT, 80),),
        publish="host",
        configs=(ConfigFile("/www/page", b"slot {{.Task.Slot}} of {{.Service.Name}}\n", template=True),),
        update=UpdatePolicy(parallelism=3, order="stop-first", monitor_s=1),
        rollback=UpdatePolicy(parallelism=3, order="stop-first", monitor_s=1, on_failure="pause"),
    )


def asked(fleet: Fleet, path: str = "/cgi-bin/who", port: int = PORT) -> list[Answer]:
    addresses = {machine.name: machine.address for machine in fleet.blades}
    return fleet.inside(lambda: probe(addresses, port, path=path))


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


def start(fleet: Fleet, spec: ServiceSpec, timeout_s: float) -> ServiceState:
    with engine(fleet.controller.sock) as client:
        wanted = ensure_service(client, spec).asked
        return watch(client, spec.name, timeout_s, asked=wanted)


def refused(fleet: Fleet, spec: ServiceSpec, timeout_s: float) -> str:
    with pytest.raises(SwarmError) as error:
        start(fleet, spec, timeout_s)
    return error.value.what


def test_why_a_service_does_not_run(swarm: Fleet, spec: ServiceSpec) -> None:
    with causes("no-suitable-node") as error:
        start(swarm, replace(spec, name="far", constraints=("node.labels.slot==9",)), 3)
    assert "no suitable node: scheduling constraints not satisfied on 3 nodes" in error.value.what
    said = refused(swarm, replace(spec, name="fat", reserved_mib=1 << 20, memory_mib=1 << 20), 3)
    assert "no suitable node: insufficient resources on 3 nodes" in said


def crash(fleet: Fleet, spec: ServiceSpec) -> None:
    """Run a service whose replicas die, and see that this is told soon after the third death, not when time is up."""
    try:
        start(fleet, spec, 420)
    finally:
        told = time.time()
        with engine(fleet.controller.sock) as client:
            states = [task["Status"] for task in api(client).tasks({"service": spec.name})]
            remove_service(client, spec.name)
        ended = sorted(read_time(one["Timestamp"]) for one in states if one["State"] in ENDS)
        print(f"{spec.name}: told {told - ended[2]:.1f} s after its third death")
        assert told - ended[2] < 30


def test_replicas_that_die_are_told_with_their_last_words(swarm: Fleet, spec: ServiceSpec) -> None:
    def dying(name: str, script: str) -> ServiceSpec:
        return replace(spec, name=name, ports=(), replicas=2, command=("/bin/sh", "-c", script))

    # As process 1 of its container the shell itself is spared its own signals (pid_namespaces(7)).
    with causes("program-crashes") as fault:
        crash(swarm, dying("fault", "echo oh no; sh -c 'kill -SEGV $$'; exit $?"))
    with causes("replica-ended") as own:
        crash(swarm, dying("own", "echo first >&2; echo oh no; exit 1"))
    with causes("program-missing") as missing:
        crash(swarm, dying("missing", "echo oh no; no-such-thing"))
    with causes("replica-ended") as done:
        crash(swarm, dying("done", "echo oh no"))
    for error, name, said in (
        (fault, "fault", "status 139: segmentation fault (signal 11)"),
        (own, "own", "status 1: the program's own error"),
        (missing, "missing", "status 127: its program, or one that it runs, was not found"),
        (done, "done", "ended by itself with status 0"),
    ):
        told = str(error.value)
        print(told)
        assert re.match(f"service '{name}' does not come up: replicas ended [34] times in the same way, on ", told)
        assert said in told and "last lines of its log:" in told and "  oh no\n" in told
        assert f"docker service logs {name}" in told


def test_a_program_that_is_none_is_told(swarm: Fleet, spec: ServiceSpec) -> None:
    with causes("program-missing") as error:
        crash(swarm, replace(spec, name="none", ports=(), command=("/bin/nothing",)))
    assert "its program /bin/nothing was not found" in error.value.what and "no such file" in error.value.what
    with causes("program-missing") as error:
        crash(swarm, replace(spec, name="folder", ports=(), command=("/www",)))
    assert "its program /www cannot be executed (status 126)" in error.value.what


def test_an_image_that_cannot_be_had_is_told(swarm: Fleet, spec: ServiceSpec) -> None:
    """With the registry's own words: the swarm hears of a node that there is no such image, whatever the reason."""
    with causes("image-missing") as error:
        crash(swarm, replace(spec, name="pull", image=f"{REGISTRY}/nothing:1"))
    told = str(error.value)
    print(told)
    assert f"image missing: the node could not fetch {REGISTRY}/nothing:1 from its registry" in told
    assert "on 3 blades (blade1, blade2, blade3)" in told
    assert "hears: " in told and "unknown" in told and "correct the image's name or tag" in told
    with causes("image-missing") as error:
        crash(swarm, replace(spec, name="closed", image=f"{swarm.controller.address}:5001/web:1"))
    told = str(error.value)
    print(told)
    assert "connection refused" in told and "is its registry up" in told


def test_one_sick_blade_is_named(swarm: Fleet, spec: ServiceSpec) -> None:
    script = 'test "$(hostname)" = sick.blade2 && { echo no disk here; exit 9; }; exec sleep 1000'
    once = replace(spec, name="sick", replicas=None, ports=(), hostname="sick.{{.Node.Hostname}}")
    with causes("replica-ended") as error:
        crash(swarm, replace(once, command=("/bin/sh", "-c", script)))
    told = error.value.what
    print(told)
    assert "on 1 blade (blade2): the replica ended with status 9" in told and "no disk here" in told
    assert "while 2 of 3 run on 2 blades (blade1, blade3)" in told


def test_what_moves_and_stops_in_order_does_not_die(swarm: Fleet, spec: ServiceSpec) -> None:
    """Updates, fewer replicas and a node that is emptied, one after the other, with programs that end with a fault when
    they are told to stop."""
    script = "trap 'exit 7' QUIT; while :; do sleep 0.1; done"
    stubborn = replace(spec, ports=(), command=("/bin/sh", "-c", script))
    with engine(swarm.controller.sock) as client:
        for number in range(4):
            ensure_service(client, replace(stubborn, env={"N": str(number)}))
            assert watch(client, "web", 60).running == 3
        ensure_service(client, replace(stubborn, env={"N": "3"}, replicas=1))
        assert watch(client, "web", 60).running == 1
        node = next(node for node in cluster.nodes(client) if node.blade in look(client, "web").places.values())
        cluster.drain(client, node.id)
        until(lambda: node.blade not in look(client, "web").places.values())
        state = watch(client, "web", 60)
    assert state.running == 1 and state.deaths == ()


def test_a_taken_port_is_named(swarm: Fleet, spec: ServiceSpec) -> None:
    with engine(swarm.controller.sock) as client:
        ensure_service(client, spec)
        watch(client, "web", 60)
        with causes("service-port-taken") as error:
            start(swarm, replace(spec, name="other"), 3)
        assert error.value.what.endswith("port taken: another service publishes it on 3 nodes")
        mesh = replace(spec, publish="ingress", ports=((9000, 80),), replicas=1)
        ensure_service(client, replace(mesh, name="mesh1"))
        with pytest.raises(SwarmError, match="port '9000' is already in use by service 'mesh1'"):
            ensure_service(client, replace(mesh, name="mesh2"))


def test_what_is_wrong_on_a_node_is_told(swarm: Fleet, spec: ServiceSpec) -> None:
    """A program that has the port, too little memory, a folder that is not there, a server that does not answer."""
    held = [swarm.listen(machine, PORT) for machine in swarm.blades]
    try:
        with causes("node-port-taken"):
            start(swarm, replace(spec, replicas=1), 5)
    finally:
        for sock in held:
            sock.close()
    alone = replace(spec, replicas=1, ports=(), configs=())
    hungry = ("/bin/busybox", "tail", "-c", f"{64 << 20}", "/dev/zero")
    with causes("out-of-memory"):
        start(swarm, replace(alone, name="hungry", command=hungry, memory_mib=16, reserved_mib=8), 60)
    with causes("folder-missing"):
        start(swarm, replace(alone, name="bound", mounts=(Mount("/data", "bind", "/nothing"),)), 4)
    nfs = {"type": "nfs", "o": f"addr={SERVER},soft,timeo=10,retrans=1", "device": ":/nothing"}
    with causes("volume-not-mounted"):
        start(swarm, replace(alone, name="shared", mounts=(Mount("/data", source="share", driver_options=nfs),)), 5)


def test_a_sick_replica_does_not_count(swarm: Fleet, spec: ServiceSpec) -> None:
    check = HealthCheck(("test", "-e", "/nothing"), every_s=1, timeout_s=20, retries=1, start_s=0)
    with causes("unhealthy") as error:
        start(swarm, replace(spec, replicas=1, health=check), 120)
    assert "replicas ended 3 times in the same way, on " in error.value.what
    assert "unhealthy: the replica did not pass its health check" in error.value.what
    well = replace(spec, replicas=1, health=replace(check, command=("test", "-e", "/www/page")))
    with engine(swarm.controller.sock) as client:
        remove_service(client, "web")
        ensure_service(client, well)
        assert watch(client, "web", 30).running == 1


def test_a_bad_update_is_taken_back(swarm: Fleet, spec: ServiceSpec) -> None:
    with engine(swarm.controller.sock) as client:
        ensure_service(client, spec)
        watch(client, "web", 60)
        # The way back of a stop-first update now and then waits a minute more: `UpdatePolicy` says why.
        said = refused(swarm, replace(spec, command=("/bin/sh", "-c", "exit 4")), 150)
        assert said.startswith("service 'web' was not updated: swarm gave up the update and took it back")
        assert "ended with status 4" in said
        until(lambda: [answer.status for answer in asked(swarm)] == [200, 200, 200])
        found = ensure_service(client, spec)  # swarm's way back is what is wanted now
        assert found.action == "found" and watch(client, "web", 60, asked=found.asked).running == 3


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
        assert theirs["ContainerSpec"][key] == ours["ContainerSpec"][key]
    assert theirs["ContainerSpec"]["Image"].startswith(ours["ContainerSpec"]["Image"])  # with its digest


def test_no_such_service(swarm: Fleet) -> None:
    with engine(swarm.controller.sock) as client, pytest.raises(SwarmError, match="no service 'web' on this swarm"):
        look(client, "web")


# --- the registry


def test_an_image_is_pushed_once(fleet: Fleet, rootfs: Path) -> None:
    """The engine that made it keeps none; an image that the registry has under its mark is only tagged again."""
    reference = f"{REGISTRY}/other:1"
    with engine(fleet.controller.sock) as client:

        def ensure(change: str) -> str:
            return ensure_image(client, rootfs, reference=reference, push=fleet.push, changes=[change])

        known = {image["Id"] for image in api(client).images(all=True)}
        first = ensure("EXPOSE 80")
        assert first.startswith("sha256:") and len(first) == 71
        assert ensure("EXPOSE 80") == first
        assert ensure("EXPOSE 81") != first
        assert ensure("EXPOSE 80") == first
        assert {image["Id"] for image in api(client).images(all=True)} == known
    with engine(fleet.blade("blade1").sock) as client:
        api(client).pull(f"{REGISTRY}/other", tag="1")
        assert "80/tcp" in api(client).inspect_image(reference)["Config"]["ExposedPorts"]


def test_what_can_go_wrong_with_an_image(fleet: Fleet, rootfs: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"this is no tar" * 1000)
    with engine(fleet.controller.sock) as client:
        with pytest.raises(SwarmError, match=r"the engine could not import it: .*invalid tar header"):
            ensure_image(client, broken, reference=f"{REGISTRY}/broken:1", push=fleet.push)
        with pytest.raises(SwarmError, match="cannot read it"):
            ensure_image(client, tmp_path / "missing.tar", reference=f"{REGISTRY}/missing:1", push=fleet.push)
        with pytest.raises(SwarmError, match="names no tag"):
            ensure_image(client, rootfs, reference=f"{REGISTRY}/web", push=fleet.push)
        fleet.stop_registry()
        try:
            with causes("registry-unreachable") as error:
                ensure_image(client, rootfs, reference=f"{REGISTRY}/web:1", push=fleet.push)
            assert re.search("cannot use the registry .*connection refused", error.value.what)
            assert "./lab status" in error.value.fix
        finally:
            fleet.start_registry()
        with pytest.raises(SwarmError, match="cannot use the registry"):
            ensure_image(client, rootfs, reference=f"{fleet.controller.address}:5001/web:1", push=fleet.push)


def test_the_controller_takes_no_tasks(swarm: Fleet, spec: ServiceSpec) -> None:
    with engine(swarm.controller.sock) as client:
        for node in cluster.nodes(client):
            cluster.drain(client, node.id)
        assert "no suitable node" in refused(swarm, spec, 2)
