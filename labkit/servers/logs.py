"""The logs of a lab's parts and the consoles of its blades, kept from filling the disk."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

MOST_B = 16 << 20
"""A log that is longer loses its beginning: what it said last is what tells why something failed."""
KEPT_B = 4 << 20


def trim(folder: Path, *, most_b: int = MOST_B, kept_b: int = KEPT_B) -> None:
    """Cut every log of a folder that is too long, from a line on. Who writes one appends (open(2), O_APPEND), and goes
    on at its end. What cannot be cut is left.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.endswith(".log") and entry.stat(follow_symlinks=False).st_size > most_b:
                _cut(Path(entry.path), kept_b)


def _cut(path: Path, kept_b: int) -> None:
    with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), "r+b", buffering=0) as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return
        file.seek(-kept_b, os.SEEK_END)
        kept = file.read().partition(b"\n")[2]
        file.truncate(0)
        file.seek(0)
        file.write(b"(what was said before was cut off)\n" + kept)
