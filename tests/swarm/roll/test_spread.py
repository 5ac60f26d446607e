"""Which services are spread again, and which are left as they lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labkit.swarm.node import Node, Task
from labkit.swarm.roll.spread import judge_spread
from tests.rig.nodes import node

NODES = [node(name, name) for name in ("blade1", "blade2", "blade3")]


def service(replicas: int, *, constraints: tuple[str, ...] = (), parallelism: int | None = 1) -> dict[str, Any]:
    update = {} if parallelism is None else {"UpdateConfig": {"Parallelism": parallelism}}
    template = {"Placement": {"Constraints": list(constraints)}}
    return {
        "ID": "s",
        "Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": replicas}}, "TaskTemplate": template, **update},
    }  # fmt: skip


def tasks(**held: int) -> list[Task]:
    return [
        Task(id=f"{name}.{n}", service="s", slot=n + 1, node=name, state="running")
        for name, count in held.items()
        for n in range(count)
    ]


def test_an_empty_blade_gets_a_replica_of_a_full_one() -> None:
    (found,) = judge_spread([service(3)], tasks(blade1=2, blade2=1), NODES)
    assert found.goes and found.replicas == {"blade1": 2, "blade2": 1, "blade3": 0}


@pytest.mark.parametrize(
    "held",
    [{"blade1": 1, "blade2": 1}, {"blade1": 1, "blade2": 1, "blade3": 1}, {"blade1": 2, "blade2": 1, "blade3": 1}],
)
def test_what_lies_evenly_is_left(held: dict[str, int]) -> None:
    assert judge_spread([service(sum(held.values()))], tasks(**held), NODES) == ()


def test_one_replica_and_a_global_service_are_left() -> None:
    everywhere = {"ID": "s", "Spec": {"Name": "web", "Mode": {"Global": {}}, "TaskTemplate": {}}}
    assert judge_spread([service(1)], tasks(blade1=1), NODES) == ()
    assert judge_spread([everywhere], tasks(blade1=1), NODES) == ()


@pytest.mark.parametrize("parallelism", [0, 3, 5])
def test_a_service_that_would_be_replaced_at_once_is_left(parallelism: int) -> None:
    (found,) = judge_spread([service(3, parallelism=parallelism)], tasks(blade1=3), NODES)
    assert not found.goes and "all replicas at once" in found.why


def test_without_update_rules_it_is_one_at_a_time() -> None:
    (found,) = judge_spread([service(3, parallelism=None)], tasks(blade1=3), NODES)
    assert found.goes


@pytest.mark.parametrize(
    ("constraint", "goes"),
    [
        ("node.labels.slot==1", False), ("node.labels.slot != 1", False), ("node.role==worker", True),
        ("node.role == manager", False), ("engine.labels.blade!=blade3", False), ("node.platform.os==linux", True),
        ("node.hostname!=BLADE2", True), ("what is this", True),
    ],
)  # fmt: skip
def test_only_nodes_that_may_run_it_count(constraint: str, goes: bool) -> None:
    held = tasks(blade1=2, blade2=2) if "slot !=" not in constraint else tasks(blade2=1, blade3=1)
    if "blade!=blade3" in constraint:
        held = tasks(blade1=2, blade2=2)
    found = judge_spread([service(4, constraints=(constraint,))], held, NODES)
    assert bool(found) is goes


def test_a_node_that_takes_no_tasks_does_not_count() -> None:
    drained: list[Node] = [*NODES[:2], replace(NODES[2], availability="drain")]
    assert judge_spread([service(2)], tasks(blade1=1, blade2=1), drained) == ()
    stopped = [replace(task, desired="shutdown") for task in tasks(blade1=2)]
    assert judge_spread([service(2)], [*tasks(blade2=1, blade3=1), *stopped], NODES) == ()
