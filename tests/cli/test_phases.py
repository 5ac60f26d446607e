"""What is told while a command works: with clock and ticks on a terminal, a line each elsewhere."""

from __future__ import annotations

import io
import re
import threading

import pytest

from labkit.cli import phases
from labkit.cli.phases import Phases


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end: what is behind the last "erase this line"."""
    return [line.rpartition("\r\x1b[K")[2] for line in text.split("\n")]


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setenv("NO_COLOR", "1")
    return io.StringIO()


def told(out: io.StringIO, *, live: bool) -> list[str]:
    clock = Clock()
    with Phases(out, live=live, clock=clock) as progress:
        progress("labos: downloading packages …")
        clock.now += 41
        progress("labos: packing …")
        clock.now += 0.2
        progress("✓ labos: built in 41 s")
        progress("01-pxe-setup …")
        clock.now += 20
        progress("  blade1: kernel")
        clock.now += 20
        progress("lab 'lab' is up")
        progress("the last …")
    return screen(out.getvalue())


def test_on_a_terminal_each_phase_ends_in_a_tick_and_its_seconds(out: io.StringIO) -> None:
    assert told(out, live=True) == [
        "✓ labos: downloading packages (41 s)", "✓ labos: built in 41 s", "  blade1: kernel", "✓ 01-pxe-setup (40 s)",
        "lab 'lab' is up", "✓ the last", "",
    ]  # fmt: skip
    assert "01-pxe-setup … 20 s" in out.getvalue(), "the phase goes on under what is told meanwhile"


def test_elsewhere_it_is_a_line_each_and_nothing_of_a_terminals(out: io.StringIO) -> None:
    assert told(out, live=False) == [
        "labos: downloading packages …", "labos: packing …", "✓ labos: built in 41 s", "01-pxe-setup …",
        "  blade1: kernel", "lab 'lab' is up", "the last …", "",
    ]  # fmt: skip
    assert not re.search(r"[\r\x1b]", out.getvalue())


def test_what_failed_has_no_tick(out: io.StringIO) -> None:
    with pytest.raises(RuntimeError), Phases(out, live=True) as progress:
        progress("starting …")
        raise RuntimeError
    assert screen(out.getvalue())[0] == "✕ starting"


def test_the_clock_goes_on_by_itself(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, clock = threading.Event(), Clock()
    monkeypatch.setattr(phases, "EVERY_S", 0.001)
    write = out.write

    def watched(text: str) -> int:
        if "starting … 7 s" in text:
            shown.set()
        return write(text)

    monkeypatch.setattr(out, "write", watched)
    with Phases(out, live=True, clock=clock) as progress:
        progress("starting …")
        clock.now = 7
        assert shown.wait(10)


def test_a_phase_fits_into_a_narrow_terminal(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    clock = Clock()
    with Phases(out, live=True, clock=clock) as progress:
        progress("starting the lab's servers: network, boot server, engine …")
        clock.now = 12
        progress("  told meanwhile")
    redrawn = [part for part in re.split(r"\r\x1b\[K|\n", out.getvalue()) if part.startswith("starting")]
    assert len(redrawn) == 2 and all(len(part) < 40 for part in redrawn) and redrawn[1].endswith(" 12 s")


def test_a_line_is_broken_between_words(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "/a/path/that-is-longer/than-a-line/and-stays-whole"
    with Phases(out, live=True) as progress:
        progress(f"two images are built from packages, this once:\n{path}")
    assert screen(out.getvalue()) == ["two images are built from packages,", "  this once:", path, ""]


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured", "live"),
    [("xterm", "", True, True), ("xterm", "1", False, True), ("dumb", "", False, False), ("", "", False, False)],
)
def test_colours_are_for_terminals_that_have_them(
    monkeypatch: pytest.MonkeyPatch, terminal: str, no_color: str, coloured: bool, live: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    out = Terminal()
    with Phases(out) as progress:
        progress("✓ done")
    assert ("\x1b[32m✓" in out.getvalue()) == coloured
    assert ("\x1b[K" in out.getvalue()) == live


def test_a_pipe_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    with Phases(out) as progress:
        progress("starting …")
    assert out.getvalue() == "starting …\n"
