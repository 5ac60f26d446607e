"""How far each blade's boot is: five boxes, one a stage, filled as they are passed, with bytes and the time left."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.pictures.scene import SETTLED, Scene
from labkit.pictures.svg import (
    BRIGHT,
    DIM,
    FAINT,
    LINE,
    RED,
    STAGE_COLOURS,
    Picture,
    esc,
    rect,
    shorten,
    size,
    text,
)  # fmt: skip
from labkit.pictures.words import file_in_words
from labkit.stages import STAGES, BladeState

LEFT_PX, BOX_PX, GAP_PX, ROW_PX = 96, 92, 4, 44
WIDTH_PX = LEFT_PX + len(STAGES) * (BOX_PX + GAP_PX) + 132


def draw_progress(names: Sequence[str], scene: Scene, now: float) -> Picture:
    """A row a blade. ``now`` is wall-clock seconds: for the time a stage has taken so far, and what is left."""
    usual = scene.usual()
    rows, lines = [], []
    for number, name in enumerate(names):
        blade = scene.stages.blade(name)
        words, left = _doing(scene, blade, now), _left(blade, usual, now)
        rows.append(f'<g transform="translate(0 {number * ROW_PX})">{_row(blade, usual, now, words, left)}</g>')
        lines.append(f"{name:10} {_bar(blade)} {blade.stage:9} {words}" + (f"; {left}" if left else ""))
    done = sum(scene.stages.blade(name).stage == "joined" for name in names)
    title = f"Boot progress: {done} of {len(names)} in the swarm"
    return Picture(title, "\n".join(line.rstrip() for line in lines), WIDTH_PX, len(names) * ROW_PX, "".join(rows))


def _row(blade: BladeState, usual: dict[str, float], now: float, words: str, left: str) -> str:
    parts = [text(0, 17, shorten(blade.blade, 13), bold=True), text(0, 33, blade.stage, fill=DIM, size=11)]
    took = blade.seconds()
    for number, stage in enumerate(STAGES):
        x = LEFT_PX + number * (BOX_PX + GAP_PX)
        part = _part(blade, stage, took, usual, now)
        parts.append(rect(x, 4, BOX_PX, 18, FAINT, edge=LINE, radius=3))
        if part > 0:
            parts.append(rect(x, 4, BOX_PX * part, 18, STAGE_COLOURS[stage], radius=3))
        seconds = f" {took[stage]:.0f} s" if stage in took else ""
        parts.append(text(x + 6, 17, f"{stage}{seconds}", fill=BRIGHT if part == 1 else "", size=11))
    end = LEFT_PX + len(STAGES) * (BOX_PX + GAP_PX) + 6
    total = f"✓ {blade.total_s:.0f} s" if blade.total_s else left
    parts.append(text(end, 17, total, bold=bool(blade.total_s)))
    parts.append(text(LEFT_PX, 36, shorten(words, 92), size=11, fill=RED if blade.trouble else DIM))
    return f'<g aria-label="{esc(blade.blade)}">{"".join(parts)}</g>'


def _part(blade: BladeState, stage: str, took: dict[str, float], usual: dict[str, float], now: float) -> float:
    """How much of a stage's box is full, from 0 to 1. A stage that is under way fills as time goes by as usual."""
    if blade.stage == "off":
        return 0.0
    if stage in took or blade.stage in ("joined", "left"):
        return 1.0
    if stage != blade.stage:
        return 1.0 if STAGES.index(stage) < STAGES.index(blade.stage) else 0.0
    since = now - (blade.began + sum(took.values())) if blade.began else 0.0
    return min(0.95, max(0.06, since / usual[stage])) if usual.get(stage) else 0.3


def _doing(scene: Scene, blade: BladeState, now: float) -> str:
    """What a blade is at, and how many bytes it has had."""
    if blade.trouble:
        return blade.trouble
    fetches = scene.fetches.get(blade.blade, {}).values()
    had = sum(fetch.sent_b for fetch in fetches)
    running = [fetch for fetch in fetches if fetch.state == "started"]
    if running and blade.stage not in SETTLED:
        fetch = running[-1]
        of = f" of {size(fetch.size_b)}" if fetch.size_b else ""
        return f"fetching {file_in_words(fetch.path)}{of} for {max(0, now - fetch.began):.0f} s, {size(had)} before"
    bytes_had = f"{size(had)} fetched" if had else ""
    doing = {"off": "switched off", "joined": "in the swarm", "left": "left the swarm in order"}.get(blade.stage)
    return ", ".join(word for word in (doing or blade.doing, bytes_had) if word)


def _left(blade: BladeState, usual: dict[str, float], now: float) -> str:
    """The time left, where boots have gone through before to compare with."""
    if blade.stage not in STAGES or not blade.began or len(usual) < len(STAGES):
        return ""
    ahead = sum(usual[stage] for stage in STAGES[STAGES.index(blade.stage) + 1 :])
    since = now - (blade.began + sum(blade.seconds().values()))
    left = usual[blade.stage] - since
    return f"about {ahead + max(left, 0):.0f} s left" if left > -0.5 * usual[blade.stage] - 5 else "slower than usual"


def _bar(blade: BladeState) -> str:
    """Five letters' room in text: ``■■■▶·``."""
    if blade.stage in STAGES:
        at = STAGES.index(blade.stage)
        return "■" * at + "▶" + "·" * (len(STAGES) - at - 1)
    return ("■" if blade.stage in ("joined", "left") else "·") * len(STAGES)
