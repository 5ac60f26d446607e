"""Lines of services' logs: whose they are, and that none of them steers a terminal."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cli.swarm.view import line
from labkit.lab.plain_text import shown
from labkit.swarm.node import Task
from labkit.swarm.observe.log_entries import NODE, TASK, Entry, Names, read_entry

STAMP = "2026-01-02T03:04:05.678901234Z"
NAMES = Names("web", {"t1": Task(id="t1", service="s", slot=2, node="n1"),
                      "t2": Task(id="t2", service="s", slot=0, node="n1")}, {"n1": "blade1"})  # fmt: skip


def written(words: str, task: str = "t1", node: str = "n1") -> bytes:
    return f"{STAMP} com.docker.swarm.node.id={node},com.docker.swarm.service.id=s,{TASK}={task} {words}\n".encode()


def test_a_line_says_who_said_it_where_and_when() -> None:
    entry = read_entry(written("GET / 200"), 1, NAMES)
    assert (entry.replica, entry.blade, entry.stream, entry.words) == ("web.2", "blade1", "stdout", "GET / 200")
    assert entry.stamp == STAMP and entry.time == pytest.approx(1767323045.678901)
    assert read_entry(written("x"), 2, NAMES).stream == "stderr"
    assert read_entry(written("x", "t2"), 1, NAMES).replica == "web.blade1"  # a global one has no number
    assert read_entry(written("x", "ttttttttttttttttt", "other"), 1, NAMES).replica == "web.tttttttttttt"
    escaped = written("a=b,c d").replace(b"node.id=", b"node.id%3D=").replace(b"t1 ", b"t%31 ")
    assert read_entry(escaped, 1, NAMES).replica == "web.2"
    assert NODE in escaped.decode()


@pytest.mark.parametrize("words", ["", " ", "  two  blanks", "a=b c", STAMP])
def test_words_are_told_as_they_were_written(words: str) -> None:
    assert read_entry(written(words), 1, NAMES).words == words


def test_the_engines_own_word_is_nobodys() -> None:
    said = b"Error grabbing logs: rpc error: node n2 is not available\n"
    entry = read_entry(said, 3, NAMES)
    assert entry == Entry(stream="engine", words=said.decode().strip())
    assert line(entry) == "the engine: " + entry.words
    assert read_entry(b"not as the engine writes\n", 1, NAMES).words == "not as the engine writes"
    assert read_entry(b"", 1, NAMES) == Entry()


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07done", "done"),
        ("\x1b]0;title\x1b\\done", "done"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("50%\r100%", "50%\\r100%"),
        ("line\r", "line"),
        ("bell\x07 back\x08", "bell\\x07 back\\x08"),
        ("\x9b31mC1", "\\x9b31mC1"),
        ("\x1b", "\\x1b"),
        ("gnp.\u202egpj", "gnp.\\u202egpj"),
        ("a\u2028b", "a\\u2028b"),
        ("tab\tstays, grüße und 日本語 too", "tab\tstays, grüße und 日本語 too"),
    ],
)
def test_nothing_in_it_steers_a_terminal(words: str, seen: str) -> None:
    assert shown(words) == seen


@given(st.binary())
def test_whatever_a_container_writes_is_one_plain_line(said: bytes) -> None:
    for one in (read_entry(said, 1, NAMES), read_entry(written("")[:-1] + said, 1, NAMES)):
        text = line(one)
        assert all(letter == "\t" or letter.isprintable() for letter in text)
        assert json.dumps(asdict(one)).isascii() and "\x1b" not in json.dumps(asdict(one))


def test_a_blades_name_is_shown_with_the_same_care() -> None:
    entry = replace(read_entry(written("x"), 2, NAMES), blade="bl\x1b[2Jade")
    assert " on blade !| x" in line(entry)
