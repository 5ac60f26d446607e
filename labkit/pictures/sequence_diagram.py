"""The pen for sequence diagrams: who talks to whom, downwards in time. What was said is told by `protocols`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labkit.pictures.svg import DIM, FAINT, INK, PAPER, Picture, arrow, line, rect, shorten, text

WIDTH_PX, ROW_PX, HEAD_PX, TIMES_PX = 820, 30, 40, 66
LETTER_PX = 5.7
"""How wide a letter of 11 px is, on average."""


@dataclass(frozen=True)
class Lifeline:
    """One who talks, ``x`` px from the left; ``name`` is written above."""

    x: float
    name: str


@dataclass(frozen=True)
class Step:
    """One arrow, or a note where both ends are the same lifeline.

    ``when`` is what stands to the left of it, such as ``3.2 s``; a ``strong`` one is underlaid, and one that is
    ``beside`` stands in the row of the step before.
    """

    when: str
    source: str
    target: str
    words: str
    strong: bool = False
    beside: bool = False


def draw_steps(title: str, lifelines: Mapping[str, Lifeline], steps: Sequence[Step], nothing: str) -> Picture:
    """The diagram; ``nothing`` is said where there is no step yet."""
    rows = sum(not step.beside for step in steps)
    height = HEAD_PX + max(1, rows) * ROW_PX + 12
    parts = [line(lifeline.x, HEAD_PX - 8, lifeline.x, height - 6, dashed=True) for lifeline in lifelines.values()]
    for lifeline in lifelines.values():
        parts.append(rect(lifeline.x - 56, 2, 112, 26, PAPER, edge=INK, radius=5))
        parts.append(text(lifeline.x, 20, shorten(lifeline.name, 17), anchor="middle", bold=True))
    lines, y, left = [], HEAD_PX - 8.0, max((len(step.when) for step in steps), default=0)
    for step in steps:
        y += 0 if step.beside else ROW_PX
        parts.append(_draw(step, lifelines, y))
        who = lifelines[step.source].name
        if step.target != step.source:
            who += f" → {lifelines[step.target].name}"
        lines.append(f"{step.when:>{left}}  {who}: {step.words}")
    if not steps:
        parts.append(text(TIMES_PX, y + ROW_PX, nothing, size=11, fill=DIM))
    return Picture(title, "\n".join(lines) or nothing, WIDTH_PX, height, "".join(parts))


def _draw(step: Step, lifelines: Mapping[str, Lifeline], y: float) -> str:
    x1, x2 = lifelines[step.source].x, lifelines[step.target].x
    when = "" if step.beside else text(TIMES_PX, y, step.when, anchor="end", size=11, fill=DIM)
    if x1 == x2:
        return when + _note(step, x1, y)
    low, wide = min(x1, x2), abs(x2 - x1)
    back = rect(low + 6, y - 19, wide - 12, 22, FAINT, radius=3) if step.strong else ""
    # The words stand at the arrow's tail, so that one who reads from the left knows who speaks.
    words = shorten(step.words, int((wide - 22) / LETTER_PX))
    told = text(x1 + 12, y - 5, words, size=11) if x2 > x1 else text(x1 - 12, y - 5, words, size=11, anchor="end")
    if not step.strong:  # lanes that are passed on the way do not run through the letters
        told = f'<g style="paint-order:stroke;stroke:{PAPER};stroke-width:4px;stroke-linejoin:round">{told}</g>'
    return when + back + arrow(x1, x2, y, stroke=INK if step.strong else DIM) + told


def _note(step: Step, x: float, y: float) -> str:
    words = shorten(step.words, 56)
    wide = len(words) * LETTER_PX + 20
    left = min(max(x - wide / 2, TIMES_PX + 8), WIDTH_PX - wide - 2)
    box = rect(left, y - 17, wide, 20, FAINT if step.strong else PAPER, edge=DIM, radius=9)
    return box + text(left + wide / 2, y - 3, words, size=11, anchor="middle")
