"""Which blades are wanted on outlives the lab, and a file that is damaged."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit.errors import MachineError
from labkit.lab.state import State
from labkit.servers.at_boot.wanted import remember, wanted


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_buttons_say_who_is_wanted_on(state: State) -> None:
    assert wanted(state) == set()
    for blade, button in (("a", "on"), ("b", "reset"), ("c", "boot"), ("d", "pxe"), ("a", "off"), ("c", "shutdown")):
        remember(state, blade, button)
    assert wanted(state) == {"b"}
    assert json.loads(state.wanted.read_text()) == {"on": ["b"]}


def test_two_at_once_do_not_undo_each_other(state: State) -> None:
    names = [f"blade{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: remember(state, name, "on"), names))
    assert wanted(state) == set(names) and [path.name for path in state.path.iterdir()] == ["wanted.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"on": "blade1"}', '{"on": [1]}', "[" * 100_000, "\0\xff"])
def test_a_damaged_file_is_told_and_mended(state: State, text: str) -> None:
    state.wanted.write_text(text)
    with pytest.raises(MachineError, match="nobody knows which blades were on") as caught:
        wanted(state)
    assert caught.value.where == str(state.wanted) and "./lab power on" in caught.value.fix
    remember(state, "blade1", "on")
    assert wanted(state) == {"blade1"}
