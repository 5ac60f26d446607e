"""A part of the lab that dies again and again: which deaths are alike, and what there is to say of them.

PURE: `labkit.events.Part` in, words out.
"""

from __future__ import annotations

import re

from labkit.events import Part

IN_A_ROW_S = 120.0
"""Deaths further apart than this are no row: the part ran in between."""
KEPT = 8
TIMES = 3
"""So many deaths in a row, for the same reason, and the next start will hardly be another."""


def row(before: tuple[Part, ...], death: Part) -> tuple[Part, ...]:
    """The deaths in a row, for the same reason, that end with this one."""
    last = before[-1] if before else None
    goes_on = last is not None and _alike(last) == _alike(death) and death.time - last.time <= IN_A_ROW_S
    return (*(before if goes_on else ()), death)[-KEPT:]


def reason(death: Part) -> str:
    """How it ended and the last line it said: ``status 1: OSError: …``."""
    lines = [line.strip() for line in death.detail.splitlines() if line.strip()]
    if not lines:
        return "no reason is known"
    status = re.match(r"status -?\d+", lines[0])
    return f"{status[0]}: {lines[-1]}" if status and len(lines) > 1 else lines[-1]


def _alike(death: Part) -> tuple[str, str]:
    """The same for two deaths for the same reason: the status counts, the numbers in the words do not."""
    words = reason(death)
    status = re.match(r"status -?\d+", words)
    return status[0] if status else "", re.sub(r"\d+|0x[0-9a-f]+", "#", words)
