"""One warm lab for the tests of the whole: three blades, by ``./lab run``, as an ordinary user."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.rig.front_door import FrontDoor, new_lab
from tests.rig.person import Person


@pytest.fixture(scope="session")
def front_door(person: Person) -> Iterator[FrontDoor]:
    with new_lab(person.folder("lab"), person=person) as door:
        yield door


@pytest.fixture(scope="session")
def first_run(front_door: FrontDoor) -> subprocess.CompletedProcess[str]:
    """The whole workbook on a lab that was not there before."""
    return front_door("run", "--runs", str(front_door.folder / "runs"))
