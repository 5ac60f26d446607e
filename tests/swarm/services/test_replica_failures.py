"""When replicas that die are a crash, and what is said of it: task lists in, words out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.images.exit_status import meaning
from labkit.swarm.node import Node, Task
from labkit.swarm.services.all_services import why_not_whole
from labkit.swarm.services.failure_reasons import crashed
from labkit.swarm.services.health import ServiceState, explain_task, judge_service
from labkit.swarm.services.replica_failures import ANYHOW, SAME, Crash, Death, Deaths, judge, on

NODES = [Node(id=f"n{n}", hostname=f"host{n}", blade=f"blade{n}", state="ready") for n in (1, 2, 3)]
CONTAINER: dict[str, Any] = {"Image": "10.77.0.1:5000/web:1"}
SEGFAULT = "ended with status 139: segmentation fault (signal 11)"


def death(number: int, slot: int = 1, way: str = SEGFAULT, **more: Any) -> Death:
    known: dict[str, Any] = {"task": f"t{number}", "replica": f"web.{slot}", "blade": f"blade{slot}"}
    return Death(**{**known, "way": way, "created": number, "ran": True, **more})


def test_the_third_death_in_the_same_way_is_a_crash() -> None:
    two = [death(1), death(2)]
    assert judge([]) is None and judge(two) is None
    crash = judge([*two, death(3)])
    assert crash is not None and crash.latest.task == "t3" and not crash.mixed
    assert str(crash) == f"replicas ended 3 times in the same way, on 1 blade (blade1): {SEGFAULT}"
    both = judge([death(1), death(2, 2), death(3)])
    assert "on 2 blades (blade1, blade2)" in str(both)


def test_three_that_die_at_once_may_have_met_a_fault_that_passes() -> None:
    """Until one of them comes back and dies again; a health check has had its patience already."""
    first = [death(n, slot=n) for n in (1, 2, 3)]
    assert judge(first) is None
    assert judge([*first, death(4, slot=2)]) is not None
    assert judge([death(n, slot=n, way="unhealthy", sick=True) for n in (1, 2, 3)]) is not None


def test_what_dies_in_other_ways_takes_longer_and_is_listed() -> None:
    ways = ["ended with status 1", "ended with status 2", "ended with status 3"]
    mixed = [death(number, way=ways[number % 3]) for number in range(ANYHOW)]
    assert judge(mixed[:-1]) is None
    crash = judge(mixed)
    assert crash is not None and crash.mixed
    assert str(crash) == (
        "replicas ended 6 times, on 1 blade (blade1): 2 times: ended with status 1; 2 times: ended with status 2; "
        "2 times: ended with status 3"
    )
    spread = [death(number, slot=number, way=ways[number % 2]) for number in range(4)]
    assert judge(spread) is None  # each of them has died once


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ended with status 1: x", "ended with status 2: x", False),
        ("dial tcp 10.77.0.1:40112: connection refused", "dial tcp 10.77.0.1:40118: connection refused", True),
        ("container 0a1b2c3d4e5f60718293 is gone", "container ffffffffffffffffffff is gone", True),
        ("task w0h3q2zj5m7c9x1k4b6n8v0s2 is gone", "task aaaaaaaaaaaaaaaaaaaaaaaaa is gone", True),
        ("could not mount :/share", "could not mount :/pages", False),
        ("killed (signal 9)", "told to stop (signal 15)", False),
    ],
)  # fmt: skip
def test_what_counts_as_the_same_way(one: str, other: str, same: bool) -> None:
    assert (death(1, way=one).kind == death(2, way=other).kind) is same


def test_a_wait_counts_its_own_deaths_also_those_the_swarm_has_forgotten() -> None:
    old = [death(number) for number in range(5)]
    deaths = Deaths()
    assert deaths.take(old) is None
    assert deaths.take([*old[2:], death(10)]) is None
    assert deaths.take([death(11)]) is None  # the tenth is forgotten by now
    crash = deaths.take([death(12)])
    assert crash is not None and [one.task for one in crash.deaths] == ["t10", "t11", "t12"]
    assert deaths.latest is not None and deaths.latest.task == "t12"


def test_what_an_earlier_specification_died_of_is_no_crash() -> None:
    deaths = Deaths()
    crashes = [deaths.take([]), deaths.take([death(number, current=False) for number in range(9)])]
    assert crashes == [None, None]
    assert deaths.latest is not None and deaths.latest.task == "t8"


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["a", "b", "c"])), max_size=12))
def test_a_crash_is_what_it_says(drawn: list[tuple[int, str]]) -> None:
    every = [death(number, slot, way) for number, (slot, way) in enumerate(drawn)]
    crash = judge(every)
    if crash is None:
        return
    assert len(crash.deaths) >= (ANYHOW if crash.mixed else SAME)
    assert crash.mixed or len({one.way for one in crash.deaths}) == 1
    assert len({one.replica for one in crash.deaths}) < len(crash.deaths)
    assert all(f"blade{one.replica[-1]}" in str(crash) for one in crash.deaths)


def test_blades_are_counted_and_named() -> None:
    assert on(["blade2", "blade1", "blade2"]) == "2 blades (blade1, blade2)"
    assert on([""]) == "no blade that is known"


# --- which tasks are deaths


def task(number: int, state: str, slot: int = 1, **more: Any) -> Task:
    known: dict[str, Any] = {"id": f"t{number}", "service": "s", "slot": slot, "node": f"n{slot}"}
    return Task(**{**known, "state": state, "container": CONTAINER, "created": number, **more})


def judged(*tasks: Task, restart: str = "any", update: str = "") -> ServiceState:
    template = {"ContainerSpec": CONTAINER, "RestartPolicy": {"Condition": restart}}
    raw = {"ID": "s", "Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": 2}}, "TaskTemplate": template},
           "UpdateStatus": {"State": update}}  # fmt: skip
    return judge_service(raw, tasks, NODES)


@pytest.mark.parametrize("restart", ["none", "on-failure"])
def test_what_is_to_end_has_come_up_when_it_has_ended(restart: str) -> None:
    ended = task(1, "complete", desired="shutdown")
    state = judged(ended, task(2, "running", 2), restart=restart)
    assert state.converged and (state.running, state.done) == (1, 1) and "1 of 2 running, 1 done" in str(state)
    assert why_not_whole(state), "a roll does not count on it"
    assert not judged(ended, task(2, "running", 2)).converged, "it is to be started again"
    assert not judged(task(1, "failed", desired="shutdown"), task(2, "running", 2), restart=restart).converged
    assert not judged(ended, task(3, "starting"), task(2, "running", 2), restart=restart).converged, "one follows it"
    sick = {**CONTAINER, "Healthcheck": {"Test": ["CMD", "x"]}}
    assert not judged(replace(ended, container=sick), task(2, "running", 2), restart=restart).done


@pytest.mark.parametrize(
    ("mode", "tasks", "converged"),
    [
        ({"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 3}}, ["complete", "running"], True),
        ({"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 2}}, ["complete", "starting"], False),
        ({"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 2}}, ["complete", "complete"], True),
        ({"ReplicatedJob": {}}, ["failed"], False),
        ({"GlobalJob": {}}, ["complete", "running"], True),
        ({"GlobalJob": {}}, [], False),
        ({"Global": {}}, [], False),
    ],
)
def test_jobs(mode: dict[str, Any], tasks: list[str], converged: bool) -> None:
    raw = {"ID": "s", "Spec": {"Name": "web", "Mode": mode, "TaskTemplate": {"ContainerSpec": CONTAINER}}}
    made = [task(number, state, number + 1, desired="complete") for number, state in enumerate(tasks)]
    assert judge_service(raw, made, NODES).converged is converged


EXIT_1 = "task: non-zero exit (1)"


def test_replicas_that_swarm_stops_are_not_dead() -> None:
    """A rolling update, fewer replicas, a node that leaves or is lost: all end as ``shutdown`` or ``orphaned``."""
    ends = ("shutdown", "orphaned", "remove", "running", "pending", "preparing", "starting")
    assert judged(*(task(n, state, desired="shutdown") for n, state in enumerate(ends))).deaths == ()


def test_replicas_that_failed_were_refused_or_had_nothing_more_to_do_are_dead() -> None:
    state = judged(
        task(1, "failed", desired="shutdown", error="task: non-zero exit (139)"),
        task(2, "rejected", slot=2, error="No such image: 10.77.0.1:5000/web:1"),
        task(3, "complete"),
        task(4, "failed", error=f"{EXIT_1}: dockerexec: unhealthy container"),
        task(5, "failed", container={"Image": "old"}, error=EXIT_1),
    )
    assert [(one.replica, one.blade, one.ran, one.sick, one.current) for one in state.deaths] == [
        ("web.1", "blade1", True, False, True),
        ("web.2", "blade2", False, False, True),
        ("web.1", "blade1", True, False, True),
        ("web.1", "blade1", True, True, True),
        ("web.1", "blade1", True, False, False),
    ]
    assert [one.way for one in state.deaths[:3]] == [
        f"the replica {SEGFAULT}",
        "image missing: the node could not fetch 10.77.0.1:5000/web:1 from its registry",
        "the replica ended by itself with status 0: its program had nothing more to do",
    ]
    assert judged(task(3, "complete"), restart="on-failure").deaths == ()  # a job that is done


def test_a_health_check_may_end_a_replica_in_order() -> None:
    checked = {**CONTAINER, "Healthcheck": {"Test": ["CMD", "false"]}}
    [one] = judged(task(1, "complete", container=checked)).deaths
    assert one.sick and one.way.startswith("unhealthy: the replica did not pass its health check")


def test_a_replica_of_a_global_service_is_known_by_its_node() -> None:
    [one] = judged(task(1, "failed", slot=0, node="n3", error=EXIT_1)).deaths
    assert (one.replica, one.blade) == ("web.blade3", "blade3")


def test_a_sick_blade_among_well_ones_is_named() -> None:
    sick = [task(number, "failed", error=EXIT_1) for number in (1, 2, 3)]
    state = judged(*sick, task(4, "starting"), task(5, "running", slot=2))
    crash = judge(state.deaths)
    assert isinstance(crash, Crash) and crashed(state, crash) == (
        "service 'web' does not come up: replicas ended 3 times in the same way, on 1 blade (blade1): the replica "
        "ended with status 1: the program's own error, while 1 of 2 run on 1 blade (blade2)"
    )


# --- what an end means


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "nothing more to do"), (1, "the program's own error"), (2, "the program's own error"),
        (125, "could not start"), (126, "cannot be executed"), (127, "not found"), (128, "could not be started"),
        (129, "hangup (signal 1)"), (132, "illegal instruction (signal 4): the program or its libraries are for"),
        (134, "aborted by itself (signal 6)"), (135, "bus error (signal 7)"), (136, "arithmetic error (signal 8)"),
        (137, "killed (signal 9): it needs more memory than its limit"), (139, "segmentation fault (signal 11)"),
        (143, "told to stop (signal 15)"), (159, "forbidden system call (signal 31)"),
        (162, "ended by a signal (signal 34)"),
        (200, "the program's own error"), (255, "the program's own error"),
    ],
)  # fmt: skip
def test_a_status_has_a_meaning(status: int, said: str) -> None:
    assert said in meaning(status)


STARTING = "starting container failed: failed to create shim task: OCI runtime create failed: runc create failed: "


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("task: non-zero exit (139)", f"the replica on blade1 {SEGFAULT}"),
        (f'{STARTING}unable to start container process: exec: "/bin/no": '
         "stat /bin/no: no such file or directory: unknown",
         "the replica on blade1 could not be started: its program /bin/no was not found in i (status 127): "
         "stat /bin/no: no such file or directory"),
        (f'{STARTING}container_linux.go:380: starting container process caused: exec: "no": '
         "executable file not found in $PATH: unknown",
         "the replica on blade1 could not be started: its program no was not found in i (status 127): executable file "
         "not found in $PATH"),
        (f'{STARTING}unable to start container process: exec: "/etc": permission denied: unknown',
         "the replica on blade1 could not be started: its program /etc cannot be executed (status 126): "
         "permission denied"),
        (f"{STARTING}error mounting cgroup: no space left on device: unknown",
         "the replica on blade1 could not be started: error mounting cgroup: no space left on device"),
    ],
)  # fmt: skip
def test_an_end_is_put_into_words(error: str, said: str) -> None:
    assert explain_task(task(1, "failed", error=error), "i", "blade1") == said
