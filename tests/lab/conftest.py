"""One warm lab for the tests of the whole: three blades, over TFTP and over HTTP, by ``./lab run`` itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from .front_door import FrontDoor, new_lab


@pytest.fixture(scope="session")
def front_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    with new_lab(tmp_path_factory.mktemp("lab")) as door:
        yield door


@pytest.fixture(scope="session")
def first_run(front_door: FrontDoor) -> subprocess.CompletedProcess[str]:
    """The whole workbook on a lab that was not there before."""
    return front_door("run", "--runs", str(front_door.folder / "runs"))
