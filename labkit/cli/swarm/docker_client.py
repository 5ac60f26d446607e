"""``./lab docker …`` and ``./lab docker-env``: Docker's own client against the controller's engine."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from labkit.lab.plain_text import raw
from labkit.servers import client
from labkit.servers.controller.docker_client import MISLEADING, docker_command, docker_environment, docker_host

SHELLS = ("sh", "fish")


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words)``, which gives a verb's parser."""
    verb("docker", docker, "Docker's own client, set to the controller's engine: ./lab docker service ls")
    sub = verb(
        "docker-env", docker_env, "set this shell's docker to the controller's engine: eval \"$(./lab docker-env)\""
    )
    sub.add_argument("--unset", action="store_true", help="set it back")
    sub.add_argument("--shell", choices=SHELLS, help="the shell's language (default: as $SHELL says, else sh)")


def split(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are labkit's, and those after ``docker``, which are all Docker's: ``--help`` too."""
    place = 0
    while place < len(given) and given[place].startswith(("--lab", "--state")):
        place += 1 if "=" in given[place] else 2
    if list(given[place : place + 1]) != ["docker"]:
        return list(given), []
    return list(given[: place + 1]), list(given[place + 1 :])


def docker(options: argparse.Namespace) -> int:
    """Become the client; its exit status is ours. Raises ControlError while the lab is down."""
    running = client.connect(options.lab, options.state)
    command = docker_command(running.lab)
    sys.stdout.flush()
    environment = docker_environment(running.lab, running.state, os.environ)
    os.execve(command[0], [*command, *options.words], environment)


def docker_env(options: argparse.Namespace) -> int:
    """Print what a shell has to evaluate. To a person at a terminal it says how."""
    is_fish = (options.shell or Path(os.environ.get("SHELL", "")).name) == "fish"
    if options.unset:
        lines = [_unset(name, is_fish=is_fish) for name in ("DOCKER_HOST", *MISLEADING)]
    else:
        running = client.connect(options.lab, options.state)
        lines = [_unset(name, is_fish=is_fish) for name in MISLEADING]
        lines.append(_set("DOCKER_HOST", docker_host(running.lab, running.state), is_fish=is_fish))
    verb = "./lab docker-env" + (" --unset" if options.unset else "")
    how = f"{verb} | source" if is_fish else f'eval "$({verb})"'
    out = sys.stdout if sys.stdout.isatty() else raw(sys.stdout)  # a path may hold anything, and a shell reads it
    print("\n".join(lines), file=out)
    print(f"# To set this shell so: {how}")
    return 0


def _set(name: str, value: str, *, is_fish: bool) -> str:
    if not is_fish:
        return f"export {name}={shlex.quote(value)}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")  # all that means something within fish's single quotes
    return f"set -gx {name} '{escaped}'"


def _unset(name: str, *, is_fish: bool) -> str:
    return f"set -e {name}" if is_fish else f"unset {name}"
