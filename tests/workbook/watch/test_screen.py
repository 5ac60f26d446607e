"""The words in a terminal: written over in place, only what changed; and once where there is no terminal."""

from __future__ import annotations

import io
import signal
import time
from pathlib import Path

import pytest

from labkit.cli import commands
from labkit.lab.state import State
from labkit.workbook.watch.follower import Follower
from labkit.workbook.watch.screen import ENTER, LEAVE, Screen, watch_on


@pytest.fixture
def size(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "10")
    return monkeypatch


def said(stream: io.StringIO) -> str:
    text = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    return text


def test_only_what_changed_is_written(size: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with Screen(stream) as its:
        its.show(["one", "", "three"])
        assert said(stream) == f"{ENTER}\x1b[1;1Hone\x1b[K\x1b[3;1Hthree\x1b[K"
        its.show(["one", "", "three"])
        assert said(stream) == ""
        its.show(["one", "two"])
        assert said(stream) == "\x1b[2;1Htwo\x1b[K\x1b[3;1H\x1b[J"
        size.setenv("COLUMNS", "60")
        its.show(["one"])
        assert said(stream) == f"{ENTER}\x1b[1;1Hone\x1b[K", "another size: all of it"
        its.forget()
        its.show(["one"])
        assert said(stream).startswith(ENTER)
    assert said(stream) == LEAVE


def test_what_comes_from_outside_steers_nothing(size: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    Screen(stream).show(["\x1b[2Jevil\x9b31m\rx"])
    assert said(stream).removeprefix(ENTER) == "\x1b[1;1Hevil\\x9b31m\\rx\x1b[K"


def test_ctrl_c_ends_it_and_the_terminal_is_as_before(tmp_path: Path, size: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}]\n")
    stream, before = io.StringIO(), [signal.getsignal(one) for one in (signal.SIGCONT, signal.SIGTERM)]
    size.setattr(time, "sleep", lambda s: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            watch_on(stream, Follower(tmp_path / "lab.yaml", State(tmp_path / "s")))
    finally:
        for one, handler in zip((signal.SIGCONT, signal.SIGTERM), before, strict=True):
            signal.signal(one, handler)
    assert "is not up" in stream.getvalue() and "\x1b[10;1HCtrl-C ends" in stream.getvalue()
    assert stream.getvalue().endswith(LEAVE)


def test_without_a_terminal_it_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}]\n")
    assert commands.main(["--lab", str(tmp_path / "lab.yaml"), "watch", "--text"]) == 0
    told = capsys.readouterr().out
    assert "is not up. ./lab up starts it" in told and "blade1     ······ off" in told and "\x1b" not in told
    assert commands.main(["watch", "--text", "--port", "8000"]) == 2
