"""What pictures need to know, folded from events: beside the stages of each blade what it last said, the swarm's
members, the services and who answered.

PURE and total, as `labkit.events.folding.fold`: an event it has no use for changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from labkit import events
from labkit.events import Event, folding
from labkit.events.stages import BladeState, LabState
from labkit.pictures import rolling

KEPT_BOOTS = 40
KEPT_LINES = 40


@dataclass(frozen=True)
class Member:
    """A node of the swarm, by blade: ``state`` is ``ready``, ``down`` or what was said of it last."""

    node: str
    state: str
    role: str = "worker"
    drained: bool = False


@dataclass(frozen=True)
class Serving:
    """A service: what was last done to it, which replica runs on which blade, and how often each blade's port answered
    by which replica."""

    name: str
    action: str
    detail: str = ""
    replicas: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A lab at one moment. ``lines`` keeps the latest events by blade, ``past`` the boots that have come through,
    ``roll`` what the last roll told."""

    now: float = 0.0
    stages: LabState = field(default_factory=LabState)
    lines: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    past: tuple[BladeState, ...] = ()
    swarm: bool = False
    members: Mapping[str, Member] = field(default_factory=dict)
    services: Mapping[str, Serving] = field(default_factory=dict)
    roll: rolling.Rolling = rolling.NONE


def fold(scene: Scene, event: Event) -> Scene:
    """The scene after one more event."""
    if event.boot == events.REHEARSAL:
        return scene
    now = max(scene.now, event.time)
    if isinstance(event, events.LabEvent) and event.state == "starting":
        return Scene(now=now, stages=folding.fold(scene.stages, event), past=scene.past)
    before = scene.stages
    after = folding.fold(before, event)
    scene = replace(scene, now=now, stages=after, roll=rolling.fold(scene.roll, event))
    if event.blade:
        scene = _fold_blade(scene, before.blade(event.blade), event)
    match event:
        case events.Swarm():
            return _fold_swarm(scene, event)
        case events.Service():
            return _fold_service(scene, event)
    return scene


def fold_all(stream: Iterable[Event]) -> Scene:
    """The scene after a whole stream."""
    scene = Scene()
    for event in stream:
        scene = fold(scene, event)
    return scene


def _fold_blade(scene: Scene, before: BladeState, event: Event) -> Scene:
    name = event.blade
    kept = (*scene.lines.get(name, ()), event)[-KEPT_LINES:]
    scene = replace(scene, lines={**scene.lines, name: kept})
    after = scene.stages.blade(name)
    if after.joined and not before.joined:
        return replace(scene, past=(*scene.past, after)[-KEPT_BOOTS:])
    return scene


def _fold_swarm(scene: Scene, event: events.Swarm) -> Scene:
    if event.action == "gone":
        return replace(scene, swarm=False, members={})
    if event.action == "silent":
        return scene
    members = dict(scene.members)
    key = event.blade or event.node
    nameless = members.pop(event.node, None)  # whose blade it is shows only once its engine's labels are known
    old = members.get(key) or nameless or Member(event.node, "joined")
    if nameless is not None and not event.blade:
        members[key] = nameless
    if event.action in ("removed", "ghost-removed"):
        if old.node == event.node:
            members.pop(key, None)
    elif not event.node:
        return replace(scene, swarm=True)
    elif event.action == "joined":
        members[key] = Member(event.node, "joined", "manager" if "as manager" in event.detail else "worker")
    elif event.action in ("ready", "down"):
        if event.action == "ready" or old.node == event.node:  # a ghost goes down after its blade has joined again
            members[key] = replace(old, node=event.node, state=event.action)
    elif event.action in ("promoted", "demoted"):
        members[key] = replace(old, role="manager" if event.action == "promoted" else "worker")
    elif event.action in ("drained", "paused", "activated"):
        members[key] = replace(old, drained=event.action != "activated")
    return replace(scene, swarm=True, members=members)


def _fold_service(scene: Scene, event: events.Service) -> Scene:
    services = dict(scene.services)
    if event.action == "removed":
        services.pop(event.name, None)
        return replace(scene, services=services)
    old = services.get(event.name, Serving(event.name, event.action))
    if event.action == "running":  # one replica: its name in `detail`, its blade in `blade`
        services[event.name] = replace(old, replicas={**old.replicas, event.detail: event.blade})
    elif event.action == "answered":
        counts = dict(old.answers.get(event.blade, {}))
        counts[event.detail] = counts.get(event.detail, 0) + event.count
        services[event.name] = replace(old, answers={**old.answers, event.blade: counts})
    else:
        fresh = event.action in ("created", "updated")
        services[event.name] = Serving(
            event.name, event.action, event.detail, {} if fresh else old.replicas, {} if fresh else old.answers
        )
    return replace(scene, services=services)
