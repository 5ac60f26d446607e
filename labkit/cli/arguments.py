"""The words of a command line: a parser whose mistakes say what to do, and the types of what may be given."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says a mistake as labkit's other errors are said, with its fix, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.format_usage()}{self.prog}: {message}\n  fix: {self.prog} --help says what may be given\n")


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


def speed(word: str) -> float:
    """How many times as fast; 0 for at once."""
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not (value == 0 or 0.01 <= value <= 1e6):
        raise argparse.ArgumentTypeError(f"{word!r} is no speed: 0, or a number from 0.01 to 1000000")
    return value
