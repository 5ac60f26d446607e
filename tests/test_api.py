"""What ``import labkit`` gives: the names, each the thing itself, nothing before it is asked for, and the example."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import labkit
from labkit.boot import plan
from labkit.lab import lab_yaml
from labkit.servers import client

ROOT = Path(__file__).resolve().parent.parent
NAMES = [
    "Blade", "BootPlan", "Lab", "LabkitError", "RunningLab", "connect", "ensure_blades", "ensure_lab", "find_lab",
    "follow_events", "load_lab", "plan", "shut_down", "wait_blades",
]  # fmt: skip


def test_the_names() -> None:
    assert labkit.__all__ == NAMES
    assert all(callable(getattr(labkit, name)) for name in NAMES)
    assert (labkit.plan, labkit.load_lab, labkit.ensure_lab) == (plan, lab_yaml.load, client.ensure_lab)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="module 'labkit' has no attribute 'ensure_peace'"):
        labkit.ensure_peace  # noqa: B018 - asking is the test


def test_nothing_comes_before_it_is_asked_for() -> None:
    look = "import sys, labkit; print([name for name in sys.modules if name.startswith(('labkit.', 'docker'))])"
    told = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"


def test_the_example_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("LABKIT_LAB", raising=False)
    [example] = doctest.DocTestFinder(recurse=False).find(labkit)
    result = doctest.DocTestRunner().run(example)
    assert (result.failed, result.attempted) == (0, 3)
