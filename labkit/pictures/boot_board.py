"""The boot timeline of some blades as a `Picture`, and the board: progress, timeline and the latest words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labkit.events import Event
from labkit.events.stages import BladeState
from labkit.pictures.event_text import clock, in_words
from labkit.pictures.progress import draw_progress
from labkit.pictures.scene import Scene
from labkit.pictures.svg import DIM, Picture, as_of, listing
from labkit.pictures.timeline import (
    AXIS_PX,
    CHART_PX,
    LEFT_PX,
    LEGEND_PX,
    RIGHT_PX,
    ROW_PX,
    draw_timeline,
    tell_timeline,
)  # fmt: skip

TAIL_LINES = 6


def draw_boots(names: Sequence[str], scene: Scene, usual: Mapping[str, float], now: float) -> Picture:
    """The latest boots of these blades on one time line."""
    boots = [scene.stages.blade(name) for name in names]
    height = AXIS_PX + ROW_PX * len(boots) + LEGEND_PX
    svg = draw_timeline(boots, usual=usual, now=now)
    words = tell_timeline(boots, usual=usual, now=now)
    return Picture("Boot timeline, seconds since power-on", words, LEFT_PX + CHART_PX + RIGHT_PX, height, svg)


def draw_board(names: Sequence[str], scene: Scene, usual: Mapping[str, float], now: float) -> dict[str, str]:
    """What is watched while blades boot, as the parts a notebook takes: ``text/html`` and ``text/plain``."""
    progress = draw_progress(names, scene, usual, now)
    boots = draw_boots(names, scene, usual, now)
    lines = latest(names, scene)
    html = (
        f'<div class="labkit-board" style="max-width:830px">{progress.svg}<div style="height:8px"></div>{boots.svg}'
        f"{listing('what was heard last', lines)}</div>"
    )
    return {"text/html": html, "text/plain": "\n".join([progress.title, progress.text, "", boots.text, "", *lines])}


def dated(board: Mapping[str, str], moment: float) -> dict[str, str]:
    """A board with the time of day at which it was true, in wall-clock seconds."""
    words = as_of(moment)
    caption = f'<div class="labkit-as-of" style="font-size:11px;color:{DIM}">{words}</div>'
    return {"text/html": board["text/html"] + caption, "text/plain": f"{board['text/plain']}\n{words}"}


def is_of(event: Event, blade: BladeState) -> bool:
    """Whether an event belongs to a blade's latest boot, and not to one before."""
    return event.boot == blade.boot if event.boot and blade.boot else event.time >= blade.began


def latest(names: Sequence[str], scene: Scene, most: int = TAIL_LINES) -> list[str]:
    """The last things heard of any of these blades in its latest boot, in words."""
    heard = [event for name in names for event in scene.lines.get(name, ()) if is_of(event, scene.stages.blade(name))]
    heard.sort(key=lambda event: (event.time, event.seq))
    return [f"{clock(event.time)}  {event.blade:10} {in_words(event)}" for event in heard[-most:]] or ["nothing yet"]
