"""How far each blade's boot is: a box a stage, filled as they are passed, with bytes and the time left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labkit.events.amounts import size
from labkit.events.stages import STAGES, STEPS, STEPS_OF, BladeState
from labkit.pictures.event_text import file_in_words, in_words
from labkit.pictures.scene import Scene
from labkit.pictures.svg import DIM, FAINT, LINE, RED, Picture, rect, shorten, text
from labkit.pictures.timeline import COLOURS, is_stuck

LEFT_PX, BOX_PX, GAP_PX, ROW_PX = 96, 88, 4, 44
WIDTH_PX = LEFT_PX + len(STAGES) * (BOX_PX + GAP_PX) + 128
DARK = "#111"
SLACK_S = 10.0
"""A step is slow that takes twice its usual time, and this much longer."""


def draw_progress(names: Sequence[str], scene: Scene, usual: Mapping[str, float], now: float) -> Picture:
    """A row a blade. ``usual`` is seconds a step (`labkit.diagnosis.stuck.usual_times`), ``now`` wall-clock seconds."""
    rows, lines = [], []
    for number, name in enumerate(names):
        blade = scene.stages.blade(name)
        waits = blade.step == "join" and (not scene.stages.swarm or scene.stages.silent)
        words, left = doing(scene, name, now), "waits for a swarm" if waits else time_left(blade, usual, now)
        rows.append(f'<g transform="translate(0 {number * ROW_PX})">{_row(blade, usual, now, words, left)}</g>')
        lines.append(f"{name:10} {_bar(blade)} {blade.stage:9} {words}" + (f"; {left}" if left else ""))
    done = sum(scene.stages.blade(name).stage == "joined" for name in names)
    title = f"Boot progress: {done} of {len(names)} in the swarm"
    return Picture(title, "\n".join(line.rstrip() for line in lines), WIDTH_PX, len(names) * ROW_PX, "".join(rows))


def _row(blade: BladeState, usual: Mapping[str, float], now: float, words: str, left: str) -> str:
    parts = [text(0, 17, shorten(blade.blade, 13), bold=True), text(0, 33, blade.stage, fill=DIM, size=11)]
    took = blade.seconds() if blade.stage != "off" else {}
    for number, stage in enumerate(STAGES):
        x = LEFT_PX + number * (BOX_PX + GAP_PX)
        part = _part(blade, stage, usual, now)
        parts.append(rect(x, 3, BOX_PX, 21, COLOURS[stage] if part == 1 else FAINT, edge=LINE, radius=3))
        if 0 < part < 1:
            parts.append(rect(x, 19, BOX_PX * part, 5, COLOURS[stage], edge=LINE))
        seconds = f" {took[stage]:.0f} s" if stage in took else ""
        words_in = f"{'✓ ' if part == 1 else ''}{stage}{seconds}"
        parts.append(text(x + 4, 17, words_in, fill=DARK if part == 1 else "", size=10))
    end = LEFT_PX + len(STAGES) * (BOX_PX + GAP_PX) + 6
    total = f"✓ {blade.total_s:.0f} s" if blade.stage == "joined" and blade.total_s else left
    parts.append(text(end, 17, total, bold=blade.stage == "joined"))
    wrong = is_stuck(blade) or bool(blade.trouble or blade.removed or blade.full or blade.without_disk)
    parts.append(text(LEFT_PX, 36, ("⚠ " if wrong else "") + shorten(words, 92), size=11, fill=RED if wrong else DIM))
    return "".join(parts)


def _part(blade: BladeState, stage: str, usual: Mapping[str, float], now: float) -> float:
    """How much of a stage's box is full, from 0 to 1. A stage that is under way fills as time goes by as usual."""
    if blade.stage in ("off", "left"):
        return 0.0
    if blade.stage == "joined" or STAGES.index(stage) < STAGES.index(blade.stage):
        return 1.0
    if stage != blade.stage:
        return 0.0
    mine = [step.began for step in blade.steps() if step.name in STEPS_OF[stage]]
    whole = sum(usual.get(step, 0.0) for step in STEPS_OF[stage])
    return min(0.95, max(0.04, (now - mine[0]) / whole)) if mine and whole else 0.3


def doing(scene: Scene, name: str, now: float) -> str:
    """What a blade is at, and how many bytes it has had."""
    blade, heard = scene.stages.blade(name), scene.lines.get(name, ())
    if is_stuck(blade) and blade.stuck is not None:
        return blade.stuck.what
    if blade.trouble:
        return blade.trouble
    if blade.removed and blade.stage == "joined":
        return "put out of the swarm while it ran; joins again once it reaches the lab"
    if blade.full is not None:
        return str(blade.full)
    if blade.without_disk is not None and blade.stage == "joined":
        return blade.without_disk.detail
    if blade.fetching and blade.step not in ("off", "left", "joined"):
        fetch = list(blade.fetching.values())[-1]
        of = f"{size(fetch.sent_b)} of {size(fetch.size_b)}" if fetch.sent_b else size(fetch.size_b)
        of = f", {of}" if fetch.size_b else ""
        since = f"for {max(0, now - fetch.time):.0f} s; {size(blade.sent_b)} before"
        return f"fetching {file_in_words(fetch.path)}{of}, {since}"
    had = f"{size(blade.sent_b)} fetched" if blade.sent_b else ""
    words = {"off": "switched off", "joined": "in the swarm", "left": "left the swarm in order"}.get(blade.stage)
    return ", ".join(word for word in (words or (in_words(heard[-1]) if heard else ""), had) if word)


def time_left(blade: BladeState, usual: Mapping[str, float], now: float) -> str:
    """``about 20 s left``, by what the steps ahead usually take; empty for a blade that is not on its way."""
    steps = blade.steps()
    if blade.step not in STEPS or not steps:
        return ""
    at = STEPS.index(blade.step)
    # A machine that has its files says nothing until its system is up, which ends every step in between.
    last = STEPS.index("os") if not blade.os and blade.step in ("kernel", "initrd", "ignition") else at
    here = sum(usual.get(step, 0.0) for step in STEPS[at : last + 1])
    ahead = sum(usual.get(step, 0.0) for step in STEPS[last + 1 :])
    left = here - (now - steps[-1].began)
    return f"about {ahead + max(left, 0):.0f} s left" if left > -max(SLACK_S, here) else "slower than usual"


def _bar(blade: BladeState) -> str:
    """A letter a stage in text: ``■■■▶·``."""
    if blade.stage in STAGES:
        at = STAGES.index(blade.stage)
        return "■" * at + "▶" + "·" * (len(STAGES) - at - 1)
    return ("■" if blade.stage == "joined" else "·") * len(STAGES)
