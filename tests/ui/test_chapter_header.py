"""The head of a chapter and its bricks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit.errors import ParameterError
from labkit.ui import chapter_header
from labkit.workbook import BOOK
from labkit.workbook.chapters import Section, chapter, read_sections, sections_of

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SECTIONS = (Section("Prepare", ("a", "b"), ("x = 1", "import y")), Section("Act", ("c",), ("act()",)))


def states(bar: chapter_header.Bar) -> list[str]:
    return [brick.state for brick in bar.bricks]


def test_bricks_follow_the_cells() -> None:
    bar = chapter_header.Bar(SECTIONS)
    assert states(bar) == ["waits", "waits"]
    bar.began("import y")
    assert states(bar) == ["runs", "waits"]
    bar.ended("import y", well=True)
    assert states(bar) == ["ran", "waits"], "what stands before the first cell that was seen has run too"
    bar.began("act()")
    bar.ended("act()", well=False)
    assert states(bar) == ["ran", "failed"]
    bar.began("act()")
    assert states(bar) == ["ran", "runs"]
    bar.ended("act()", well=True)
    assert states(bar) == ["ran", "ran"]


def test_a_cell_that_was_changed_is_known_by_its_id() -> None:
    bar = chapter_header.Bar(SECTIONS)
    bar.ended("act(now=True)", well=True)
    assert states(bar) == ["waits", "waits"]
    bar.ended("act(now=True)", "c", well=True)
    assert states(bar)[1] == "ran"


def test_one_bar_follows_at_a_time() -> None:
    class Hooks:
        def __init__(self) -> None:
            self.called: list[tuple[str, Any]] = []

        def register(self, name: str, call: Any) -> None:
            self.called.append((name, call))

        def unregister(self, name: str, call: Any) -> None:
            self.called.remove((name, call))

    shell: Any = SimpleNamespace(events=Hooks())
    first, second = chapter_header.Bar(SECTIONS), chapter_header.Bar(SECTIONS)
    try:
        first.follow(shell)
        second.follow(shell)
        assert [name for name, _ in shell.events.called] == ["pre_run_cell", "post_run_cell"]
        assert all(call.__self__ is second for _, call in shell.events.called)
    finally:
        chapter_header.Bar._following = None


def test_sections_are_headings_with_code() -> None:
    book = {
        "cells": [
            {"cell_type": "code", "id": "0", "source": "p = 1", "metadata": {"tags": ["parameters"]}},
            {"cell_type": "code", "id": "1", "source": "a = 1"},
            {"cell_type": "markdown", "id": "2", "source": ["# Title\n", "## Empty\n"]},
            {"cell_type": "markdown", "id": "3", "source": "## Full\nwords"},
            {"cell_type": "code", "id": "4", "source": ["b\n", "c"]},
        ]
    }
    assert sections_of(book) == (Section("Prepare", ("1",), ("a = 1",)), Section("Full", ("4",), ("b\nc",)))


@pytest.mark.parametrize("one", BOOK, ids=lambda one: one.name)
def test_every_notebook_has_its_head(
    one: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    chapter_header.chapter(one.name)
    said = capsys.readouterr().out
    assert "Changes: " in said and "Undo: " in said and "Takes: " in said
    assert all(section.name in said for section in read_sections(FOLDER, one.name))
    html = chapter_header._head_html(one)
    place = BOOK.index(one)
    near = [f">← {other.title}<" for other in BOOK[max(0, place - 1) : place]]
    near += [f"<b>{one.title}</b>", *(f">{other.title} →<" for other in BOOK[place + 1 : place + 2])]
    assert near == sorted(near, key=html.index), "as one turns the pages"
    calls = [line for cell in json.loads((FOLDER / one.file).read_text())["cells"] for line in cell["source"]]
    assert any(f'ui.chapter("{one.name}")' in line for line in calls)


def test_an_unknown_chapter_is_refused() -> None:
    with pytest.raises(ParameterError, match="no chapter '06'"):
        chapter("06")


def test_how_long_a_chapter_takes_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    assert chapter_header.takes("01-pxe-setup") == "not measured here yet"
    assert chapter_header.takes("00-start") == "a few seconds"
    for name, seconds in (("a", 40.0), ("b", 50.0), ("c", 90.0)):
        (tmp_path / name).mkdir()
        row = {"name": "01-pxe-setup", "seconds": seconds, "status": "done"}
        (tmp_path / name / "run.json").write_text(json.dumps({"v": 1, "chapters": [row]}))
    assert chapter_header.takes("01-pxe-setup") == "about 50 seconds here, going by earlier runs"
