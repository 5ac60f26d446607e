"""What a person set on a blade's node, and that its next node gets it as well.

Nothing of a swarm member stays on a diskless blade, so each boot is another node, without the labels that somebody put
on the one before (``docker node update --label-add disk=ssd blade1``) and active, also where that one had been drained
for a fault. Services that are placed by such a label would wait for ever, and a faulty blade would get work again.

So what labkit did not put there itself is kept in the swarm, in one label of it for each blade that has any. There it
outlives the node, an orderly leave, swarmd and the engine, and goes into a backup. It follows the blade's newest node:
what a person takes off there is forgotten. While a blade leaves, or a roll empties it, its availability is labkit's own
doing and says nothing.

`carry` and `note` are pure; `read` and `write` ask the engine.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import docker

from labkit.swarm import cluster, spec_changes
from labkit.swarm.membership.reconcile import Carry
from labkit.swarm.node import OWN_LABELS, Node, relabel

PREFIX = "labkit.node."
"""How the swarm's labels with a blade's settings begin; the blade's name follows."""

AVAILABILITIES = ("active", "pause", "drain")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What stands on the node with the id ``node``, the last one that was looked at for a blade.

    ``labels`` and ``availability`` are a person's. ``given`` are the labels that were put on since the lab's file had
    them then: one that is no longer in the file goes.
    """

    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    availability: str = "active"
    given: tuple[str, ...] = ()

    @property
    def says_something(self) -> bool:
        return bool(self.labels or self.given) or self.availability != "active"


NOTHING = Settings()


def carry(
    nodes: Sequence[Node],
    kept: Mapping[str, Settings],
    labels: Mapping[str, Mapping[str, str]],
    given: Mapping[str, Collection[str]],
) -> tuple[tuple[Carry, ...], dict[str, Settings]]:
    """What is to be put on the blades' newest nodes, and what is to be kept of each blade once that is done.

    ``labels`` are the node labels of each blade of this lab (`labkit.swarm.node.node_labels`), ``given`` which of them
    the lab's file gives; what is kept for other names is left as it is.
    """
    actions: list[Carry] = []
    after = dict(kept)
    for blade, known in labels.items():
        now = kept.get(blade, NOTHING)
        mine = _since(nodes, blade, now.node)
        for node in mine:
            now = _follow(node, now, known)
        gone = frozenset(now.given) - frozenset(given.get(blade, ()))
        left = {key: value for key, value in now.labels.items() if key not in gone}
        now = replace(now, labels=left, given=tuple(sorted(given.get(blade, ()))))
        if mine and (action := _missing(mine[-1], now, gone)) is not None:
            actions.append(action)
        _put(after, blade, now)
    return tuple(actions), after


def note(
    nodes: Sequence[Node], kept: Mapping[str, Settings], labels: Mapping[str, Mapping[str, str]]
) -> dict[str, Settings]:
    """What is to be kept as of now, without anything put on a node: `carry` has not seen the newest ones yet."""
    after = dict(kept)
    for blade, known in labels.items():
        now = kept.get(blade, NOTHING)
        first = _since(nodes, blade, now.node)[:1]
        if first and now.node in ("", first[0].id):
            _put(after, blade, _follow(first[0], now, known))
    return after


def without(
    after: Mapping[str, Settings], failed: Collection[str], before: Mapping[str, Settings]
) -> dict[str, Settings]:
    """The settings when some blades' could not be put on their nodes: theirs stay as they were, for the next try."""
    others = {blade: one for blade, one in after.items() if blade not in failed}
    return {**others, **{blade: before[blade] for blade in failed if blade in before}}


def _put(after: dict[str, Settings], blade: str, now: Settings) -> None:
    if now.says_something:
        after[blade] = now
    else:
        after.pop(blade, None)


def _since(nodes: Sequence[Node], blade: str, known: str) -> list[Node]:
    """A blade's nodes from the one that was looked at last; what is older says nothing any more."""
    mine = sorted((node for node in nodes if node.blade == blade), key=lambda node: (node.created, node.id))
    ids = [node.id for node in mine]
    return mine[ids.index(known) :] if known in ids else mine


def _follow(node: Node, before: Settings, known: Mapping[str, str]) -> Settings:
    """What is to be kept once ``node`` was looked at: what it says; with a new one, what was kept before as well."""
    is_new = before.says_something and node.id != before.node
    own = {key: value for key, value in node.labels.items() if key not in known and not is_own(key)}
    availability = before.availability if node.leaving else node.rolling or node.availability
    if is_new and availability == "active":
        availability = before.availability
    return Settings(
        node=node.id,
        labels={**before.labels, **own} if is_new else own,
        availability=availability if availability in AVAILABILITIES else "active",
        given=before.given,
    )


def _missing(node: Node, now: Settings, gone: Collection[str]) -> Carry | None:
    labels = {key: value for key, value in now.labels.items() if node.labels.get(key) != value}
    is_labkits = node.leaving or bool(node.rolling)
    availability = "" if is_labkits or node.availability == now.availability else now.availability
    drop = tuple(sorted(key for key in gone if key in node.labels))
    return Carry(node, labels, drop, availability) if labels or availability or drop else None


def is_own(label: str) -> bool:
    """Whether a node's label is one that labkit writes for itself."""
    return label in OWN_LABELS or label.startswith("labkit.")


def read(client: docker.DockerClient) -> dict[str, Settings]:
    """The settings that stand in the swarm, by blade. One that cannot be read is none. Raises SwarmError."""
    labels = cluster.swarm_labels(client).items()
    found = {key.removeprefix(PREFIX): decode(text) for key, text in labels if key.startswith(PREFIX)}
    return {blade: one for blade, one in found.items() if one is not None}


def write(client: docker.DockerClient, kept: Mapping[str, Settings]) -> None:
    """Have exactly these settings stand in the swarm. Raises SwarmError."""

    def change(spec: dict[str, Any]) -> None:
        before = [key for key in spec.get("Labels") or {} if key.startswith(PREFIX)]
        relabel(spec, {PREFIX + blade: encode(one) for blade, one in kept.items()}, before)

    spec_changes.change_swarm(client, change)


def encode(kept: Settings) -> str:
    """Settings as the text of a label."""
    return json.dumps(vars(kept), sort_keys=True)


def decode(text: str) -> Settings | None:
    """The settings in a label's text; None where there are none, since a person may write there too."""
    try:
        raw = json.loads(text)
        labels = {str(key): str(value) for key, value in raw["labels"].items()}
        availability = raw["availability"] if raw["availability"] in AVAILABILITIES else "active"
        given = tuple(str(name) for name in raw["given"])
        return Settings(node=str(raw["node"]), labels=labels, availability=availability, given=given)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
