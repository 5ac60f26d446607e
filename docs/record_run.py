# /// script
# requires-python = ">=3.11"
# dependencies = ["pyte==0.8.2"]
# ///
"""Records `./lab run` in a terminal of its own, and draws it as a picture that moves: `docs/run.svg`.

With uv::

    uv run docs/record_run.py

or in any environment that has pyte. ``--cast FILE`` draws a recording that is there already, also one by asciinema
(asciicast v2: a line of JSON with ``width`` and ``height``, then ``[seconds, "o", text]`` a line), and ``--keep FILE``
keeps the one that is made. What stands in the picture is what the terminal showed; only the time is shorter, and the
clock in its title is the run's own.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import struct
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "./lab run"
WIDTH, HEIGHT = 100, 30
"""The terminal's size, in cells."""
EVENTS_S, LAST_S = 24.0, 8.0
"""How long the picture moves, and how long it then stands still on what the run has left."""
QUIET_S = 0.5
"""A longer wait, as the picture has it, is cut to this."""
FRAME_S = 0.12
"""What changes within this time is one frame."""

CELL_W, CELL_H, FONT = 8.4, 18, 14
"""A cell's size and its letters', in the picture's pixels."""
EDGE, TITLE = 14, 34
"""The room around the cells, and above them for the title."""
COLOURS = {
    "default": "#e6edf3", "black": "#6e7681", "red": "#ff7b72", "green": "#56d364", "brown": "#e3b341",
    "blue": "#79c0ff", "magenta": "#d2a8ff", "cyan": "#56d4dd", "white": "#e6edf3",
}  # fmt: skip
"""pyte's names of the eight colours (ECMA-48 SGR 30-37); each but black has 4.5:1 or more on the terminal's own."""

Output = list[tuple[float, str]]
"""What a terminal was sent: seconds since the beginning, and text."""
Run = tuple[int, str, str, bool]
"""Cells of a row that look alike: the first one's column, text, colour, and whether it is bold."""


@dataclass(frozen=True)
class Frame:
    """What the terminal shows from one moment on: the run's own second, the picture's, and each row's runs of cells."""

    run_s: float
    at_s: float
    rows: tuple[tuple[Run, ...], ...]


def record(command: list[str]) -> Output:
    """Run a command in a terminal of its own, shown here as it goes. Raises SystemExit with its status if not 0."""
    began = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        os.chdir(ROOT)
        os.environ["TERM"] = "xterm-256color"
        os.execvp(command[0], command)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    output: Output = []
    while data := read(terminal):
        output.append((time.monotonic() - began, decode(data)))
        sys.stdout.write(output[-1][1])
        sys.stdout.flush()
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit(status)
    return output


def read(terminal: int) -> bytes:
    """The next bytes; none when the other side is closed (pty(7): EIO)."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def read_cast(path: Path) -> tuple[int, int, Output]:
    """Columns, rows and output of an asciicast v2."""
    head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
    return head["width"], head["height"], [(at, text) for at, kind, text in lines if kind == "o"]


def write_cast(path: Path, output: Output) -> None:
    """The same as a file."""
    head = {"version": 2, "width": WIDTH, "height": HEIGHT, "command": COMMAND}
    lines = [head, *([round(at, 3), "o", text] for at, text in output)]
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")


def frames(columns: int, rows: int, output: Output) -> list[Frame]:
    """What the terminal showed, one after the other, with waits cut and all of it as long as `EVENTS_S`."""
    screen = pyte.Screen(columns, rows)
    stream = pyte.Stream(screen)
    speed = max(output[-1][0] / EVENTS_S, 1.0)
    found: list[Frame] = []
    at_s = before_s = 0.0
    for run_s, text in output:
        at_s += min((run_s - before_s) / speed, QUIET_S)
        before_s = run_s
        stream.feed(text)
        seen = tuple(tuple(cells(screen.buffer[row], columns)) for row in range(rows))
        frame = Frame(run_s, at_s if found else 0.0, seen)
        if found and at_s - found[-1].at_s < FRAME_S and len(found) > 1:
            found[-1] = Frame(run_s, found[-1].at_s, frame.rows)
        elif not found or frame.rows != found[-1].rows:
            found.append(frame)
    return found


def cells(line: dict[int, pyte.screens.Char], columns: int) -> Iterator[Run]:
    """A row's runs; blank ones are left out."""

    def look(column: int) -> tuple[str, bool]:
        char = line[column]
        return COLOURS.get(char.fg.removeprefix("bright"), f"#{char.fg}"), char.bold

    for (colour, bold), group in groupby(range(columns), look):
        run = list(group)
        text = "".join(line[column].data for column in run)
        if text.strip():
            yield run[0] + len(text) - len(text.lstrip()), text.strip(), colour, bold


def draw(columns: int, rows: int, shown: list[Frame]) -> str:
    """An SVG: all frames one below the other behind a window, and one animation that moves them by (CSS Animations 1,
    step-end). Each row is there once and used where it stands, so that a picture of a minute is small. Who wants less
    motion gets the last frame."""
    width, height = columns * CELL_W + 2 * EDGE, TITLE + rows * CELL_H + EDGE
    whole_s = shown[-1].at_s + LAST_S
    known: dict[tuple[Run, ...], str] = {}
    film = []
    for number, frame in enumerate(shown):
        top = round(number * height)
        film.append(f'<text class="clock" x="{width - EDGE:g}" y="{top + 22}">{clock(frame.run_s)}</text>')
        for row, runs in enumerate(frame.rows):
            if runs:
                name = known.setdefault(runs, f"r{len(known)}")
                film.append(f'<use href="#{name}" y="{top + TITLE + row * CELL_H}"/>')
    lines = [f'<g id="{name}">{"".join(map(text_of, runs))}</g>' for runs, name in known.items()]
    steps = [
        f"{frame.at_s / whole_s:.3%}{{transform:translateY({-round(number * height)}px)}}"
        for number, frame in enumerate(shown)
    ]
    last = steps[-1].partition("{")[2].strip("}")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" aria-labelledby="title" xml:space="preserve" font-size="{FONT}" '
            'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace">',
            f'<title id="title">{COMMAND} in a terminal, from the first line to the last</title>',
            "<style>",
            f"text{{fill:{COLOURS['default']}}}.bold{{font-weight:bold}}",
            ".clock{text-anchor:end}.soft{fill:#9198a1}.case{fill:#0d1117;stroke:#6e7681}",
            f"#film{{{last};animation:film {whole_s:.1f}s step-end infinite}}",
            "@media(prefers-reduced-motion:reduce){#film{animation:none}}",
            f"@keyframes film{{{''.join(steps)}100%{{{last}}}}}",
            "</style>",
            f'<defs><clipPath id="window"><rect width="{width:g}" height="{height:g}"/></clipPath>',
            *lines,
            "</defs>",
            f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="8" class="case"/>',
            f'<text class="soft" x="{EDGE}" y="22">$ {escape(COMMAND)}</text>',
            f'<g clip-path="url(#window)"><g id="film">{"".join(film)}</g></g>',
            "</svg>\n",
        ]
    )


def text_of(run: Run) -> str:
    """A run of cells, as wide as its cells whatever the font."""
    column, text, colour, bold = run
    look = (f' style="fill:{colour}"' if colour != COLOURS["default"] else "") + (' class="bold"' if bold else "")
    place = f'x="{EDGE + column * CELL_W:g}" y="{FONT}" textLength="{len(text) * CELL_W:g}"'
    return f"<text {place}{look}>{escape(text)}</text>"


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def main() -> None:
    parser = argparse.ArgumentParser(description="draw a recording of ./lab run")
    parser.add_argument("--cast", type=Path, help="draw this recording; nothing is run")
    parser.add_argument("--keep", type=Path, help="write the recording that is made here")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "run.svg", help="default: docs/run.svg")
    options = parser.parse_args()
    if options.cast:
        columns, rows, output = read_cast(options.cast)
    else:
        columns, rows, output = WIDTH, HEIGHT, record(COMMAND.split())
    if options.keep:
        write_cast(options.keep, output)
    options.to.write_text(draw(columns, rows, frames(columns, rows, output)), encoding="utf-8")
    print(f"{options.to}: {options.to.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
