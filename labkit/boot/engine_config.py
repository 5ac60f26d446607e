"""A blade's ``/etc/docker/daemon.json``: what labkit needs in it, laid over what a person wrote.

PURE. The keys are those of dockerd (https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file). Of the
same key in both labkit's value counts where the blade would be no node of the lab without it, and a sentence says so;
the limits of logs are a default, and a person's own count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from labkit.errors import PlanError
from labkit.ignition import data_url
from labkit.lab import LOG_LIMITS, Blade, Lab

PATH = "/etc/docker/daemon.json"

ON_COMMAND_LINE = ("hosts", "containerd")
"""What docker.service gives as options: an engine that finds one of them in its file as well does not start."""

LIMITED = ("json-file", "local")
"""The log drivers that know ``max-size`` and ``max-file``."""

FIX = 'write it as a JSON object in the config itself: {"log-opts": {"max-size": "20m"}}'


def engine_config(lab: Lab, blade: Blade, boot: str) -> dict[str, Any]:
    """What labkit needs in it: the labels a node is known by, the lab's mirror where there is one, and on a disk images
    where the disk is: a new Docker (from 29 on) would keep them in containerd's folder, which is in memory.
    """
    needed: dict[str, Any] = {"labels": [f"blade={blade.name}", f"boot={boot}"]}
    needed |= {"features": {"containerd-snapshotter": False}} if blade.disk is not None else {}
    return {**needed, "registry-mirrors": [f"https://{lab.mirror}"]} if lab.mirror else needed


def merge(theirs: Mapping[str, Any], needed: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The whole configuration, and a sentence for each value of a person's that does not count.

    Labels, mirrors and features are put together, labkit's mirror first; of a feature a person's own word counts. A
    person's log driver and options are left as they are, with labkit's limits where the driver has such and he has
    none.
    """
    notes = []
    merged = dict(theirs)
    own = {label.partition("=")[0] for label in needed["labels"]}
    labels = _words(theirs, "labels")
    lost = [label for label in labels if label.partition("=")[0] in own]
    if lost:
        notes.append(f"{PATH}: the label {lost[0]} does not count, since labkit knows the node by its own")
    merged["labels"] = [*(label for label in labels if label not in lost), *needed["labels"]]
    mirrors = [*needed.get("registry-mirrors", ()), *_words(theirs, "registry-mirrors")]
    if mirrors:
        merged["registry-mirrors"] = list(dict.fromkeys(mirrors))
    if "features" in needed:
        merged["features"] = {**needed["features"], **(theirs.get("features") or {})}
    for key in ON_COMMAND_LINE:
        if key in merged:
            del merged[key]
            notes.append(
                f"{PATH}: '{key}' does not count, since docker.service gives it and the engine would not start"
            )
    if merged.pop("live-restore", False):
        notes.append(f"{PATH}: 'live-restore' does not count, since an engine that has it can be in no swarm")
    driver = merged.setdefault("log-driver", "json-file")
    if driver in LIMITED:
        merged["log-opts"] = {**LOG_LIMITS, **(_mapping(theirs, "log-opts"))}
    return merged, tuple(notes)


def take_out(config: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """An Ignition config without its ``daemon.json``, and what that says; empty where there is none.

    Raises PlanError, with ``where``, when it cannot be read here: it lies elsewhere, or is no JSON object.
    """
    storage = config.get("storage") or {}
    files = storage.get("files") or []
    mine = [file for file in files if file.get("path") == PATH]
    if not mine:
        return dict(config), {}
    said: dict[str, Any] = {}
    for file in mine:
        said |= _read(file, where)
    rest = {**storage, "files": [file for file in files if file.get("path") != PATH]}
    return {**config, "storage": rest}, said


def _read(file: Mapping[str, Any], where: str) -> dict[str, Any]:
    contents = file.get("contents") or {}
    source = contents.get("source") or "data:,"
    if not source.startswith("data:") or file.get("append"):
        what = f"this config takes {PATH} from elsewhere, and labkit has to put the node's labels into it"
        raise PlanError(what, where=where, fix=FIX)
    try:
        text = data_url.decode(source, contents.get("compression") or "").decode()
        said = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise PlanError(f"{PATH} in this config is no JSON: {error}", where=where, fix=FIX) from None
    if not isinstance(said, dict):
        raise PlanError(f"{PATH} in this config is no JSON object", where=where, fix=FIX)
    for key in ("labels", "registry-mirrors"):
        if not isinstance(said.get(key, []), list):
            raise PlanError(f"{PATH} in this config: '{key}' must be a list", where=where, fix=f'"{key}": ["…"]')
    for key in ("log-opts", "features"):
        if not isinstance(said.get(key, {}), dict):
            raise PlanError(f"{PATH} in this config: '{key}' must be an object", where=where, fix=FIX)
    return said


def _words(said: Mapping[str, Any], key: str) -> list[str]:
    return [str(word) for word in said.get(key) or ()]


def _mapping(said: Mapping[str, Any], key: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in (said.get(key) or {}).items()}
