"""What every verb begins and ends with: the lab that its options mean, and what it says."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from labkit.lab import Lab, lab_yaml
from labkit.lab.state import State
from labkit.servers import client


def lab_path(options: argparse.Namespace) -> Path:
    """The lab file that is meant. Raises LabFileError where there is none."""
    return client.find_lab(options.lab)


def find_state(options: argparse.Namespace) -> State:
    """The state folder of that lab."""
    return client.find_state(lab_path(options), options.state)


def load_lab(options: argparse.Namespace) -> Lab:
    """The lab as its file has it. Raises LabFileError."""
    return lab_yaml.load(lab_path(options))


def connect(options: argparse.Namespace) -> client.RunningLab:
    """The lab that is up. Raises MachineError where it is not."""
    return client.connect(options.lab, options.state)


def say(text: str) -> None:
    """Progress, and what to do next: to standard error, so that answers can be piped."""
    print(text, file=sys.stderr, flush=True)


def agrees(question: str) -> bool:
    """Ask a person; without a terminal nobody agrees."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def terminal_width() -> int | None:
    """How many letters a line of an answer may have; None where it is not for a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def answer(value: Any, as_json: bool, text: str) -> None:
    """What was asked for, for a program or for a person."""
    print(json.dumps(value, indent=1, default=str) if as_json else text)
