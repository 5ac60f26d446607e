"""What nodes have and carry, and the same as numbers for Prometheus, without an engine."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.cli.swarm.view import table
from labkit.netboot.metrics import SWARM, render
from labkit.swarm.node import read_node
from labkit.swarm.observe.numbers import numbers
from labkit.swarm.observe.usage import Measured, read_measured, usage
from labkit.swarm.services.health import ServiceState

MIB = 1 << 20


def raw_node(name: str, *, state: str = "ready", availability: str = "active", role: str = "worker") -> dict[str, Any]:
    engine = {"Labels": {"blade": name}} if name != "controller" else {}
    manager = {"ManagerStatus": {"Reachability": "reachable", "Addr": "10.0.0.2:2377"}} if role == "manager" else {}
    return {
        "ID": name, "Spec": {"Role": role, "Availability": availability},
        "Status": {"State": state, "Addr": "10.0.0.9"},
        "Description": {
            "Hostname": name, "Engine": engine, "Resources": {"NanoCPUs": 2_000_000_000, "MemoryBytes": 2048 * MIB},
        }, **manager,
    }  # fmt: skip


def raw_task(
    node: str, *, state: str = "running", desired: str = "running", reserved: int = 0, limit: int = 0
) -> dict[str, Any]:
    return {
        "ID": f"{node}{state}{reserved}{limit}{desired}", "ServiceID": "s", "NodeID": node, "DesiredState": desired,
        "Status": {"State": state},
        "Spec": {"Resources": {
            "Reservations": {"MemoryBytes": reserved * MIB, "NanoCPUs": 250_000_000},
            "Limits": {"MemoryBytes": limit * MIB},
        }},
    }  # fmt: skip


NODES = [raw_node("blade2"), raw_node("blade1"), raw_node("controller", availability="drain", role="manager")]
TASKS = [
    raw_task("blade1", reserved=32, limit=64), raw_task("blade1", reserved=16), raw_task("blade1", state="starting"),
    raw_task("blade2", limit=128), raw_task("blade2", state="shutdown", desired="shutdown", reserved=512),
    raw_task("blade2", state="failed", reserved=512),
    {"ID": "p", "ServiceID": "s", "DesiredState": "running", "Status": {}},
]  # fmt: skip


def test_what_each_node_has_and_what_it_promised() -> None:
    one, two, controller = usage(NODES, TASKS)
    assert [one.node, two.node, controller.node] == ["blade1", "blade2", "controller"]
    assert (one.cpus, one.memory_b, one.reserved_b, one.limit_b) == (2.0, 2048 * MIB, 48 * MIB, 64 * MIB)
    assert (one.tasks, one.starting, one.unlimited, one.reserved_cpus) == (2, 1, 2, 0.75)
    assert (two.tasks, two.reserved_b, two.limit_b, two.unlimited) == (1, 0, 128 * MIB, 0)
    assert (controller.tasks, controller.availability) == (0, "drain")
    lines = table((one, two, controller)).splitlines()
    assert lines[2].split()[:4] == ["blade1", "ready", "2", "(+1)"] and "no limit" in lines[2]
    assert "134.2 MB" in lines[3] and "no limit" not in lines[3] and "ready, drain" in lines[4]


def test_an_engine_that_told_nothing_of_itself() -> None:
    assert usage([{"ID": "n", "Status": {"State": "unknown"}}], [])[0].memory_b == 0


MEMINFO = """0.52 0.58 0.59 1/389 12345
MemTotal:        2014436 kB
MemFree:          102400 kB
MemAvailable:    1014436 kB
Buffers:               0 kB
"""


def test_what_a_blade_measures() -> None:
    assert read_measured(MEMINFO) == Measured(0.52, 1_000_000 << 10, 2_014_436 << 10)


@pytest.mark.parametrize("text", ["", "Permission denied", MEMINFO.partition("\n")[2], MEMINFO.partition("MemAv")[0]])
def test_what_is_no_measure_is_none(text: str) -> None:
    assert read_measured(text) is None


def test_the_numbers_hold_no_names_and_each_has_its_help() -> None:
    states = [
        ServiceState(id="s", name="secret-shop", image="i", wanted=3, running=2, places={}),
        ServiceState(id="t", name="web", image="i", wanted=2, running=2, places={}),
    ]
    found = numbers([read_node(raw) for raw in NODES], states, {"secret-shop": "died", "web": ""}, usage(NODES, TASKS))
    assert {name for name, _, _ in found} == set(SWARM)
    page = render({}, {}, None, found)
    assert "secret-shop" not in page and "blade1" not in page
    for said in (
        'labkit_swarm_nodes{role="worker",state="ready"} 2', 'labkit_swarm_nodes{role="manager",state="ready"} 1',
        'labkit_swarm_managers{kind="reachable"} 1', 'labkit_swarm_managers{kind="needed"} 1',
        'labkit_swarm_services{state="whole"} 1', 'labkit_swarm_services{state="not_whole"} 1',
        'labkit_swarm_replicas{state="running"} 4', 'labkit_swarm_replicas{state="wanted"} 5',
        f'labkit_swarm_memory_bytes{{kind="total"}} {4096 * MIB}', 'labkit_swarm_cpus{kind="reserved"} 1',
        "# TYPE labkit_swarm_nodes gauge",
    ):  # fmt: skip
        assert said in page.splitlines(), page
    assert "labkit_swarm" not in render({}, {}), "nothing of a swarm where none is told of"
