"""README's two commands on another Debian than the one the tests run on, by a person with sudo, from nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.state import State
from tests.lab.other_suite import HOME, Suite, codename, other_suite

LAB = """\
name: other-suite
network: {subnet: 10.83.0.0/24}
storage: {share: true}
blades:
  - {name: blade1}
"""
LAB_FOLDER = f"{HOME}/lab of mine"


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with other_suite() as suite:
        yield suite


def checked(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args[-3:]}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


@pytest.mark.notebook
def test_the_front_door_opens_from_nothing(suite: Suite) -> None:
    checked(suite("mkdir", LAB_FOLDER))
    (suite.root / LAB_FOLDER[1:] / "lab.yaml").write_text(LAB)
    said = checked(suite(f"{HOME}/labkit/lab", "run", folder=LAB_FOLDER, timeout_s=1200))
    [row] = [line.split() for line in said.splitlines() if line.startswith("blade1")]
    assert row[-1] == "200" and "ready" in row
    checked(suite(f"{HOME}/labkit/lab", "down", folder=LAB_FOLDER, timeout_s=120))
    assert suite.processes() == []
    assert f"lab{State(Path(LAB_FOLDER, '.lab')).tag}" not in [link.name for link in Path("/sys/class/net").iterdir()]


@pytest.mark.notebook
def test_the_fast_tests_pass(suite: Suite) -> None:
    said = checked(suite("./lab", "test", "--fast", "-q", folder=f"{HOME}/labkit", timeout_s=1200))
    assert " passed" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "suite"),
    [("VERSION_CODENAME=bookworm", "trixie"), ("VERSION_CODENAME=trixie", "bookworm"), ("ID=ubuntu", "trixie")],
)
def test_the_other_suite(line: str, suite: str) -> None:
    assert codename(f"NAME=x\n{line}\n") == suite
