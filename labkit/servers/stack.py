"""A stack deployed from Compose files: read and started by Docker's own client, watched by labkit's judge."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from labkit.errors import ParameterError, SwarmError
from labkit.lab.state import text_of
from labkit.servers.client import RunningLab
from labkit.servers.controller.docker_client import descriptor_of, docker_command, docker_environment
from labkit.swarm.engine import api
from labkit.swarm.services import deploy
from labkit.swarm.services.health import ServiceState
from labkit.swarm.stack.as_written import dropped, refused
from labkit.swarm.stack.surroundings import NAMESPACE
from labkit.swarm.stack.there import Finding

WATCH_S = 600.0
"""How long a stack may take to come up: blades fetch its images first."""
COMMON = re.compile(r"(docker-)?(compose|stack)([.-].*)?")
"""Names of files that say nothing of the stack: its folder's does."""


def stack_name(file: Path) -> str:
    """What a stack from this file is called where nobody says: the file's name, or that of its folder.

    Raises ParameterError where neither has a letter or digit that a stack's name may have.
    """
    stem = file.name.rpartition(".")[0] or file.name
    word = file.absolute().parent.name if COMMON.fullmatch(stem) else stem
    name = re.sub(r"[^a-z0-9_-]+", "-", word.lower()).strip("-_")
    if not name:
        raise ParameterError("the stack has no name", where=str(file), fix="./lab swarm deploy --name NAME FILE")
    return name


def read_config(running: RunningLab, files: Sequence[Path]) -> dict[str, Any]:
    """The files as ``docker stack config`` gives them: merged, with the variables of this shell, in the long form.

    Raises SwarmError in the client's own words, with all that a stack has not by the lines of the files.
    """
    done = _client(running, ["stack", "config", *_files(files)], capture=True)
    where = ", ".join(map(str, files))
    if done.returncode:
        said = done.stderr.strip()
        found = [finding for file in files for finding in refused(str(file), text_of(file))]
        what = "\n".join([f"Docker does not take this: {said[-2000:]}", *map(str, found)])
        raise SwarmError(what, where=where, fix=_refusal_fix(said, len(found)))
    try:
        found = yaml.safe_load(done.stdout)
    except yaml.YAMLError as error:
        raise SwarmError(f"what Docker made of it is no YAML: {error}", where=where) from None
    if not isinstance(found, dict) or not found.get("services"):
        raise SwarmError("it has no services", where=where, fix="write services: into it")
    return found


def as_written(files: Sequence[Path]) -> tuple[Finding, ...]:
    """What Docker takes in another way than the files mean, and says nothing of: by their lines."""
    found: list[Finding] = []
    for file in files:
        dotenv = re.findall(r"(?m)^\s*(?:export\s+)?(\w+)\s*=", text_of(file.absolute().parent / ".env"))
        found += dropped(str(file), text_of(file), os.environ, dotenv)
    return tuple(found)


def _refusal_fix(said: str, count: int) -> str:
    if any(sign in said for sign in ("unknown flag", "unknown command", "is not a docker command")):
        return "Docker's client has to be 23 or newer; './lab docker version' tells"
    if "no such file" in said:
        return "put that file there, or correct its name"
    return "correct each of these lines" if count else "correct the file"


@dataclass(frozen=True)
class Outcome:
    """What became of a stack's service: its last state, or why it did not come up."""

    name: str
    state: ServiceState | None
    error: SwarmError | None = None


def deploy_stack(running: RunningLab, name: str, files: Sequence[Path], *, more: Sequence[str] = ()) -> str:
    """``docker stack deploy``, with ``more`` options; what it said. Raises SwarmError with its own words."""
    done = _client(running, ["stack", "deploy", *_files(files), *more, name], capture=True)
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
        fix = f"what came before that is there: ./lab docker stack services {name}; correct it and deploy again"
        if "only updates to Labels are allowed" in said:
            fix = "swarm changes no secret: give the new one a name of its own in the file, as in key_2"
        raise SwarmError(f"Docker could not deploy the stack '{name}': {said}", fix=fix)
    lines = f"{done.stdout}{done.stderr}".strip().splitlines()
    return "\n".join(line for line in lines if not line.startswith(ADVICE))


ADVICE = ("Since --detach=false was not specified", "In a future release, --detach=false")
"""What Docker 26's client says to everybody who deploys a stack, and to nobody's use: labkit waits for it."""


def updates_of(running: RunningLab, name: str) -> dict[str, str]:
    """When the last update of each service of a stack began, by its name; empty where there was none."""
    found = _services(running, name)
    return {str(raw["Spec"]["Name"]): str((raw.get("UpdateStatus") or {}).get("StartedAt", "")) for raw in found}


def _services(running: RunningLab, name: str) -> list[dict[str, Any]]:
    with running.engine() as engine:
        return list(api(engine).services({"label": f"{NAMESPACE}={name}"}))


def watch_stack(
    running: RunningLab, name: str, before: Mapping[str, str], progress: Callable[[str], None]
) -> tuple[Outcome, ...]:
    """Wait until every service of a stack has come up, or is known not to: all at once, by their names. One that is to
    have no replica is not waited for.

    ``before`` is what `updates_of` said before the stack was deployed: an update that has begun since and was taken
    back is a failure, whatever runs now.
    """

    resting = {
        str(raw["Spec"]["Name"])
        for raw in _services(running, name)
        if (raw["Spec"]["Mode"].get("Replicated") or {}).get("Replicas") == 0
    }

    def watch(service: str) -> Outcome:
        if service in resting:
            return Outcome(service, None)
        try:
            with running.engine() as engine:
                state = deploy.watch(engine, service, WATCH_S, progress=lambda now: progress(str(now)))
        except SwarmError as error:
            return Outcome(service, None, error)
        began = updates_of(running, name).get(service, "")
        if state.update.startswith("rollback") and began != before.get(service, ""):
            what = f"service '{service}' was not updated: swarm took it back, and what ran before runs on"
            return Outcome(service, state, SwarmError(what, fix=f"./lab docker service ps {service} shows why"))
        return Outcome(service, state)

    names = sorted(updates_of(running, name))
    if not names:
        raise SwarmError(f"the stack '{name}' has no services", fix="write services: into its file")
    with ThreadPoolExecutor(len(names)) as pool:
        return tuple(pool.map(watch, names))


def _files(files: Sequence[Path]) -> list[str]:
    return [word for file in files for word in ("--compose-file", str(file))]


def _client(running: RunningLab, words: Sequence[str], *, capture: bool) -> subprocess.CompletedProcess[str]:
    command = docker_command(running.lab)
    held = descriptor_of(command)
    try:
        return subprocess.run(
            [*command, *words], env=docker_environment(running.lab, running.state, os.environ), pass_fds=held,
            stdin=subprocess.DEVNULL, capture_output=capture, text=True, errors="replace", check=False,
        )  # fmt: skip
    finally:
        for descriptor in held:
            os.close(descriptor)
