"""A run again, without a lab: from its events alone, as lines in a terminal or as one page to show to others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from labkit import events
from labkit.diagnosis.stuck import usual_times
from labkit.errors import ParameterError
from labkit.events import Event
from labkit.lab import Lab
from labkit.pictures.boot_board import draw_boots
from labkit.pictures.event_text import in_words
from labkit.pictures.progress import draw_progress
from labkit.pictures.scene import Scene, fold, fold_all
from labkit.pictures.svg import esc
from labkit.pictures.topology import draw_topology
from labkit.workbook import record
from labkit.workbook.page import render_page

FRAMES = 90


def read_events(folder: Path) -> list[Event]:
    """The events of a run. Raises ParameterError where there are none."""
    found = list(events.read(folder / record.EVENTS))
    if not found:
        raise ParameterError("no events are kept of this run", where=str(folder), fix="another run")
    return found


def replay_lines(lab: Lab, stream: Sequence[Event], wait: Callable[[float], None]) -> Iterator[str]:
    """What happened, a line each, then timeline and topology. ``wait`` is called with the seconds in between."""
    shown = [event for event in stream if event.blade or event.kind in ("lab", "swarm", "service")]
    began = before = shown[0].time if shown else 0.0
    for event in shown:
        wait(max(0.0, event.time - before))
        before = max(before, event.time)
        yield f"{event.time - began:7.1f} s  {event.blade or '-':10} {in_words(event)}"
    scene = fold_all(stream)
    names = [blade.name for blade in lab.blades]
    for picture in (draw_boots(names, scene, usual_times(scene.past, lab), scene.now), draw_topology(lab, scene)):
        yield f"\n{picture.title}\n{picture.text}"


def replay_page(lab: Lab, stream: Sequence[Event], title: str) -> str:
    """A page that plays a run: progress, timeline and topology at each moment, to be dragged along or played."""
    names = [blade.name for blade in lab.blades]
    usual = usual_times(fold_all(stream).past, lab)
    frames = [
        [
            round(at, 1),
            draw_progress(names, scene, usual, began + at).svg
            + draw_boots(names, scene, usual, began + at).svg
            + draw_topology(lab, scene).svg,
        ]
        for began, at, scene in _moments(stream)
    ]
    last = frames[-1][1]
    # In a script element "</" ends it, and "<!--" changes what does.
    data = json.dumps(frames, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    body = (
        f"<h1>{esc(title)}</h1><p><button id='play' type='button'>Play</button> <label>seconds "
        f"<input id='at' type='range' min='0' max='{len(frames) - 1}' value='{len(frames) - 1}'></label> "
        f"<output id='now'>{frames[-1][0]} s</output></p><div id='frame'>{last}</div>"
    )
    return render_page(title, body, script=f"const frames = {data};\n{PLAYER}")


PLAYER = """
const at = document.getElementById('at'), play = document.getElementById('play'), now = document.getElementById('now');
const frame = document.getElementById('frame');
let timer = 0;
const show = () => { const [s, svg] = frames[at.value]; frame.innerHTML = svg; now.textContent = s + ' s'; };
const stop = () => { clearInterval(timer); timer = 0; play.textContent = 'Play'; };
at.addEventListener('input', show);
play.addEventListener('click', () => {
  if (timer) { stop(); return; }
  if (+at.value === frames.length - 1) at.value = 0;
  play.textContent = 'Stop';
  timer = setInterval(() => { at.value = +at.value + 1; show(); if (+at.value === frames.length - 1) stop(); }, 250);
});
"""


def _moments(stream: Sequence[Event]) -> Iterator[tuple[float, float, Scene]]:
    """The scene at evenly spaced moments of a stream: when it began, the seconds since, and the scene."""
    times = [event.time for event in stream if event.blade]
    began, end = (min(times), max(times)) if times else (0.0, 0.0)
    scene, waiting = Scene(), iter(stream)
    event = next(waiting, None)
    for number in range(FRAMES):
        at = (end - began) * number / (FRAMES - 1)
        while event is not None and (event.time <= began + at or number == FRAMES - 1):
            scene = fold(scene, event)
            event = next(waiting, None)
        yield began, at, scene
