"""The words of a command line: a parser whose mistakes say what to do, and the types of what may be given."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

FRONT_DOOR = "./lab"
"""What people type: messages, usage and help name labkit's verbs by it."""


class Parser(argparse.ArgumentParser):
    """Says a mistake as labkit's other errors are said, with its fix, and ends with status 2."""

    _advice = ""

    def error(self, message: str) -> NoReturn:
        fix = self._advice or f"{self.prog} --help says what may be given"
        self.exit(2, f"{self.format_usage()}{self.prog}: {message}\n  fix: {fix}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """argparse's hook for a word that has to be one of some: names the one that was meant, if that can be told."""
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            near = difflib.get_close_matches(str(value).lower(), known, n=1)
            self._advice = f"did you mean '{near[0]}'?" if near else ""
            if isinstance(action, argparse._SubParsersAction):  # --help has all verbs, with what they do
                self.error(f"there is no verb '{value}'")
            self.error(f"{str(value)!r} is none of {', '.join(known)}")


class FrontParser(Parser):
    """The parser of all verbs: its help lists them by what they are for. ``told`` are their sentences, by verb."""

    def __init__(self, *, groups: Mapping[str, Sequence[str]], **given: Any) -> None:
        super().__init__(**given)
        self.told: dict[str, str] = {}
        self._groups = groups

    def format_help(self) -> str:
        grouped = {verb for verbs in self._groups.values() for verb in verbs}
        groups = {**self._groups, "More": [verb for verb in self.told if verb not in grouped]}
        width = max(map(len, self.told), default=0)
        text = f"{self.format_usage()}\n{self.description}\n"
        for title, verbs in groups.items():
            rows = "".join(f"  {verb.ljust(width)}  {self.told[verb]}\n" for verb in verbs if verb in self.told)
            text += f"\n{title}\n{rows}" if rows else ""
        formatter = self._get_formatter()
        formatter.start_section("Options")
        for action in self._actions:
            if not isinstance(action, argparse._SubParsersAction):
                formatter.add_argument(action)
        formatter.end_section()
        return f"{text}\n{formatter.format_help()}\n{self.prog} VERB --help says more of each\n"

    def format_usage(self) -> str:
        return f"usage: {self.prog} [--lab FILE] [--state FOLDER] VERB …\n"


def sub_verbs(
    parser: argparse.ArgumentParser,
) -> Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]:
    """Gives what adds verbs below a verb, as ``verb(name, run, words)``, which gives their parsers."""
    verbs = parser.add_subparsers(metavar="VERB")

    def verb(name: str, run: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=words, description=words)
        sub.set_defaults(run=run)
        return sub

    return verb


def path(word: str) -> Path:
    """A file or folder. An empty word is most often a variable of a shell that is not set."""
    if not word:
        raise argparse.ArgumentTypeError("the name of a file or folder is empty")
    return Path(word)


def port(word: str) -> int:
    """A TCP port."""
    if not (word.isascii() and word.isdigit() and len(word) < 6 and 1 <= int(word) <= 65535):
        raise argparse.ArgumentTypeError(f"{word!r} is no port: a number from 1 to 65535")
    return int(word)


def lines(word: str) -> int:
    """How many lines, none at all too."""
    if not (word.isascii() and word.isdigit() and len(word) < 7):
        raise argparse.ArgumentTypeError(f"{word!r} is no number of lines: 0 or more")
    return int(word)


def count(word: str) -> int:
    """How many, at least one."""
    if not (word.isascii() and word.isdigit() and len(word) < 5 and int(word)):
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 1 to 9999")
    return int(word)


def speed(word: str) -> float:
    """How many times as fast; 0 for at once."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not (value == 0 or 0.01 <= value <= 1e6):
        raise argparse.ArgumentTypeError(f"{word!r} is no speed: 0, or a number from 0.01 to 1000000")
    return value
