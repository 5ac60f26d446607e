"""What is kept of a run: ``run.json`` and ``events.jsonl`` beside the executed notebooks.

``run.json`` holds no secret: the artifacts are rendered with placeholders where a boot has its ticket and the lab its
key, so that the same plan gives the same digests in every run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labkit import __version__, events, images
from labkit.boot import BootSecrets, Release, Rendered, plan, resources
from labkit.errors import LabkitError, ParameterError
from labkit.events import Event, stages
from labkit.images.releases.where import release_of
from labkit.lab import Blade, Lab
from labkit.lab.secret import Secret
from labkit.lab.state import write_json
from labkit.netboot.configs import base_config

SCHEMA = 1
FILE, EVENTS = "run.json", "events.jsonl"
PLACEHOLDER = "placeholder"
PACKAGES = ("papermill", "jupyterlab", "ipykernel", "docker", "aiohttp", "pyghmi")
PROGRAMS = {"qemu": ("qemu-system-x86_64", "--version"), "ipmitool": ("ipmitool", "-V")}


def artifact_digests(lab: Lab, blades: Iterable[Blade], release: Release | None = None) -> dict[str, dict[str, str]]:
    """The SHA-256 of every file each blade may fetch, secrets replaced by a placeholder.

    ``release`` stands for what is here of the blades'.

    Raises PlanError, and ImageError where a release is missing.
    """
    lab = dataclasses.replace(lab, ssh_keys=(*lab.ssh_keys, f"ssh-ed25519 {PLACEHOLDER} labkit"))
    found, secrets = {}, BootSecrets(Secret(PLACEHOLDER))
    for blade in blades:
        made = plan(lab, blade, PLACEHOLDER, secrets, base_config(lab, blade), release=release or release_of(blade))
        files = resources(lab, blade, made)
        found[blade.name] = {
            name: hashlib.sha256(one.content).hexdigest() for name, one in files.items() if isinstance(one, Rendered)
        }
    return found


def versions() -> dict[str, str]:
    """What ran this: labkit, Python, the kernel, and the programs and packages that matter."""
    found = {"labkit": __version__, "python": platform.python_version(), "linux": platform.release()}
    found |= {name: version(name) for name in PACKAGES}
    for name, command in PROGRAMS.items():
        if shutil.which(command[0]) is not None:
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
            found[name] = said[0].strip() if said else ""
    return found


def blade_rows(lab: Lab, state: stages.LabState) -> dict[str, dict[str, Any]]:
    """Per blade: its MAC, address, stage, and the seconds of its latest boot."""
    rows = {}
    for blade in lab.blades:
        now = state.blade(blade.name)
        rows[blade.name] = {
            "mac": blade.macs[0],
            "address": str(blade.address),
            "stage": now.stage,
            "seconds": {name: round(seconds, 3) for name, seconds in now.seconds().items()},
            "total_s": round(now.total_s, 3),
        }
    return rows


def describe_images(lab: Lab) -> dict[str, str]:
    """The SHA-256 of each built image; empty where one is not built."""
    try:
        return images.image_digests(lab)
    except LabkitError:
        return {}


def this_life(stream: Iterable[Event]) -> list[Event]:
    """The events since the lab was started last."""
    kept: list[Event] = []
    for event in stream:
        if isinstance(event, events.LabEvent) and event.state == "starting":
            kept = []
        kept.append(event)
    return kept


def write_record(folder: Path, body: Mapping[str, Any], stream: Sequence[Event]) -> None:
    """Write a run's ``run.json`` and ``events.jsonl``."""
    write_json(folder / FILE, {"v": SCHEMA, **body})
    (folder / EVENTS).write_text("".join(events.encode(event) + "\n" for event in stream), encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """A run's record. Raises ParameterError where there is none or it cannot be read."""
    try:
        body = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError("this is no run: it has no run.json", where=str(folder), fix="a folder in runs/") from None
    except ValueError as error:
        fix = "another run: ./lab replay names those that are kept"
        raise ParameterError(f"its run.json cannot be read: {error}", where=str(folder), fix=fix) from None
    if not isinstance(body, dict) or body.get("v") != SCHEMA:
        what = "its run.json is of another version of labkit"
        raise ParameterError(what, where=str(folder), fix="read it with that version")
    return body


def find_run(runs: Path, name: str) -> Path:
    """The folder of a run: a path, a name in ``runs``, or ``last``. Raises ParameterError listing the latest ones."""
    there = sorted(path.parent.name for path in runs.glob(f"*/{FILE}"))
    if name == "last" and there:
        return runs / there[-1]
    for folder in (Path(name), runs / name):
        if (folder / FILE).is_file():
            return folder
    raise ParameterError(f"no run '{name}'", where=str(runs), fix=f"one of {', '.join(there[-5:]) or '(none yet)'}")


def usual_durations(runs: Path) -> dict[str, float]:
    """The seconds each chapter took here: the median of the runs that are kept. Broken records are passed over."""
    took: dict[str, list[float]] = {}
    for path in sorted(runs.glob(f"*/{FILE}"))[-20:]:
        try:
            record = read_record(path.parent)
        except (ParameterError, OSError):
            continue
        for row in record["chapters"]:
            if row["status"] == "done":
                took.setdefault(row["name"], []).append(float(row["seconds"]))
    return {name: statistics.median(seconds) for name, seconds in took.items()}
