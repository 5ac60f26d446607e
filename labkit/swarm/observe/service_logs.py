"""A service's log, read from all nodes by the swarm: its last lines, and what follows."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from typing import Any

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.swarm import cluster
from labkit.swarm.engine import api, engine_errors
from labkit.swarm.node import read_task
from labkit.swarm.observe.log_entries import Entry, Names, read_entry

HEADER_B = 8
RAW = 1
"""The stream of a service with a terminal: there is but one, and no frames (`docker.api.client`)."""


def last_entries(client: docker.DockerClient, service: str, *, tail: int) -> list[Entry]:
    """The last ``tail`` lines of each replica, of those that have ended too, in the order in which they were said.

    What the engine itself has to say, of a node that does not answer, comes last. Raises SwarmError where there is no
    such service, or where its logging driver keeps nothing that can be read.
    """
    found = list(_entries(client, service, tail=tail, follow=False))
    return sorted(found, key=lambda entry: (not entry.stamp, entry.stamp))


def follow_entries(client: docker.DockerClient, service: str, *, tail: int) -> Generator[Entry, None, None]:
    """The last lines and those that follow, as they come, until nobody asks any more, or the engine ends it."""
    yield from _entries(client, service, tail=tail, follow=True)


def _entries(client: docker.DockerClient, service: str, *, tail: int, follow: bool) -> Iterator[Entry]:
    with engine_errors():
        try:
            raw = api(client).inspect_service(service)
        except docker.errors.NotFound:
            there = ", ".join(sorted(one["Spec"]["Name"] for one in api(client).services())) or "none"
            raise SwarmError(f"no service '{service}' on this swarm", fix=f"there are: {there}") from None
        names = _names(client, raw)
        params = {"stdout": 1, "stderr": 1, "details": 1, "timestamps": 1, "tail": tail, "follow": int(follow)}
        response = api(client)._get(api(client)._url("/services/{0}/logs", raw["ID"]), params=params, stream=True)
        try:
            api(client)._raise_for_status(response)
            # A service may be silent for hours: the client's own limit is for answers.
            api(client)._disable_socket_timeout(api(client)._get_raw_response_socket(response))
            is_raw = bool(raw["Spec"]["TaskTemplate"]["ContainerSpec"].get("TTY"))
            for stream, line in _raw_lines(response) if is_raw else _frames(response):
                entry = read_entry(line, stream, names)
                if entry.task and entry.task not in names.tasks:
                    names = _names(client, raw)  # a replica that started since
                    entry = read_entry(line, stream, names)
                yield entry
        finally:
            response.close()


def _names(client: docker.DockerClient, raw: dict[str, Any]) -> Names:
    tasks = [read_task(task) for task in api(client).tasks({"service": raw["ID"]})]
    nodes = {node.id: node.blade or node.hostname for node in cluster.nodes(client)}
    return Names(str(raw["Spec"]["Name"]), {task.id: task for task in tasks}, nodes)


def _frames(response: Any) -> Iterator[tuple[int, bytes]]:
    """Frame by frame, each a line: a byte for the stream, three of nothing, the length, and so many bytes."""
    while len(header := response.raw.read(HEADER_B)) == HEADER_B:
        stream, length = struct.unpack(">BxxxL", header)
        yield stream, response.raw.read(length)


def _raw_lines(response: Any) -> Iterator[tuple[int, bytes]]:
    kept = b""
    for block in response.iter_content(None):
        *lines, kept = (kept + block).split(b"\n")
        yield from ((RAW, line) for line in lines)
    if kept:
        yield RAW, kept
