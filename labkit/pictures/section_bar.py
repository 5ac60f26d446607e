"""A chapter's bar of bricks: which of its sections ran, failed, run, or wait."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.pictures.svg import BLUE, BRIGHT, FAINT, GREEN, LINE, RED, Picture, rect, shorten, text

SIGNS = {"ran": "✓", "failed": "✕", "runs": "▶", "waits": "·"}
_COLOURS = {"ran": GREEN, "failed": RED, "runs": BLUE, "waits": FAINT}
GAP_PX, HIGH_PX, WIDTH_PX = 4, 30, 756
MOST_IN_ROW = 5


@dataclass(frozen=True)
class Brick:
    """A section: its heading and its state, a key of `SIGNS`."""

    name: str
    state: str = "waits"


def draw_bricks(bricks: Sequence[Brick]) -> Picture:
    """One brick a section, in as few rows as leave room for their words."""
    rows = max(1, math.ceil(len(bricks) / MOST_IN_ROW))
    columns = max(1, math.ceil(len(bricks) / rows))
    wide = (WIDTH_PX + GAP_PX) / columns - GAP_PX
    parts = []
    for number, brick in enumerate(bricks):
        x, y = number % columns * (wide + GAP_PX), number // columns * HIGH_PX
        parts.append(rect(x, y + 1, wide, HIGH_PX - 4, _COLOURS[brick.state], edge=LINE, radius=3,
                          tip=f"{brick.name}: {brick.state}"))  # fmt: skip
        words = f"{SIGNS[brick.state]} {shorten(brick.name, max(3, int(wide / 6.2) - 3))}"
        parts.append(text(x + 7, y + 18, words, size=11, fill="" if brick.state == "waits" else BRIGHT))
    done = sum(brick.state == "ran" for brick in bricks)
    words = "  ".join(f"{SIGNS[brick.state]} {brick.name}" for brick in bricks)
    return Picture(f"{done} of {len(bricks)} sections ran", words, WIDTH_PX, rows * HIGH_PX, "".join(parts))
