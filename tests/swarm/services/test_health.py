"""How a service is doing, from what the engine tells of its tasks, and the sentence when it is not well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from labkit.swarm.node import Node, Task
from labkit.swarm.services.health import ServiceState, explain_task, judge_service

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
