"""Logs and usage of services on real engines."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import docker
import pytest

from labkit.errors import SwarmError
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine
from labkit.swarm.observe.log_entries import Entry
from labkit.swarm.observe.numbers import numbers
from labkit.swarm.observe.service_logs import follow_entries, last_entries
from labkit.swarm.observe.usage import usage
from labkit.swarm.services.all_services import look_at_all
from labkit.swarm.services.deploy import ensure_service, watch
from labkit.swarm.services.spec import ServiceSpec
from tests.rig.fleet import Fleet, until

pytestmark = pytest.mark.engine

SPEAKS = "printf 'one\\n\\033[31mtwo\\n'; echo three >&2; while :; do sleep 1; echo again; done"


@pytest.fixture
def client(swarm: Fleet, web: str) -> Iterator[docker.DockerClient]:
    with engine(swarm.controller.sock) as client:
        spec = ServiceSpec(
            name="web", image=web, replicas=3, command=("/bin/sh", "-c", SPEAKS), memory_mib=64, reserved_mib=16
        )
        ensure_service(client, spec)
        watch(client, "web", 60)
        yield client


def test_every_replica_is_heard_and_known_by_its_blade(client: docker.DockerClient) -> None:
    def said() -> list[Entry]:
        return last_entries(client, "web", tail=200)

    until(lambda: len({entry.replica for entry in said()}) == 3)
    entries = said()
    assert {entry.replica for entry in entries} == {"web.1", "web.2", "web.3"}
    assert {entry.blade for entry in entries} == {"blade1", "blade2", "blade3"}
    first = [entry for entry in entries if entry.replica == "web.2"]
    assert {entry.words for entry in first} >= {"one", "\x1b[31mtwo", "three", "again"}
    assert [entry.stream for entry in first if entry.words == "three"] == ["stderr"]
    assert [entry.stamp for entry in entries] == sorted(entry.stamp for entry in entries)
    short = last_entries(client, "web", tail=1)
    assert len(short) == 3


def test_what_follows_is_heard_until_nobody_listens(client: docker.DockerClient) -> None:
    heard: list[Entry] = []
    stream = follow_entries(client, "web", tail=0)
    while len(heard) < 4:
        heard.append(next(stream))
    stream.close()
    assert {entry.words for entry in heard} <= {"one", "\x1b[31mtwo", "three", "again"}
    assert all(entry.replica and entry.blade for entry in heard)


def test_a_node_that_does_not_answer_is_told_by_the_engine(client: docker.DockerClient, swarm: Fleet) -> None:
    swarm.blade("blade3").power_cut()
    until(lambda: any(not node.ready and node.blade == "blade3" for node in cluster.nodes(client)), 40)
    found: list[list[Entry]] = []
    asking = threading.Thread(target=lambda: found.append(last_entries(client, "web", tail=5)), daemon=True)
    asking.start()
    asking.join(60)
    assert found, "it ends, though one node is gone"
    assert {entry.blade for entry in found[0] if entry.replica} >= {"blade1", "blade2"}


def test_a_service_that_is_not_there(client: docker.DockerClient) -> None:
    with pytest.raises(SwarmError, match="no service 'shop' on this swarm"):
        last_entries(client, "shop", tail=1)


def test_what_nodes_have_and_carry(client: docker.DockerClient) -> None:
    found = usage(api(client).nodes(), api(client).tasks())
    mine = [one for one in found if one.blade]
    assert [one.blade for one in mine] == ["blade1", "blade2", "blade3"]
    assert sum(one.tasks for one in mine) == 3 and all(one.memory_b > 64 << 20 and one.cpus >= 1 for one in mine)
    assert sum(one.reserved_b for one in mine) == 48 << 20 and sum(one.limit_b for one in mine) == 192 << 20
    seen = look_at_all(client)
    told = {(name, *labels.values()): value for name, labels, value in numbers(
        seen.nodes, seen.states.values(), seen.reasons(), found)}  # fmt: skip
    assert told["labkit_swarm_replicas", "running"] == 3 and told["labkit_swarm_services", "whole"] == 1
