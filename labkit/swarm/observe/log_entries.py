"""One line of a service's log: which replica on which blade said it, when, and its words, safe for a terminal.

PURE: from the frames of ``GET /services/{id}/logs`` (Docker Engine API v1.41). With ``details=1`` and ``timestamps=1``
the engine writes ``TIME DETAILS WORDS``, the details as ``key=value`` with commas between them, both URL-escaped (moby,
api/server/httputils/write_log_stream.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus

from labkit.swarm.node import Task, read_time

TASK, NODE = "com.docker.swarm.task.id", "com.docker.swarm.node.id"
STREAMS = {1: "stdout", 2: "stderr", 3: "engine"}
"""The first byte of a frame's header: 3 is the engine's own word, such as that a node could not be asked."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line as a container wrote it: ``words`` may hold anything, so a terminal gets `labkit.lab.plain_text.shown`.

    ``time`` is seconds since the epoch, ``stamp`` the same as the engine wrote it, which sorts. ``replica`` is
    ``service.slot`` (``service.node`` where it is global), empty for the engine's own word.
    """

    time: float = 0.0
    stamp: str = ""
    replica: str = ""
    blade: str = ""
    task: str = ""
    stream: str = "stdout"
    words: str = ""


@dataclass(frozen=True)
class Names:
    """What ids in a log stand for: the service's name, its tasks and the names of nodes."""

    service: str
    tasks: Mapping[str, Task]
    nodes: Mapping[str, str]

    def replica(self, task: str, node: str) -> str:
        """The name of a task's replica; of one that the swarm has forgotten already, a part of its id."""
        known = self.tasks.get(task)
        if known is None:
            return f"{self.service}.{task[:12]}"
        return f"{self.service}.{known.slot or self.nodes.get(node, node[:12])}"


def read_entry(line: bytes, stream: int, names: Names) -> Entry:
    """A line of a frame. One that is not as the engine writes them is told whole, as nobody's."""
    text = line.decode(errors="replace").removesuffix("\n")
    stamp, _, rest = text.partition(" ")
    details, _, words = rest.partition(" ")
    pairs = [pair.split("=", 1) for pair in details.split(",")]
    told = {unquote_plus(pair[0]): unquote_plus(pair[1]) for pair in pairs if len(pair) == 2}
    moment = read_time(stamp)
    if stream == 3 or not moment or TASK not in told:
        return Entry(stream=STREAMS.get(stream, "stdout"), words=text)
    task, node = told[TASK], told.get(NODE, "")
    return Entry(
        time=moment, stamp=stamp, replica=names.replica(task, node), blade=names.nodes.get(node, ""), task=task,
        stream=STREAMS.get(stream, "stdout"), words=words,
    )  # fmt: skip
