"""``labkit VERB``: one thin command a verb, over the functions notebooks call too.

Everything a person should read goes to standard output, progress and errors to standard error. Exit status 0 is done,
1 did not work, 2 a mistake in what was asked, 70 a fault of labkit's own (`labkit.lab.process.faults`), 130
interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labkit import __version__
from labkit.cli import arguments as words
from labkit.cli import diagnosis, explain, export, front, images, lab, machines, swarm, workbook
from labkit.cli.answers import find_state
from labkit.cli.swarm import docker_client
from labkit.errors import MachineError
from labkit.lab.process import faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit status is the error's own where there is one."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = argparse.Namespace(lab=None, state=None)
    return faults.guard(lambda: _run_words(given, options), given, lambda: find_state(options).logs)


def _run_words(given: list[str], options: argparse.Namespace) -> int:
    if os.geteuid() == 0:  # what it makes is for the lab's owner and its servers to read
        os.umask(0o022)
    try:
        Path.cwd()
    except OSError:
        raise MachineError("the current folder is gone, or may not be read", fix="cd to another one") from None
    if "ignition" in given[:1]:
        from labkit.ignition.cli import main as ignition

        return ignition(given[1:])
    ours, options.words = docker_client.split(given)
    _parser().parse_args(ours, options)
    return int(options.run(options) or 0)


def _parser(prog: str = words.FRONT_DOOR) -> argparse.ArgumentParser:
    said_of_all = "labkit: PXE-boots a rack of blades into a Docker Swarm, and shows every step of it"
    parser = words.FrontParser(prog=prog, description=said_of_all, groups=front.GROUPS)
    parser.add_argument("--version", action="version", version=f"labkit {__version__}")
    parser.add_argument(
        "--lab", type=words.path, help="the lab file (default: $LABKIT_LAB, else lab.yaml here or above)"
    )
    parser.add_argument(
        "--state", type=words.path, help="the state folder (default: $LABKIT_STATE, else .lab beside the lab file)"
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB", parser_class=words.Parser)

    def verb(name: str, run: Any, said: str, *, as_json: bool = False) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=said, description=said)
        parser.told[name] = said
        sub.set_defaults(run=run, json=False)
        if as_json:
            sub.add_argument("--json", action="store_true", help="print JSON")
        return sub

    for room in (lab, workbook, machines, explain, export, diagnosis, swarm, images):
        room.add_verbs(verb)
    parser.told["ignition"] = "transpile, validate, explain and migrate configs"
    verbs.add_parser("ignition", help=parser.told["ignition"])  # `_run_words` gives it to labkit.ignition's own parser
    front.add_verbs(verb, _parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
