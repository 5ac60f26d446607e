"""One warm lab and one JupyterLab for all tests of the workbook in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.front_door import FRONT_DOOR, FrontDoor, new_lab
from tests.rig.jupyter import SHOTS, workbook
from tests.rig.person import Person

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LAB = """\
name: browser
boot: ipxe
network: {subnet: 10.94.0.0/24}
blades: [{name: blade1}, {name: blade2}]
"""
IMPORTS = (
    "from labkit import ui\nfrom labkit.servers.client import ensure_lab, find_lab\n"
    "from labkit.lab.lab_yaml import load\n"
    "lab = load(find_lab())"
)
BOOKS = {
    "roles": (f"{IMPORTS}\nroles = ui.choose_roles(lab)", "print(dict(roles.value))"),
    "errors": (
        IMPORTS,
        "from labkit.servers.client import choose_blades\nchoose_blades(lab, ['blade9'])",
        "from labkit.errors import PowerError\nfrom labkit.machines import power\n"
        "power.set_power('blade1', lab.blades[0].bmc, None, 'explode')",
        "print(swarm)",
    ),
}
"""Notebooks of the tests' own, by name: the source of each cell."""


@pytest.fixture(scope="session")
def door(person: Person) -> Iterator[FrontDoor]:
    with new_lab(person.folder("b"), LAB, person) as door:
        shutil.copytree(FRONT_DOOR.parent / "notebooks", door.folder / "notebooks")
        for name, sources in BOOKS.items():
            (door.folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(book(*sources)))
        door.own("notebooks")
        assert door("up", timeout_s=180).returncode == 0
        yield door


def book(*sources: str) -> dict[str, Any]:
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{number}", "metadata": {}, "source": source, "outputs": [],
         "execution_count": None}
        for number, source in enumerate(sources)
    ]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="session")
def address(door: FrontDoor) -> Iterator[str]:
    with workbook(door) as address:
        yield address


@pytest.fixture(autouse=True)
def what_failed(request: pytest.FixtureRequest, browser: Browser) -> Iterator[None]:
    """A picture of each page that a test did not come to close."""
    yield
    for context in browser.contexts:
        for number, page in enumerate(context.pages):
            SHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SHOTS / f"failed-{request.node.originalname}-{number}.png")
            page.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()
