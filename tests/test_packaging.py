"""What is shipped, and that its lists agree with each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .test_rooms import imports

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
BLOCKS = re.findall(r"^[\w.-]+==(?:.|\n)*?(?=^\S|\Z)", LOCK, re.M)  # a pin with its hashes
PINS = [Requirement(block.split(" \\")[0]) for block in BLOCKS]

# Where the module to import is not called as the package is.
MODULES = {"ipython": "IPython", "jupyter-client": "jupyter_client", "pyyaml": "yaml"}


OWN = ("keyring",)
"""Extras that somebody installs himself, and the lock has not."""


def declared() -> list[Requirement]:
    project = PROJECT["project"]
    build = [*PROJECT["build-system"]["requires"], *PROJECT["dependency-groups"]["build"]]
    extras = [text for name, extra in project["optional-dependencies"].items() if name not in OWN for text in extra]
    return [Requirement(text) for text in (*project["dependencies"], *extras, *build)]


def pinned() -> dict[str, str]:
    """The version of each package that the lock has for this Python."""
    here = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}


def test_the_lock_has_what_the_project_declares() -> None:
    for requirement in declared():
        assert pinned()[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_every_pin_has_its_hashes_and_no_address() -> None:
    assert len(BLOCKS) == len(re.findall(r"^[\w.-]+==", LOCK, re.MULTILINE)) > len(declared())
    assert all("--hash=sha256:" in block for block in BLOCKS)
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_what_is_installed_is_what_is_locked() -> None:
    installed: dict[str, str] = {canonicalize_name(dist.metadata["Name"]): dist.version for dist in distributions()}
    for name, version in pinned().items():
        assert installed.get(name) == version, f"{name}: run ./lab setup"


def test_conda_gets_the_same_environment() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["project"]["name"]
    [python] = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert PROJECT["project"]["requires-python"] == f">={python.removeprefix('python=')}"
    assert environment["dependencies"][-1] == {"pip": ["-r requirements.lock"]}


def imported() -> set[str]:
    """The top-level names that labkit imports from outside the standard library."""
    names = {name.split(".")[0] for path in (ROOT / "labkit").rglob("*.py") for name in imports(path)}
    return names - sys.stdlib_module_names - {"labkit"}


def test_what_is_imported_is_declared() -> None:
    extras = [text for name in OWN for text in PROJECT["project"]["optional-dependencies"][name]]
    names = {canonicalize_name(Requirement(text).name) for text in (*PROJECT["project"]["dependencies"], *extras)}
    assert imported() <= {MODULES.get(name, name) for name in names}


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


@pytest.mark.parametrize(("expect_all", "status"), [("0", 0), ("1", 1)])
def test_a_skip_is_a_failure_where_all_is_expected(expect_all: str, status: int, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text("import pytest\ndef test_it(): pytest.skip('no such machine')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path)]
    # Without the plugins that are installed here: it is about our own, and they take seconds to load.
    environment = {**os.environ, "LABKIT_EXPECT_ALL": expect_all, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == status
    assert ("no such machine (LABKIT_EXPECT_ALL=1: nothing may be skipped)" in done.stdout) == bool(status)


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """Built from a copy, so that nothing is left here."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "labkit", source / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    files = {str(path.relative_to(source)) for path in (source / "labkit").rglob("*") if path.is_file()}
    # As pip asks for it, without pip: that starts the backend three times.
    build = f"import sys; from {PROJECT['build-system']['build-backend']} import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("labkit/")}
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "labkit = labkit.cli:main" in archive.read(entry_points).decode()
    assert packed == files
