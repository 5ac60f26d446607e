"""What a blade says of the disk that Docker's data is to be on: whether it is there, and if not why.

PURE. The text is what `labkit.boot.artifacts` has a blade send (``templates/scripts/disk.j2``): a line each for what
became of the disk, for the mark of what is on it, and for that in words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.events import DISK, Event, Note, Trouble
from labkit.lab.plain_text import letters

STATES = ("used", "formatted", "wiped", "refused")
LONGEST = 300


@dataclass(frozen=True)
class DiskReport:
    """``state`` is one of `STATES`; ``mark`` stands for just what is on the disk, and is empty where none was found."""

    state: str
    mark: str
    words: str

    def event(self, blade: str, boot: str) -> Event:
        """The event of it: a trouble where Docker is not on the disk."""
        if self.state != "refused":
            return Note(blade=blade, boot=boot, detail=self.words)
        fix = f"./lab ssh {blade} lsblk -f shows its disks; disk: in lab.yaml names the one to use, or none"
        if self.mark:
            fix = (
                f"if all that is on it may go: ./lab disk wipe {blade}, then boot {blade} again; if not, disk: in "
                f"lab.yaml names another one, or none; ./lab ssh {blade} lsblk -f shows its disks"
            )
        return Trouble(blade=blade, boot=boot, part=DISK, detail=self.words, fix=fix)


def read_disk(text: object) -> DiskReport | None:
    """What such a text says; None for one that makes no sense, or none at all."""
    lines = str(text).splitlines()
    if len(lines) != 3 or lines[0] not in STATES or not re.fullmatch(r"[0-9a-f]{16}|", lines[1]):
        return None
    return DiskReport(lines[0], lines[1], letters(lines[2], LONGEST))
