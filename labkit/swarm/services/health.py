"""How a service is doing, and in a sentence why it is not doing well.

PURE: from the engine's JSON of a service, its tasks and the nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.images.exit_status import meaning
from labkit.swarm.node import Node, Task
from labkit.swarm.services.placement import ways_out
from labkit.swarm.services.replica_failures import Death
from labkit.swarm.services.spec import CONTENT


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """A service at one moment.

    ``wanted`` and ``running`` count replicas of the current specification; ``places`` names the node of each running
    one by ``service.slot`` (``service.node`` where it is global). ``done`` counts those that have ended as they were
    to: of a job, and where the restart policy asks for no other. ``update`` is swarm's state of the last update:
    ``updating``, ``completed``, ``paused``, ``rollback_completed``, … or empty. ``reason`` says what it waits for or
    why it cannot. ``action`` is what `ensure_service` did: ``created``, ``updated`` or ``found``;
    ``content`` is the digest of what it is to be now and ``asked`` of what somebody wants it to be (both are a
    `labkit.swarm.services.spec.ServiceSpec.digest`): they differ once swarm has gone back after a failure. ``deaths``
    are those the swarm remembers, also of the specification before.
    """

    id: str
    name: str
    image: str
    wanted: int
    running: int
    places: Mapping[str, str]
    done: int = 0
    update: str = ""
    reason: str = ""
    action: str = ""
    content: str = ""
    asked: str = ""
    deaths: tuple[Death, ...] = field(default=(), compare=False, repr=False)

    @property
    def converged(self) -> bool:
        """All replicas run what the specification says, or have run it and are done, that is what was asked for, and no
        update is under way."""
        settled = self.update in ("", "completed") or (self.update == "rollback_completed" and not self._is_another)
        return 0 < self.wanted == self.running + self.done and settled

    @property
    def given_up(self) -> bool:
        """Swarm itself has ended the update without success: waiting changes nothing."""
        back = self.update == "rollback_completed" and self._is_another
        return back or self.update in ("paused", "rollback_paused")

    @property
    def failed(self) -> bool:
        """The update did not succeed, and swarm has taken it back, is doing so, or stopped half-way."""
        return self.given_up or (self.update == "rollback_started" and self._is_another)

    @property
    def _is_another(self) -> bool:
        """Whether it is not what was asked for: swarm went back to what it was before."""
        return self.content != self.asked

    def __str__(self) -> str:
        places = ", ".join(f"{slot} on {node}" for slot, node in sorted(self.places.items()))
        head = f"{self.name}: {self.running} of {self.wanted} running" + (f", {self.done} done" if self.done else "")
        return head + (f" ({places})" if places else "") + (f"; {self.reason}" if self.reason else "")


def judge_service(
    raw: Mapping[str, Any], tasks: Sequence[Task], nodes: Sequence[Node], *, action: str = "", asked: str = ""
) -> ServiceState:
    """The state of a service from the answer to ``GET /services/…``, its tasks and all nodes.

    What ran on a node that is not Ready does not count as running, though swarm lists it so: of a node that is down
    until it has replaced it there, of any other until it has heard of it (a new leader knows of none at first).
    Without ``asked`` it is taken for what somebody wants.
    """
    spec = raw["Spec"]
    content = str((spec.get("Labels") or {}).get(CONTENT, ""))
    container = spec["TaskTemplate"]["ContainerSpec"]
    names = {node.id: node.blade or node.hostname for node in nodes}
    mode = spec["Mode"]
    job = next((mode[name] for name in JOBS if name in mode), None)
    same = [task for task in tasks if dict(task.container) == container]
    # What belongs to a job is to be ``complete``, also while it runs.
    current = [task for task in same if task.wanted or (job is not None and not task.ended)]
    silent = {node.id: node for node in nodes if not node.ready}
    running = [task for task in current if task.state == "running" and task.node not in silent]
    unheard = [silent[task.node] for task in current if task.state == "running" and task.node in silent]
    lost = {names[node.id] for node in unheard if node.state == "down"}
    done = [task for task in same if task.state == "complete"] if job is not None else _done(spec, same)
    wanted = _wanted(mode, current, done)
    state = ServiceState(
        id=raw["ID"],
        name=spec["Name"],
        image=str(container["Image"]),
        wanted=wanted,
        running=len(running),
        done=min(len(done), max(0, wanted - len(running))),
        places={f"{spec['Name']}.{task.slot or names.get(task.node)}": names.get(task.node, "") for task in running},
        update=(raw.get("UpdateStatus") or {}).get("State", ""),
        action=action,
        content=content,
        asked=asked or content,
        deaths=_deaths(spec, tasks, names),
    )
    if state.converged:
        return state
    if lost:
        return replace(state, reason=f"{', '.join(sorted(lost))} is down: what ran there is to start elsewhere")
    if unheard:
        waits = ", ".join(sorted({names[node.id] for node in unheard}))
        return replace(state, reason=f"the swarm has not heard of {waits} yet, which may run what it ran before")
    reason = _explain(state, tasks, current, container, names)
    constraints = (spec["TaskTemplate"].get("Placement") or {}).get("Constraints") or ()
    ways = ways_out(constraints, nodes) if reason == NO_NODE or "no suitable node" in reason else ""
    return replace(state, reason=f"{reason}; {ways}" if ways else reason)


JOBS = ("ReplicatedJob", "GlobalJob")
"""The modes of services that end when their work is done (Docker Engine API v1.41, ``ServiceSpec.Mode``)."""


def _wanted(mode: Mapping[str, Any], current: Sequence[Task], done: Sequence[Task]) -> int:
    """How many replicas there are to be at once."""
    if "Replicated" in mode:
        return int(mode["Replicated"]["Replicas"])
    if "ReplicatedJob" in mode:
        job = mode["ReplicatedJob"]
        total = int(job.get("TotalCompletions") or 1)
        return min(int(job.get("MaxConcurrent") or total), total)
    # Of a global one also where a replica died: the next is ``ready``, and not yet to run, while its delay lasts.
    return len({task.node for task in (*current, *done)})


def _done(spec: Mapping[str, Any], same: Sequence[Task]) -> list[Task]:
    """The replicas that ended in order where no other is to follow them: the last in their places.

    One with a health check may have been told to stop for that, and is not meant.
    """
    if (spec["TaskTemplate"].get("RestartPolicy") or {}).get("Condition", "any") == "any":
        return []
    last: dict[tuple[int, str], Task] = {}
    for task in sorted(same, key=lambda one: one.created):
        last[task.slot, "" if task.slot else task.node] = task
    return [task for task in last.values() if task.state == "complete" and not task.container.get("Healthcheck")]


NO_NODE = "no node is there to run it"
"""Of a global service: it has a task for each node that it may run on, and here there is none."""


def _deaths(spec: Mapping[str, Any], tasks: Sequence[Task], names: Mapping[str, str]) -> tuple[Death, ...]:
    """The replicas that ended and should not have: not those that swarm told to stop, whose state is ``shutdown``.

    One that ended in order is to be there again unless the service says otherwise (its restart condition).
    """
    template = spec["TaskTemplate"]
    again = (template.get("RestartPolicy") or {}).get("Condition", "any") == "any"
    dead = [task for task in tasks if task.state in ("failed", "rejected") or (again and task.state == "complete")]
    return tuple(
        Death(
            task=task.id,
            replica=f"{spec['Name']}.{task.slot or names.get(task.node)}",
            blade=names.get(task.node, ""),
            way=explain_task(task, str(template["ContainerSpec"]["Image"]), ""),
            created=task.created,
            ran=task.state == "complete" or "non-zero exit" in task.error,
            sick="unhealthy container" in task.error or (task.state == "complete" and "Healthcheck" in task.container),
            current=dict(task.container) == template["ContainerSpec"],
        )
        for task in dead
    )


def _explain(
    state: ServiceState,
    tasks: Sequence[Task],
    current: Sequence[Task],
    container: Mapping[str, Any],
    names: Mapping[str, str],
) -> str:
    """The newest thing that went wrong, else what the replicas are waiting for."""
    # What failed in an earlier specification explains nothing, unless swarm went back to that after a failure.
    concerned = tasks if state.failed else [task for task in tasks if dict(task.container) == container]
    stuck = [task for task in current if task.state != "running"]
    failed = [task for task in concerned if task.state in ("failed", "rejected", "complete")]
    wrong = [task for task in stuck if task.error] or (failed if stuck or state.failed else [])
    newest = max(wrong, key=lambda task: task.created, default=None)
    verdict = explain_task(newest, state.image, names.get(newest.node, "")) if newest else ""
    waits = ", ".join(sorted({_wait(task, tasks, names) for task in stuck}))
    if state.failed:
        done = {"rollback_completed": "took it back", "rollback_started": "is taking it back"}
        words = f"swarm gave up the update and {done.get(state.update, 'stopped half-way')}"
        words += f": {verdict}" if verdict else ""
        return words + (f"; now {waits}" if waits and not state.given_up else "")
    if verdict:
        return verdict
    if not stuck:
        return "the update is under way" if state.update else NO_NODE
    return waits


def _wait(task: Task, tasks: Sequence[Task], names: Mapping[str, str]) -> str:
    """What a replica that is wanted and does not run yet waits for."""
    place = _at(names.get(task.node, ""))
    if task.state != "ready":
        return _WAITS.get(task.state, task.state) + place
    before = [old for old in tasks if _precedes(old, task)]
    older = max(before, key=lambda old: old.created, default=None)
    if older is None:
        return f"waiting for its start{place}"
    if not older.node:
        return f"waiting{place} for a predecessor that was never placed: swarm gives that up after a minute"
    return f"waiting{place} for its predecessor to stop{_at(names.get(older.node, ''))}"


def _precedes(old: Task, task: Task) -> bool:
    """Whether ``old`` is to stop, and has not, before ``task`` may start in its place."""
    same_place = old.slot == task.slot if task.slot else old.node == task.node
    return old.id != task.id and same_place and not old.wanted and not old.ended and old.created <= task.created


_WAITS = {
    "new": "waiting to be placed",
    "pending": "waiting to be placed",
    "allocated": "waiting to be placed",
    "assigned": "waiting to be taken up",
    "accepted": "waiting to be taken up",
    "preparing": "fetching the image",
    "starting": "starting",
}


def _at(node: str) -> str:
    return f" on {node}" if node else ""


def explain_task(task: Task, image: str, node: str) -> str:
    """One sentence about what keeps a task from running, from the engine's own error."""
    if task.state == "complete" and task.container.get("Healthcheck"):
        # An unhealthy replica is told to stop, and one that then does so in order looks as if it had done its work.
        return f"unhealthy: the replica{_at(node)} did not pass its health check, or ended by itself"
    if task.state == "complete":
        return f"the replica{_at(node)} ended by itself with status 0: {meaning(0)}"
    for pattern, explain in _SIGNS:
        match = re.search(pattern, task.error, re.IGNORECASE)
        if match:
            return explain(match, image, node)
    return (task.error or task.message or f"it is in state {task.state}") + _at(node)


Explain = Callable[[re.Match[str], str, str], str]

_SIGNS: tuple[tuple[str, Explain], ...] = (
    (
        r"no such image|manifest unknown|manifest for .* not found|pull access denied",
        lambda match, image, node: f"image missing: {node or 'the node'} could not fetch {image} from {_source(image)}",
    ),
    (
        r"bind source path does not exist: (\S+)",
        lambda match, image, node: (
            f"no folder to bind: {node or 'the node'} has no {match[1]}; a bind is each node's own folder"
        ),
    ),
    (
        r"failed to mount local volume: mount (\S+?):/\S*?(?:, data: \S*)?: (.*)",
        lambda match, image, node: (
            f"volume not mounted: {node or 'the node'} could not mount {match[1] or 'it'}: {match[2]}"
        ),
    ),
    (
        r"host-mode port already in use(?: on (\d+) nodes?)?",
        lambda match, image, node: f"port taken: another service publishes it on {_nodes(match[1])}",
    ),
    (
        r"no suitable node(?: \((.*)\))?",
        lambda match, image, node: f"no suitable node: {match[1] or 'none is Ready and active'}",
    ),
    (
        r"address already in use|port is already allocated",
        lambda match, image, node: f"port taken: another program uses it{_at(node)}",
    ),
    (
        r"unhealthy container",
        lambda match, image, node: f"unhealthy: the replica{_at(node)} did not pass its health check",
    ),
    (
        r"non-zero exit \((\d+)\)",
        lambda match, image, node: f"the replica{_at(node)} ended with status {match[1]}: {meaning(int(match[1]))}",
    ),
    (
        r'exec: \\?"([^"\\]+)\\?": (.*?)(?:: unknown)?$',
        lambda match, image, node: (
            f"the replica{_at(node)} could not be started: {_no_program(match[1], match[2], image)}"
        ),
    ),
    (
        r"(?:starting container failed|OCI runtime create failed|task: starting): (.*?)(?:: unknown)?$",
        lambda match, image, node: f"the replica{_at(node)} could not be started: {_innermost(match[1])}",
    ),
    (
        r"task: complete|^$",
        lambda match, image, node: f"the replica{_at(node)} ended by itself",
    ),
)


def _no_program(program: str, words: str, image: str) -> str:
    """What runc said of a program that it could not run, with the status a shell would end with."""
    if re.search(r"no such file|not found", words):
        return f"its program {program} was not found in {image} (status 127): {words}"
    return f"its program {program} cannot be executed (status 126): {words}"


def _innermost(words: str) -> str:
    """The part of an engine's chain of words that says what happened; before it is who told whom."""
    told = r"(?:failed to create (?:shim(?: task)?|task for container)|OCI runtime create failed|runc create failed)"
    return re.sub(rf"^(?:{told}: )+", "", words)


def _source(image: str) -> str:
    """Where an image comes from: a name whose first part is no host is one of Docker Hub's (distribution/reference)."""
    host, slash, _ = image.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return "its registry"
    return "Docker Hub: that needs internet, and in a virtual lab cache: true under storage: in lab.yaml"


def _nodes(count: str | None) -> str:
    return "1 node" if count == "1" else f"{count} nodes" if count else "each node"
