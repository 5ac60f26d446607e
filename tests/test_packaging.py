"""What is shipped, and that its lists agree with each other."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
PINS = {
    canonicalize_name(name): (version, marker)
    for name, version, marker in re.findall(r"^([\w.-]+)==([^\s;\\]+)(?: ; ([^\\]+?))?(?: \\)?$", LOCK, re.M)
}

# Where the module to import is not called as the package is.
MODULES = {"pyyaml": "yaml"}
# Dependencies that are run as programs, and by whom.
PROGRAMS = {"ipykernel": "the kernel of every notebook", "jupyterlab": "./lab workbook"}


def declared() -> list[Requirement]:
    project = PROJECT["project"]
    build = [*PROJECT["build-system"]["requires"], *PROJECT["dependency-groups"]["build"]]
    return [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"]["test"], *build)]


def test_the_lock_has_what_the_project_declares() -> None:
    for requirement in declared():
        version, _ = PINS[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, requirement


def test_every_pin_has_its_hashes_and_no_address() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK.split("\n", 2)[2])
    pins = [block for block in blocks if "==" in block.split("\n")[0]]
    assert len(pins) == len(PINS) > len(declared())
    assert all("--hash=sha256:" in block for block in pins)
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_what_is_installed_is_what_is_locked() -> None:
    from importlib.metadata import distributions

    installed = {canonicalize_name(dist.metadata["Name"]): dist.version for dist in distributions()}
    for name, (version, marker) in PINS.items():
        if not marker or Marker(marker).evaluate():
            assert installed.get(name) == version, f"{name}: run ./lab setup"


def test_conda_gets_the_same_environment() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["project"]["name"]
    [python] = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert PROJECT["project"]["requires-python"] == f">={python.removeprefix('python=')}"
    assert environment["dependencies"][-1] == {"pip": ["-r requirements.lock"]}


def imported() -> set[str]:
    """The top-level names that labkit imports from outside the standard library."""
    names: set[str] = set()
    for path in (ROOT / "labkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"labkit"}


def test_what_is_imported_is_declared() -> None:
    names = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    assert imported() <= {MODULES.get(name, name) for name in names}


def test_what_is_declared_is_used() -> None:
    names = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    assert {MODULES.get(name, name) for name in names - PROGRAMS.keys()} <= imported()


def test_the_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


@pytest.mark.parametrize("script", ["lab", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_ci_runs_what_the_workflow_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in commands
    assert "./lab test" in (ROOT / ".ci/run").read_text()
    assert "./lab test" in (ROOT / "README.md").read_text()


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """Built from a copy, so that nothing is left here; every file beside the modules must travel too."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        files = [str(path.relative_to(ROOT)) for path in (ROOT / "labkit").rglob("*") if path.is_file()]
    else:
        files = tracked.stdout.splitlines()
