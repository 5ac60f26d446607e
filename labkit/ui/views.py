"""Views: pictures of the running lab, drawn from its events, and redrawn in place while it changes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from IPython.display import display

from labkit import events
from labkit.diagnosis.stuck import usual_times
from labkit.events import stages, tables
from labkit.lab import Blade, Lab, lab_yaml
from labkit.lab.plain_text import printable
from labkit.pictures import boot_board, event_text
from labkit.pictures.protocols import draw_absence, draw_config, draw_join, draw_sequence
from labkit.pictures.request_bars import draw_request_bars
from labkit.pictures.request_path import draw_requests
from labkit.pictures.rolling import of_versions
from labkit.pictures.scene import fold_all
from labkit.pictures.svg import esc, listing
from labkit.pictures.topology import draw_topology
from labkit.servers import client
from labkit.swarm.roll.survey import Row
from labkit.swarm.services.http_probe import Answer
from labkit.ui.live_events import LiveEvents

REDRAW_S = 0.4
FOLLOW_S = 1.0
SETTLED = ("joined", "left", "off")


def _is_settled(blade: Blade, state: stages.BladeState) -> bool:
    return state.stage in SETTLED or stages.is_handed_over(blade, state)


class Live:
    """One output that is replaced in place; the same picture is not sent twice."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last: dict[str, str] = {}

    def show(self, bundle: dict[str, str]) -> None:
        """Show a picture, in place of the one before."""
        if bundle == self._last:
            return
        self._last = bundle
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class Shows(Protocol):
    """What a picture can be shown in, again and again."""

    def show(self, bundle: dict[str, str]) -> object:
        """Show a picture, in place of the one before."""


class BootView:
    """Blades on their way up: progress, timeline, and what was heard last. `show` redraws, `follow` goes on with it."""

    _following: BootView | None = None
    """The view that goes on by itself: one a kernel, the last that was told to."""

    def __init__(
        self, blades: Sequence[Blade], *, lab: Lab | None = None, path: Path | None = None, live: Shows | None = None
    ) -> None:
        self._names = [blade.name for blade in blades]
        self._lab = lab or lab_yaml.load(client.find_lab())
        self._feed = LiveEvents(path or client.find_state(self._lab.path).events)
        self._live: Shows = live or Live()
        self._drawn: dict[str, str] = {}

    def show(self, state: stages.LabState | None = None) -> None:
        """Draw the lab as its events tell it now. Meant to be called again and again, as by `ensure_blades`.

        Whoever does not `follow` sees no more of it when the cell has ended: so the board says when that was.
        """
        scene = self._feed.poll()
        usual = usual_times(scene.past, self._lab)
        states = [(self._lab.blade(name), scene.stages.blade(name)) for name in self._names]
        # One that waits for a swarm may wait for hours: the picture of its boot would get narrower and narrower.
        waits = not scene.stages.swarm
        settled = all(_is_settled(blade, state) or (waits and state.step == "join") for blade, state in states)
        board = boot_board.draw_board(self._names, scene, usual, scene.now if settled else time.time())
        if board != self._drawn:
            self._drawn = board
            self._live.show(boot_board.dated(board, time.time()))

    def follow(self) -> None:
        """Go on drawing when the cell has ended, while the kernel lives: also what is done from outside is seen.

        Another view that does so, as when the cell runs again, takes this one's place.
        """
        BootView._following = self
        threading.Thread(target=self._go_on, name="following", daemon=True).start()

    def _go_on(self) -> None:
        while True:
            time.sleep(FOLLOW_S)
            if BootView._following is not self:
                return
            self.show()


def watch(blades: Sequence[Blade] = (), *, until: str = "joined", timeout_s: float = 420.0) -> None:
    """Watch blades that boot, whoever switched them on, until each is as far as ``until`` or is off.

    For a kernel that was restarted meanwhile: the lab knows nothing of kernels, and tells it all again.
    """
    running = client.connect()
    view = BootView(tuple(blades) or running.lab.blades, lab=running.lab)
    names = [blade.name for blade in tuple(blades) or running.lab.blades]
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        view.show()
        now = running.stages()
        if all(
            _is_settled(running.lab.blade(name), now.blade(name)) or (until == "os" and now.blade(name).os)
            for name in names
        ):
            break
        time.sleep(REDRAW_S)
    view.show()


def show_table(lab: Lab, state: stages.LabState, extra: Any = None) -> None:
    """The table of a run, in text."""
    print(tables.table(lab, state, extra))


def show_topology(running: client.RunningLab) -> None:
    """Who is in the swarm, what runs where, and which ports answered."""
    display(draw_topology(running.lab, fold_all(running.events())).dated(time.time()))


def show_versions(running: client.RunningLab, rows: Iterable[Row]) -> None:
    """Which version each blade runs, and which blades a roll would let boot another: the topology with a roll's survey
    in it."""
    rows = list(rows)
    going = [row.blade for row in rows if row.what in ("roll", "wait")]
    roll = of_versions({row.blade: (row.runs, row.wanted) for row in rows}, going)
    scene = replace(fold_all(running.events()), roll=roll)
    display(draw_topology(running.lab, scene).dated(time.time()))


def show_spread(answers: Iterable[Answer], *, title: str = "Requests by replica") -> None:
    """How many requests each replica answered, as bars."""
    display(draw_request_bars(Counter(answer.replica or "no answer" for answer in answers), title=title))


def show_sequence(running: client.RunningLab, blade: Blade) -> None:
    """What a blade and the lab said to each other in its latest boot."""
    display(draw_sequence(running.events(), blade.name, _boot(running, blade)))


def show_ignition(running: client.RunningLab, blade: Blade, config: Mapping[str, Any]) -> None:
    """How a blade's config came to it in its latest boot, what Ignition wrote of it, and which units were heard of."""
    display(draw_config(running.events(), blade.name, _boot(running, blade), config))


def show_join(running: client.RunningLab, blade: Blade) -> None:
    """How a blade joined the swarm in its latest boot."""
    display(draw_join(running.events(), blade.name, _boot(running, blade)))


def show_requests(answers: Iterable[Answer], port: int) -> None:
    """The ways that requests took: to which blade's port, and on to which replica."""
    display(draw_requests(answers, port))


def show_absence(running: client.RunningLab, blade: Blade) -> None:
    """How a blade went the last time, what became of its tasks, and how it came back."""
    display(draw_absence(running.events(), blade.name))


def _boot(running: client.RunningLab, blade: Blade) -> str:
    return running.stages().blade(blade.name).boot


def show_tail(running: client.RunningLab, blade: Blade, *, most: int = 12) -> None:
    """The latest DHCP, TFTP, HTTP and swarm lines of a blade in its latest boot, in words."""
    now, heard = running.stages().blade(blade.name), running.events()
    mine = [one for one in heard if one.blade == blade.name and one.boot != events.REHEARSAL]
    mine = [one for one in mine if boot_board.is_of(one, now)]
    _show_lines(f"What was heard of {blade.name}", event_text.tail(mine, most=most))


def show_console(running: client.RunningLab, blade: Blade, *, most: int = 20) -> None:
    """The last lines of a virtual blade's serial port."""
    path = running.state.console(blade.name)
    said = path.read_bytes()[-65536:] if path.exists() else b""
    lines = [line for line in printable(said.decode(errors="replace")).splitlines() if line.strip()]
    _show_lines(f"The serial port of {blade.name}", lines[-most:])


def _show_lines(title: str, lines: Sequence[str]) -> None:
    said = list(lines) or ["nothing yet"]
    caption = f'<figcaption style="font-weight:600">{esc(title)}</figcaption>'
    html = f'<figure style="margin:0">{caption}{listing(title, said)}</figure>'
    display({"text/html": html, "text/plain": "\n".join([title, *said])}, raw=True)
