"""The command line of ``./lab ignition``: butane's and ct's flags, with one or two dashes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

_CT_FLAGS = ("pretty", "strict", "platform", "files-dir", "in-file", "out-file", "help", "version")
_CT_SWITCHES = ("pretty", "strict", "help", "version")
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
VERSION = "labkit ignition: what butane 0.29.0, ct 0.9.4 of Flatcar and ignition-validate 2.26.0 do"


class _Parser(argparse.ArgumentParser):
    """Says a mistake with its fix, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.format_usage()}{self.prog}: {message}\n  fix: {self.prog} --help says what may be given\n")


def parser() -> argparse.ArgumentParser:
    top = _Parser(prog="./lab ignition", description="Write, check and move Ignition configs.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _transpile(verbs.add_parser("transpile", help="Butane or Container Linux Config to Ignition"))
    check = verbs.add_parser("validate", help="check an Ignition config")
    check.add_argument("file", nargs="?", default="-", metavar="FILE")
    check.add_argument("-V", "--version", action="version", version=VERSION)
    check.add_argument(
        "--legacy", action="store_true", help="take spec 2.0 to 2.4 too, which today's systems do not read"
    )
    check.add_argument("--fixes", action="store_true", help="say what to do about each remark")
    check.add_argument("--lint", action="store_true", help="also look into the units")
    move = verbs.add_parser("migrate", help="spec 2 to spec 3, or a Container Linux Config to Butane")
    move.add_argument("file", nargs="?", default="-", metavar="FILE")
    move.add_argument("--to", default="", help="3.3.0, or flatcar or fcos for a Container Linux Config")
    move.add_argument("-p", "--pretty", action="store_true", help="indent the JSON")
    move.add_argument("-o", "--output", metavar="FILE")
    tell = verbs.add_parser("explain", help="say in words what a machine with this config will do")
    tell.add_argument("file", nargs="?", default="-", metavar="FILE")
    for verb in (move, tell):
        verb.add_argument("--platform", default="", help="whose metadata a Container Linux Config uses")
        verb.add_argument("-d", "--files-dir", type=Path, metavar="DIR", help="the folder that local files come from")
    tell.add_argument("--diff", metavar="FILE", help="say how it differs from this config")
    return top


def _transpile(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("file", nargs="?", default="-", metavar="FILE")
    verb.add_argument("-V", "--version", action="version", version=VERSION)
    verb.add_argument(
        "--from", dest="notation", choices=["butane", "clc"], help="the notation; without it a variant means Butane"
    )
    verb.add_argument("-s", "--strict", action="store_true", help="fail on warnings")
    verb.add_argument("-d", "--files-dir", metavar="DIR", help="the folder that local files come from")
    verb.add_argument("-p", "--pretty", action="store_true", help="indent the JSON")
    verb.add_argument("-c", "--check", action="store_true", help="report only")
    verb.add_argument("-r", "--raw", action="store_true", help="always Ignition (it always is)")
    verb.add_argument(
        "--raw-errors",
        action="store_true",
        help="one line a remark, as butane prints them; means Butane unless --from says otherwise",
    )
    verb.add_argument("--fixes", action="store_true", help="say what to do about each remark in every layout")
    verb.add_argument("--color", "--colour", default="auto", metavar="WHEN", help="auto, always or never")
    verb.add_argument("--platform", default="", help="ec2, custom, …: whose metadata a Container Linux Config uses")
    verb.add_argument("--in-file", metavar="FILE", help=argparse.SUPPRESS)
    verb.add_argument("-o", "--output", "--out-file", metavar="FILE", help="write there instead of standard output")


def normalise(argv: list[str]) -> list[str]:
    """ct's flags have one dash (``-platform ec2``, ``-pretty=true``), and butane's ``--color`` alone means always."""
    result = []
    for word in argv:
        name, equals, value = word.lstrip("-").partition("=")
        dashes = len(word) - len(word.lstrip("-"))
        if dashes in (1, 2) and name in _CT_SWITCHES and equals and value in (*_TRUE, *_FALSE):
            result += [f"--{name}"] if value in _TRUE else []
        elif dashes == 1 and name in _CT_FLAGS:
            result.append("-" + word)
        elif word in ("--color", "--colour"):
            result.append(f"{word}=always")
        else:
            result.append(word)
    return result
