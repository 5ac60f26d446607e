"""Plain papermill as a way in: every chapter from two folders, and what it says to a value that cannot be."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.workbook import BOOK
from tests.rig.front_door import FRONT_DOOR, FrontDoor

pytestmark = pytest.mark.notebook
NOTEBOOKS = FRONT_DOOR.parent / "notebooks"
QUIET = [one.name for one in BOOK if one.name != "05-day-two"]
"""Those that take seconds on a warm lab; the last one reboots blades, and has a test of its own."""


@pytest.fixture(scope="session")
def clone(front_door: FrontDoor) -> Path:
    """The warm lab's folder as a clone has it: ``lab.yaml``, and the notebooks beside it."""
    shutil.copytree(NOTEBOOKS, front_door.folder / "notebooks")
    front_door.own("notebooks")
    return front_door.folder


@pytest.mark.parametrize(("below", "notebooks"), [(".", "notebooks"), ("notebooks", ".")], ids=["above", "beside"])
@pytest.mark.parametrize("chapter", QUIET)
def test_each_chapter_runs_with_its_defaults(
    first_run: subprocess.CompletedProcess[str],
    front_door: FrontDoor,
    clone: Path,
    chapter: str,
    below: str,
    notebooks: str,
) -> None:
    done = front_door.papermill(chapter, clone / below, notebooks, LABKIT_LAB="")
    assert done.returncode == 0, done.stderr[-3000:]


def test_from_anywhere_the_lab_has_to_be_named(
    first_run: subprocess.CompletedProcess[str], front_door: FrontDoor
) -> None:
    notebooks = str(front_door.root / "notebooks")
    done = front_door.papermill("02-ignition-authoring", Path("/"), notebooks)
    assert done.returncode == 0, done.stderr[-3000:]
    for chapter in ("00-start", "02-ignition-authoring"):
        done = front_door.papermill(chapter, Path("/"), notebooks, LABKIT_LAB="")
        assert done.returncode != 0
        assert "no lab.yaml here" in done.stderr and "LABKIT_LAB=" in done.stderr and "--lab" not in done.stderr


@pytest.mark.apart
@pytest.mark.parametrize(
    ("chapter", "name", "text", "value"),
    [
        ("01-pxe-setup", "timeout_s", "0", 0),
        ("02-ignition-authoring", "config", "nowhere.yaml", "nowhere.yaml"),
        ("03-swarm-bootstrap", "managers", '["blade9"]', ["blade9"]),
        ("04-nginx-service", "port", "abc", "abc"),
        ("04-nginx-service", "port", "99999", 99999),
        ("05-day-two", "blades", '["blade1"]', ["blade1"]),
    ],
)
def test_a_wrong_value_ends_at_the_second_cell(
    tmp_path: Path, chapter: str, name: str, text: str, value: object
) -> None:
    """In the box, with the words of ``./lab run``, and nothing is brought up for it."""
    door = FrontDoor(tmp_path)
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}, {name: blade2}]\n")
    done = door.papermill(chapter, tmp_path, str(NOTEBOOKS), f"{name}={text}", timeout_s=120)
    assert done.returncode != 0
    by_run = door("run", "-p", f"{name}={json.dumps(value)}", *(["--day-two"] if "05" in chapter else []), timeout_s=60)
    assert by_run.returncode == 2
    said = by_run.stderr.strip().splitlines()
    assert all(line in done.stderr for line in said), (said, done.stderr)
    cells = json.loads((tmp_path / f"{chapter}.out.ipynb").read_text())["cells"]
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code" and cell.get("outputs")]
    boxes = [out for out in outputs[-1] if "labkit-error" in str(out.get("data", {}).get("text/html"))]
    assert boxes and "What to do" in str(boxes[0]["data"])
    ran = [cell for cell in cells if cell["cell_type"] == "code" and cell.get("execution_count")]
    assert len(ran) == 3, "the parameters, what was given, and the cell that checks them"
    assert not door.state.exists()
