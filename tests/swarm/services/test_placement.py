"""Services for managers only, where no manager takes tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labkit.swarm.node import Node, Task
from labkit.swarm.services.health import judge_service
from labkit.swarm.services.placement import ways_out
from tests.rig.nodes import node

CONTROLLER = Node(id="0", hostname="controller", role="manager", state="ready", availability="drain", leader=True)
BLADES = (node("1"), node("2", blade="blade2"))
SAID = (
    "it asks for node.role == manager, and the only manager, controller, is drained; make blades managers as well "
    "(./lab swarm managers blade1 blade2), or let controller take tasks (docker node update --availability active "
    "controller), or let it run on blades too, without 'node.role == manager'"
)


def test_the_ways_are_named() -> None:
    assert ways_out(["node.labels.slot==1", "node.role == manager"], [CONTROLLER, *BLADES]) == SAID


@pytest.mark.parametrize("text", ["node.role==manager", " Node.Role == Manager", "node.role != worker"])
def test_however_it_is_written(text: str) -> None:
    assert f"it asks for {text.strip()}, and the only manager" in ways_out([text], [CONTROLLER, *BLADES])


@pytest.mark.parametrize("text", ["node.role==worker", "node.role != manager", "node.labels.role==manager"])
def test_other_constraints_are_another_matter(text: str) -> None:
    assert ways_out([text], [CONTROLLER, *BLADES]) == ""


def test_nothing_is_said_where_a_manager_takes_tasks() -> None:
    asked = ["node.role==manager"]
    assert ways_out(asked, [replace(CONTROLLER, availability="active"), *BLADES]) == ""
    assert ways_out(asked, [CONTROLLER, replace(BLADES[0], role="manager")]) == ""
    assert ways_out(asked, BLADES) == ""


def test_several_managers_are_all_named_and_a_lost_one_is_not_asked_to_work() -> None:
    lost = replace(BLADES[0], role="manager", state="down")
    said = ways_out(["node.role==manager"], [lost, CONTROLLER, BLADES[1]])
    assert "no manager takes tasks: blade1 is down, controller is drained; let controller take tasks" in said
    assert "./lab swarm managers" not in said  # two managers would be worse than one
    paused = replace(CONTROLLER, availability="pause", state="unknown")
    assert ways_out(["node.role==manager"], [paused]).endswith(
        "controller, is unknown; let it run on blades too, without 'node.role==manager'"
    )


def test_the_judge_says_so() -> None:
    container = {"Image": "portainer"}
    template = {"ContainerSpec": container, "Placement": {"Constraints": ["node.role == manager"]}}
    raw: dict[str, Any] = {
        "ID": "s",
        "Spec": {"Name": "panel", "TaskTemplate": template, "Mode": {"Replicated": {"Replicas": 1}}},
    }
    error = "no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 2 nodes)"
    task = Task(id="t", service="s", slot=1, state="pending", error=error, container=container)
    assert judge_service(raw, [task], [CONTROLLER, *BLADES]).reason == (
        f"no suitable node: {error.partition('(')[2][:-1]}; {SAID}"
    )
    everywhere = {**raw, "Spec": {**raw["Spec"], "Mode": {"Global": {}}}}
    assert judge_service(everywhere, [], [CONTROLLER, *BLADES]).reason == f"no node is there to run it; {SAID}"
    assert SAID not in judge_service(raw, [replace(task, error="")], [CONTROLLER, *BLADES]).reason
