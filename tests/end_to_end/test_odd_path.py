"""A checkout and a state folder in a path that nothing quotes for us: the lab comes up, and a blade can be switched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.odd import ODD

pytestmark = [pytest.mark.qemu, pytest.mark.apart]
ROOT = Path(__file__).resolve().parents[2]
LAB = """\
name: odd
network: {subnet: 10.83.0.0/24}
storage: {share: true}
blades: [{name: blade1, firmware: uefi}]
"""


@pytest.fixture
def checkout() -> Iterator[Path]:
    """The package by itself, with a Python of its own that finds the packages of ours."""
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        checkout = Path(folder) / ODD
        shutil.copytree(ROOT / "labkit", checkout / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
        (checkout / "lab.yaml").write_text(LAB)
        venv.create(checkout / ".venv", symlinks=True)
        site = sysconfig.get_path("purelib", vars={"base": str(checkout / ".venv")})
        found = [str(checkout), *(path for path in sys.path if path.endswith("-packages"))]
        Path(site, "ours.pth").write_text("".join(f"{path}\n" for path in found))
        yield checkout


def test_a_blade_is_switched_on_and_off(checkout: Path) -> None:
    def labkit(*words: str) -> str:
        python = checkout / ".venv/bin/python"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LABKIT_", "PYTHON"))}
        done = subprocess.run(
            [python, "-m", "labkit", *words], cwd=checkout, env=kept, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    try:
        assert "is up now" in labkit("up")
        assert labkit("power", "status") == "blade1: off\n"
        labkit("power", "on")
        assert labkit("power", "status") == "blade1: on\n"
        assert "there is no swarm yet" in labkit("swarm")
        assert "blade1" in labkit("status")
        labkit("power", "off", "--force")
        assert labkit("power", "status") == "blade1: off\n"
    finally:
        labkit("down")
    assert [path.name for path in (checkout / ".lab").glob("fault-*")] == []
