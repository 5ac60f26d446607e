"""What a command line needs to be found: help, the version, and completion for shells."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit import __version__
from labkit.cli.arguments import FRONT_DOOR
from labkit.errors import ParameterError

GROUPS = {
    "Start here": ("run", "workbook"),
    "The lab": ("up", "status", "watch", "doctor", "images", "down", "clean"),
    "Blades": (
        "init", "machines", "inventory", "adopt", "forget", "power", "disk", "rehearse", "why", "explain", "export",
        "boot-report", "events", "console", "ssh",
    ),
    "The swarm and its configs": ("swarm", "docker", "docker-env", "ignition"),
    "Afterwards": ("replay",),
    "This checkout": ("setup", "test", "docs", "completion", "version", "help"),
}  # fmt: skip
"""The verbs by what they are for, in the order in which a person meets them."""
SHELLS = {
    "bash": 'eval "$(./lab completion bash)"; for good, write that into ~/.bashrc with the whole path of ./lab',
    "zsh": "./lab completion zsh >FOLDER/_lab, a folder of $fpath",
    "fish": "./lab completion fish >~/.config/fish/completions/lab.fish",
}
"""The shells there is a completion for, each with how it comes by it."""
OF_THE_SCRIPT = {
    "setup": "only install what is missing",
    "test": "lint, types and every test",
    "docs": "make README, the pages of docs/ and the notebooks a site",
}
"""The verbs that ``./lab`` does by itself, before there is a Python: here so that they are completed and suggested."""
NAME = "lab"
"""What shells complete: they look for the last part of ``./lab``."""


def add_verbs(
    verb: Callable[..., argparse.ArgumentParser], make_parser: Callable[[str], argparse.ArgumentParser]
) -> None:
    """Add the verbs with ``verb(name, run, words)``; ``make_parser(prog)`` gives the parser of all verbs."""

    def completion(options: argparse.Namespace) -> int:
        import shtab

        print(shtab.complete(make_parser(NAME), shell=options.shell))
        return 0

    def show_help(options: argparse.Namespace) -> int:
        print(make_parser(FRONT_DOOR).format_help(), end="")
        return 0

    sub = verb("completion", completion, "print a completion script for your shell")
    sub.add_argument("shell", choices=list(SHELLS), help="; ".join(f"{name}: {how}" for name, how in SHELLS.items()))
    verb("version", version, "which labkit this is")
    verb("help", show_help, "all verbs")
    for name, said in OF_THE_SCRIPT.items():
        verb(name, in_the_script, said)


def version(options: argparse.Namespace) -> int:
    """Print which labkit this is."""
    print(f"labkit {__version__}")
    return 0


def in_the_script(options: argparse.Namespace) -> int:
    """Raises ParameterError: this is no labkit's verb."""
    raise ParameterError("the script ./lab does this, in a clone of labkit", fix="call it there: ./lab setup")
