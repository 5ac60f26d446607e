"""The fast tests under every other Python that labkit promises and that is to be had here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.rig.person import ROOT, copy_checkout

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
HERE = "{}.{}".format(*sys.version_info)


def interpreter(version: str) -> str:
    """Where a Python is: on the path, or where pyenv puts it. Empty where it is not."""
    pyenv = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python3"))
    return shutil.which(f"python{version}") or next(map(str, pyenv), "")


def test_every_python_that_is_promised_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {one.rpartition(" :: ")[2] for one in project["classifiers"] if "Python :: 3." in one}
    assert (named, project["requires-python"]) == (set(VERSIONS), f">={VERSIONS[0]}")
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert f"python: {json.dumps(VERSIONS)}" in workflow


@pytest.mark.soak
@pytest.mark.parametrize("version", [one for one in VERSIONS if one != HERE and interpreter(one)])
def test_the_fast_tests_pass_under_another_python(tmp_path: Path, version: str) -> None:
    copy_checkout(tmp_path)
    environment = {**os.environ, "LABKIT_PYTHON": interpreter(version)}
    done = subprocess.run(
        ["./lab", "test", "--fast", "-q"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert (tmp_path / ".venv/lib" / f"python{version}").is_dir()
