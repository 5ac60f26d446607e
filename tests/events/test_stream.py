"""The stream of events: a line an event, there and back, and readers that a growing file does not confuse."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import events
from labkit.events import KINDS, Event, Power, Swarm, Trouble

VALUES: dict[object, st.SearchStrategy[Any]] = {
    "str": st.text(),
    "int": st.integers(0, 2**53),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "tuple[str, ...]": st.lists(st.text(), max_size=4).map(tuple),
}


def any_event(cls: type[Event]) -> st.SearchStrategy[Event]:
    values = {field.name: VALUES[field.type] for field in dataclasses.fields(cls)}
    return st.builds(cls, **{**values, "time": st.floats(0, 2e11)})


def write(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)


def line(seq: int, detail: str = "") -> str:
    return events.encode(Trouble(seq=seq, time=1.0, part="bootd", detail=detail)) + "\n"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_there_and_back(kind: str, data: st.DataObject) -> None:
    event = data.draw(any_event(KINDS[kind]))
    text = events.encode(event)
    assert "\n" not in text and "\r" not in text
    assert events.decode(text) == event
    assert kind in events.describe(dataclasses.replace(event, time=1.7e9))


def test_every_kind_is_known() -> None:
    assert set(KINDS.values()) == set(Event.__subclasses__())


def test_a_line_says_only_what_is_not_default() -> None:
    assert json.loads(events.encode(Power(state="on", blade="blade1"))) == {
        "v": 1, "kind": "power", "blade": "blade1", "state": "on",
    }  # fmt: skip


def test_unknown_kinds_and_fields_are_skipped() -> None:
    assert events.decode('{"v":2,"kind":"weather","sky":"red"}') is None
    assert events.decode('{"v":2,"kind":"power","state":"on","watts":12}') == Power(state="on")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"kind":1}', '{"v":1}', '{"kind":"power"}'])
def test_what_is_no_event(text: str) -> None:
    with pytest.raises(ValueError, match="not an event"):
        events.decode(text)


def test_read_leaves_out_a_half_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert list(events.read(path)) == []
    write(path, line(1), '{"v":2,"kind":"weather"}\n', line(2), line(3)[:20])
    assert [event.seq for event in events.read(path)] == [1, 2]
    assert [event.seq for event in events.read(path, after=1)] == [2]
    write(path, line(3)[20:])
    assert [event.seq for event in events.read(path)] == [1, 2, 3]


def test_follow_sees_growth(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    stream = events.follow(path, every_s=0.001)
    assert next(stream) is None, "no file yet"
    write(path, line(1), line(2, "größer")[:-4])
    assert [getattr(next(stream), "seq", None) for _ in range(3)] == [1, None, None]
    write(path, line(2, "größer")[-4:])
    assert next(stream) == Trouble(seq=2, time=1.0, part="bootd", detail="größer")
    assert next(stream) is None
    path.write_text(events.encode(Swarm(seq=1, action="init")) + "\n")
    assert next(stream) == Swarm(seq=1, action="init"), "a new lab began a new file"


def test_follow_begins_after(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, line(1), line(2))
    assert [event.seq for event in events.follow(path, after=1, until=time.time()) if event is not None] == [2]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1c", "\r", "\n"])
def test_no_character_breaks_a_line(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "events.jsonl"
    write(path, line(1, f"one{separator}two"), line(2))
    whole = list(events.read(path))
    assert whole == [event for event in events.follow(path, until=time.time()) if event is not None]
    assert [event.seq for event in whole] == [1, 2]


def test_the_emitter_stamps_and_writes_whole_lines() -> None:
    reader, writer = os.pipe()
    try:
        emit = events.Emitter(writer)
        before = time.time()
        emit(Power(state="on", blade="blade1"))
        emit(Power(state="off", blade="blade1", time=5.0))
        first, second = os.read(reader, 4096).decode().splitlines()
    finally:
        os.close(reader)
        os.close(writer)
    stamped = events.decode(first)
    assert stamped is not None and before <= stamped.time <= time.time()
    assert events.decode(second) == Power(state="off", blade="blade1", time=5.0)
