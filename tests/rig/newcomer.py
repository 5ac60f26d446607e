"""Somebody who has just cloned labkit: the lab that ships, in a checkout that git watches."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .front_door import FrontDoor
from .person import Person

COMMIT = "-c user.name=newcomer -c user.email=newcomer@example.org commit --quiet --message cloned".split()


@dataclass(frozen=True)
class Newcomer(FrontDoor):
    """``./lab`` in a checkout, with nothing said of where a lab is."""

    @property
    def state(self) -> Path:
        return self.folder / ".lab"

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in ("LABKIT_LAB", "LABKIT_STATE")}

    def git(self, *words: str) -> str:
        """What git says in the checkout."""
        command = [*self.prefix, "git", "-C", str(self.folder), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


@contextmanager
def newcomer(person: Person) -> Iterator[Newcomer]:
    """His clone under git, with the lab that ships; the lab is down afterwards, and nothing of it is left there."""
    door = Newcomer(person.clone, person.prefix, person)
    door.git("init", "--quiet")
    try:
        door.git("add", "--all")
        door.git(*COMMIT)
        yield door
    finally:
        door("down", timeout_s=60)
        for made in (".git", ".lab", "runs"):
            shutil.rmtree(door.folder / made, ignore_errors=True)
