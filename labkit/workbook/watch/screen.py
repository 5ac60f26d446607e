"""A terminal on which lines are written over in place: only those that changed, and none longer than it is wide."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

from labkit.lab.plain_text import raw, shown
from labkit.workbook.watch.follower import Follower
from labkit.workbook.watch.view import tell

TICK_S = 0.5
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J", "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The other screen without a cursor and without line wrap, cleared; and back (xterm's control sequences: DECSET)."""
FOOT = "Ctrl-C ends this view; the lab goes on"


class Screen:
    """The terminal's other screen, as a context; afterwards all is as it was before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = raw(stream)
        self._size, self._lines = (0, 0), list[str]()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.write(LEAVE)
        self._stream.flush()

    def forget(self) -> None:
        """Draw everything anew next time: somebody else has written there, as after Ctrl-Z."""
        self._size = (0, 0)

    @property
    def rows(self) -> int:
        return shutil.get_terminal_size().lines

    def show(self, lines: Sequence[str]) -> None:
        """Show lines in place of those before (ECMA-48: CUP, EL, ED)."""
        size, text = shutil.get_terminal_size(), ""
        if size != self._size:
            self._size, self._lines, text = size, [], ENTER
        fresh = [shown(line) for line in lines]
        before = [*self._lines, *[""] * len(fresh)]
        for number, line in enumerate(fresh):
            if line != before[number]:
                text += f"\x1b[{number + 1};1H{line}\x1b[K"
        if len(fresh) < len(self._lines):
            text += f"\x1b[{len(fresh) + 1};1H\x1b[J"
        self._lines = fresh
        if text:
            self._stream.write(text)
            self._stream.flush()


def watch_on(stream: TextIO, follower: Follower) -> None:
    """Redraw until Ctrl-C, or SIGTERM."""
    with Screen(stream) as screen:
        signal.signal(signal.SIGCONT, lambda *_: screen.forget())
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        while True:
            rows = screen.rows
            lines = tell(follower.look(), rows=rows - 1)
            screen.show([*lines, *[""] * (rows - 1 - len(lines)), FOOT])
            time.sleep(TICK_S)
