"""A cell that takes long: for how long it has been at it, and what was heard last, while it goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from labkit.lab import Blade
from labkit.pictures.boot_board import latest
from labkit.pictures.svg import esc
from labkit.ui.live_events import LiveEvents
from labkit.ui.views import Live

EVERY_S = 1.0


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
