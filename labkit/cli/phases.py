"""What a command tells while it works, on standard error: a line a thing, with a clock where a person looks on.

A text that ends in ``…`` begins a phase, which lasts until the next text. One that begins with ``✓`` ends it and stands
for it. One that begins with two spaces is told while the phase goes on. On a terminal the phase that is under way has
its seconds beside it, and a tick when it is over; elsewhere each text is a line, and nothing is written twice.
Colours are left out where ``NO_COLOR`` is set (no-color.org) or the terminal is dumb.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from labkit.lab.plain_text import harmless, raw

BEGINS, DONE, FAILED, ASIDE = "…", "✓", "✕", "  "
LEAST_S = 1.0
"""From here on, how long a phase took is worth telling."""
EVERY_S = 1.0


class Phases:
    """A command's progress. Called with each text, from any thread; as a context it ends the last phase."""

    def __init__(
        self, stream: TextIO | None = None, *, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = raw(stream or sys.stderr)
        dumb = os.environ.get("TERM", "") in ("", "dumb")
        self._live = (self._stream.isatty() and not dumb) if live is None else live
        self._colours = self._live and not os.environ.get("NO_COLOR")
        self._clock = clock
        self._phase, self._began = "", 0.0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._ticking: threading.Thread | None = None

    def __enter__(self) -> Phases:
        if self._live:
            self._ticking = threading.Thread(target=self._tick, name="phases", daemon=True)
            self._ticking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._ticking is not None:
            self._ticking.join()
        with self._lock:
            self._end(DONE if kind is None else FAILED)

    def __call__(self, text: str) -> None:
        text = harmless(text)  # what is written around it steers the terminal
        with self._lock:
            if not self._live:
                self._write(f"{text}\n")
            elif text.startswith(DONE):
                self._phase = ""
                self._write(f"{self._sign(DONE)}{text.removeprefix(DONE)}\n")
            elif text.endswith(BEGINS):
                self._end(DONE)
                self._phase, self._began = text, self._clock()
                self._show()
            elif text.startswith(ASIDE) and self._phase:
                self._write(f"{text}\n")
                self._show()
            else:
                self._end(DONE)
                self._write("".join(f"{self._fitted(line)}\n" for line in text.split("\n")))

    def _end(self, sign: str) -> None:
        """The line of the phase that is over stays, with how long it took."""
        if self._live and self._phase:
            seconds = self._clock() - self._began
            took = f" ({seconds:.0f} s)" if seconds >= LEAST_S else ""
            body = self._phase.removesuffix(BEGINS).rstrip()
            indent = body[: len(body) - len(body.lstrip())]
            self._write(f"{indent}{self._sign(sign)} {body.lstrip()}{took}\n")
        self._phase = ""

    def _show(self) -> None:
        if self._phase:
            seconds = self._clock() - self._began
            took = f" {seconds:.0f} s" if seconds >= LEAST_S else ""
            self._write(self._phase[: self._columns() - len(took)] + took)  # one that wraps could not be written over

    def _fitted(self, line: str) -> str:
        """A line that a terminal would break within a word is broken between two; paths and addresses stay whole."""
        return textwrap.fill(
            line, self._columns(), subsequent_indent=ASIDE, break_long_words=False, break_on_hyphens=False
        )

    def _columns(self) -> int:
        return max(20, shutil.get_terminal_size().columns - 1)

    def _tick(self) -> None:
        while not self._over.wait(EVERY_S):
            with self._lock:
                self._show()

    def _write(self, text: str) -> None:
        """In a terminal, over the line of the phase that is under way (ECMA-48: CR, EL)."""
        self._stream.write(f"\r\x1b[K{text}" if self._live else text)
        self._stream.flush()

    def _sign(self, sign: str) -> str:
        colour = {DONE: "32", FAILED: "31"}[sign]
        return f"\x1b[{colour}m{sign}\x1b[0m" if self._colours else sign
