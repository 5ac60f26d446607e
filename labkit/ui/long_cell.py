"""What takes long: a cell that says for how long it has been at it, and buttons of which one works at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import ipywidgets as widgets

from labkit.lab import Blade
from labkit.pictures.boot_board import latest
from labkit.pictures.svg import esc
from labkit.ui.live_events import LiveEvents
from labkit.ui.views import Live

EVERY_S = 1.0
DEAF_S = 0.1
BUSY = "lk-busy"
"""The class of a button that does nothing at present."""


@contextmanager
def waiting(what: str, blades: Sequence[Blade] = ()) -> Iterator[None]:
    """Say, while what is inside runs, for how many seconds it does, and the last that was heard of these blades."""
    began, live, feed = time.monotonic(), Live(), LiveEvents() if blades else None
    names, over = [blade.name for blade in blades], threading.Event()

    def show(*, ended: bool = False) -> None:
        seconds = f"{time.monotonic() - began:.0f} s"
        lines = [f"{what}: {'took ' if ended else ''}{seconds}{'' if ended else ' …'}"]
        if feed is not None and not ended:
            lines += latest(names, feed.poll(), most=1)
        live.show(as_bundle(lines))

    def go_on() -> None:
        while not over.wait(EVERY_S):
            show()

    show()  # the cell's own thread opens the output that the other one draws in
    thread = threading.Thread(target=go_on, name="waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        show(ended=True)


def as_bundle(lines: Sequence[str]) -> dict[str, str]:
    """Lines as a notebook and as a terminal show them."""
    head, *rest = (esc(line) for line in lines)
    more = "".join(f'<div style="font-size:11px;color:var(--jp-ui-font-color2,#616161)">{line}</div>' for line in rest)
    html = f'<div class="labkit-waiting" style="color:var(--jp-ui-font-color1)">{head}{more}</div>'
    return {"text/html": html, "text/plain": "\n".join(lines)}


class OneAtATime:
    """Buttons of which one works at a time; what is pressed meanwhile counts for nothing.

    They are not disabled for it: a button that is loses the keyboard's focus, and whoever has no mouse loses the place.
    The kernel hears of a press during the work when that is over, and is deaf in this moment.
    """

    def __init__(self, buttons: Callable[[], Iterable[widgets.Button]]) -> None:
        self._buttons, self._works, self._deaf_until = buttons, False, 0.0

    def on_press(self, act: Callable[[], None]) -> Callable[[object], None]:
        """What to tell a button to do when it is pressed."""

        def press(button: object) -> None:
            if self._works or time.monotonic() < self._deaf_until:
                return
            self._works, pressed = True, list(self._buttons())
            for one in pressed:
                one.add_class(BUSY)
            try:
                act()
            finally:
                for one in pressed:
                    one.remove_class(BUSY)
                self._works, self._deaf_until = False, time.monotonic() + DEAF_S

        return press
