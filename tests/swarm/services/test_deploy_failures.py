"""A service that does not come up, on real engines: why, in the words that a person gets."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest

from labkit.errors import SwarmError
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.node import read_time
from labkit.swarm.services.deploy import ensure_service, look, remove_service, watch
from labkit.swarm.services.spec import HealthCheck, Mount, ServiceSpec
from tests.rig.fleet import REGISTRY, SERVER, Fleet, until
from tests.rig.known import causes
from tests.swarm.services.conftest import PORT, asked, refused, start

pytestmark = pytest.mark.engine(minutes=4)

ENDS = ("failed", "rejected", "complete")


def test_why_a_service_does_not_run(swarm: Fleet, spec: ServiceSpec) -> None:
    with causes("no-suitable-node") as error:
        start(swarm, replace(spec, name="far", constraints=("node.labels.slot==9",)), 3)
    assert "no suitable node: scheduling constraints not satisfied on 3 nodes" in error.value.what
    said = refused(swarm, replace(spec, name="fat", reserved_mib=1 << 20, memory_mib=1 << 20), 3)
    assert "no suitable node: insufficient resources on 3 nodes" in said


def test_a_service_for_managers_says_how_it_can_run(swarm: Fleet, spec: ServiceSpec) -> None:
    only = replace(spec, name="panel", ports=(), constraints=("node.role == manager",))
    with causes("no-suitable-node") as error:
        start(swarm, only, 3)
    assert "it asks for node.role == manager, and the only manager, controller, is drained" in error.value.what
    assert "./lab swarm managers blade1 blade2" in error.value.what
    with engine(swarm.controller.sock) as client:
        controller = next(node for node in cluster.nodes(client) if node.leader)
        try:
            cluster.activate(client, controller.id)  # one of the ways
            assert watch(client, "panel", 60).running == 3
        finally:
            remove_service(client, "panel")
            cluster.drain(client, controller.id)


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
        third = ended[min(2, len(ended) - 1)]  # of one replica the swarm remembers three, with the one that runs
        print(f"{spec.name}: told {told - third:.1f} s after its third death")
        assert told - third < 30


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
        assert f"./lab swarm logs {name}" in told


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
