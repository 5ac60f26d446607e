"""What an executed notebook tells of its run, whoever ran it: a person in JupyterLab, or papermill."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.workbook.chapters import source_of
from tests.rig.front_door import FrontDoor

DIGESTS = "02a1c006"
ARTIFACTS: Mapping[str, tuple[str, ...]] = {
    "00-start": (),
    "01-pxe-setup": ("fadd58b9", "a90b5e37"),
    "02-ignition-authoring": ("18cfff37", "6bced88a", "cc440657", "acc2da7b", "198c7bed", "fbe6965f", DIGESTS),
    "03-swarm-bootstrap": (),
    "04-nginx-service": ("66b12e76",),
    "05-day-two": (),
}
"""The cells, by chapter, that print what is served or made: plans, configs, archives, digests, a Compose file."""
CHOSEN = re.compile(r"^(?:blades|system|roles): .*$", re.MULTILINE)
ACTED_ON = re.compile(r"^(?:up already|booted): (\w+(?:, \w+)*)(?:; booted: (\w+(?:, \w+)*))?$", re.MULTILINE)


@dataclass(frozen=True)
class Executed:
    """A run: the cells in the order in which they ran, the asserts that held, what was chosen, the blades that were
    brought up for it, and the SHA-256 of what each cell of `ARTIFACTS` printed."""

    order: list[str]
    held: list[str]
    choices: list[str]
    blades: set[str]
    artifacts: dict[str, str]


def read_executed(path: Path, chapter: str) -> Executed:
    """Read an executed notebook. The cell in which papermill puts parameters is none of the chapter's."""
    book = json.loads(path.read_text(encoding="utf-8"))
    own = [cell for cell in book["cells"] if "injected-parameters" not in cell["metadata"].get("tags", ())]
    ran = [cell for cell in own if cell["cell_type"] == "code" and cell["execution_count"]]
    ran.sort(key=lambda cell: int(cell["execution_count"]))
    well = [cell for cell in ran if all(output["output_type"] != "error" for output in cell["outputs"])]
    text = {cell["id"]: printed(cell) for cell in well}
    return Executed(
        order=[cell["id"] for cell in ran],
        held=[check for cell in well for check in asserts(source_of(cell))],
        choices=[line for said in text.values() for line in CHOSEN.findall(said)],
        blades={name for said in text.values() for found in ACTED_ON.findall(said) for name in names_in(found)},
        artifacts={name: digest(text[name]) for name in ARTIFACTS[chapter] if name in text},
    )


def digest(text: str) -> str:
    """The SHA-256 of what a cell printed."""
    return hashlib.sha256(text.encode()).hexdigest()


def names_in(lists: tuple[str, ...]) -> set[str]:
    """The names in lists such as ``blade1, blade2``."""
    return {name for names in lists if names for name in names.split(", ")}


def shown_digests(path: Path) -> dict[str, str]:
    """The digests that chapter 2 shows, by file; none in another chapter."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    rows = [line.split(" ", 1) for cell in cells if cell["id"] == DIGESTS for line in printed(cell).splitlines()]
    return {name: sha256 for sha256, name in rows}


def printed(cell: Mapping[str, Any]) -> str:
    """All that a cell printed."""
    streams = [output["text"] for output in cell["outputs"] if output["output_type"] == "stream"]
    return "".join(text if isinstance(text, str) else "".join(text) for text in streams)


def asserts(source: str) -> list[str]:
    """The checks in a cell, as Python writes them."""
    return [ast.unparse(node.test) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


def run_headless(door: FrontDoor, chapter: str, **parameters: object) -> Path:
    """Run a chapter by papermill on the same lab; the executed copy."""
    target = door.folder / f"headless-{chapter}.ipynb"
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    given = [word for name, text in texts.items() for word in ("-p", name, text)]
    done = subprocess.run(
        [*door.prefix, str(door.root / ".venv/bin/papermill"), f"{chapter}.ipynb", str(target), *given],
        env=door.environment, cwd=door.root / "notebooks", capture_output=True, text=True, timeout=900,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return target
