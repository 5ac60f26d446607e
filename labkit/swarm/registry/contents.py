"""What lies in the lab's registry, and what of it nobody needs any more.

The judging is pure. The reading is of the registry's own files (`labkit.swarm.registry.link_files` says how they lie),
since its API does not list manifests that have lost their tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.images.rootfs import inside, matching
from labkit.swarm.registry.link_files import ROOT, blob, read_link, repositories
from labkit.swarm.registry.upload import MARK


@dataclass(frozen=True)
class Manifest:
    """An image in the registry: its tags, when it came (wall-clock seconds), and the images it is a list of."""

    repository: str
    digest: str
    pushed: float = 0.0
    tags: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.repository} {self.digest[:19]} ({', '.join(self.tags) or 'no tag'})"


@dataclass(frozen=True)
class Verdict:
    """Whether an image goes, and why."""

    manifest: Manifest
    goes: bool
    why: str


def judge_images(manifests: Iterable[Manifest], used: Iterable[str]) -> list[Verdict]:
    """Which images nobody needs. ``used`` are images as services name them, without the registry's host.

    An image stays when a service runs it or may be rolled back to it, when somebody gave it a tag of his own, when it
    is the newest of its repository, or when it is part of one that stays.
    """
    here = sorted(manifests, key=lambda one: (one.repository, -one.pushed, one.digest))
    wanted = set(used)
    reasons: dict[tuple[str, str], str] = {}
    newest: set[str] = set()
    for one in here:
        own = [tag for tag in one.tags if not tag.startswith(MARK)]
        names = {f"{one.repository}@{one.digest}", *(f"{one.repository}:{tag}" for tag in one.tags)}
        if names & wanted:
            why = "a service runs it, or may be rolled back to it"
        elif own:
            why = f"it has the tag {own[0]}"
        elif one.repository not in newest:
            why = "it is the newest of its repository"
        else:
            continue
        newest.add(one.repository)
        reasons[one.repository, one.digest] = why
        for part in one.parts:
            reasons.setdefault((one.repository, part), "it is part of one that stays")
    gone = "no service needs it, and there is a newer one"
    keys = [(one, reasons.get((one.repository, one.digest), "")) for one in here]
    return [Verdict(one, not why, why or gone) for one, why in keys]


def used_images(services: Iterable[Mapping[str, Any]], host: str) -> set[str]:
    """What services, as the engine's JSON, name of a registry: ``name:tag`` and ``name@digest``."""
    found: set[str] = set()
    for raw in services:
        for spec in (raw["Spec"], raw.get("PreviousSpec")):
            image = str(spec["TaskTemplate"]["ContainerSpec"]["Image"]) if spec else ""
            if not image.startswith(f"{host}/"):
                continue
            name, _, digest = image.removeprefix(f"{host}/").partition("@")
            repository, colon, tag = name.rpartition(":")
            found.add(name if colon else f"{name}:latest")
            if digest:
                found.add(f"{repository if colon and '/' not in tag else name}@{digest}")
    return found


def read_contents(folder: Path) -> Iterator[Manifest]:
    """The images in the data folder of a registry."""
    for repository in repositories(folder):
        place = ROOT / "repositories" / repository / "_manifests"
        tags: dict[str, list[str]] = {}
        for link in matching(folder, f"{place}/tags/*/current/link"):
            tags.setdefault(read_link(folder, link), []).append(link.split("/")[-3])
        for link in matching(folder, f"{place}/revisions/sha256/*/link"):  # a deleted one has lost its link
            digest = link.split("/")[-2]
            yield Manifest(
                repository=repository,
                digest=f"sha256:{digest}",
                pushed=inside(folder, link, follow=False).lstat().st_mtime,
                tags=tuple(tags.get(f"sha256:{digest}", ())),
                parts=_parts(folder, digest),
            )


def _parts(folder: Path, digest: str) -> tuple[str, ...]:
    """The images that a manifest list names (OCI image index); none for one that is an image itself."""
    try:
        body = json.loads(blob(folder, digest).read_bytes())
    except (OSError, ValueError):
        return ()
    return tuple(str(one["digest"]) for one in body.get("manifests") or ())
