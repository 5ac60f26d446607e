"""Known failures, each with a case that causes it, and what the cases need."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit import events
from labkit.lab import Lab, lab_yaml
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.servers import client

NOBODY = 65534
LAB = lab_yaml.parse("name: lab\nblades:\n  - name: blade1\n  - name: blade2\n", Path("lab.yaml"))
BLADE = LAB.blade("blade1")
REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {user: ADMIN, password_file: bmc.password}
blades: [{name: red1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.0.40.201}}]
"""
PASSWORD = Secret("a16bytepassword!")


class Patch:
    """What a case needs of pytest: a folder and patches that are taken back."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch

    def lab_file(self, text: str = "blades: [{name: blade1}]\n") -> Path:
        path = self.folder / "lab.yaml"
        path.write_text(text)
        return path

    def running(self, stream: list[events.Event], lab: Lab = LAB) -> client.RunningLab:
        state = State(self.folder)
        state.events.write_text(
            "".join(events.encode(dataclasses.replace(e, seq=n + 1)) + "\n" for n, e in enumerate(stream))
        )
        return client.RunningLab(lab, state)


Case = Callable[[Patch], object]
"""Causes the failure. What it returns is not looked at."""
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def keep(cause: Case) -> Case:
        CASES[name] = cause
        return cause

    return keep


def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be an ordinary user for a while."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)
