"""The lab owner's copies of what machines told, from a boot server that answers, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from labkit.events import Inventoried, kept_inventories
from labkit.events.inventory import Inventory
from labkit.events.kept_inventories import Kept, name_of
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.servers.event_writer import EventWriter
from labkit.servers.inventories import copy_out

MAC = "00:00:5e:00:53:01"
KEPT = Kept(5.0, Inventory(threads=1, memory_mib=1024))


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.make()
    return state


def copied(state: State, names: Sequence[str], answers: dict[str, Any] | None = None) -> list[str]:
    """What was left, with a boot server that knows these inventories; with none without."""

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"inventory": (answers or {}).get(request["name"])}

    async def copying() -> list[str]:
        if answers is None:
            return await copy_out(state, names)
        server = await rpc.serve(rpc.listen(state.bootd), {"inventory": answer})
        try:
            return await copy_out(state, names)
        finally:
            server.close()

    return asyncio.run(copying())


def test_they_are_copied_and_tried_again_where_nobody_answers(state: State) -> None:
    assert copied(state, ["blade1"]) == ["blade1"] and not state.inventory.exists()
    assert (
        copied(state, ["blade1", name_of(MAC), "gone"], {"blade1": KEPT.as_json(), name_of(MAC): KEPT.as_json()}) == []
    )
    assert kept_inventories.read(state.inventory, "blade1") == KEPT
    assert [mac for mac, _ in kept_inventories.read_others(state.inventory)] == [MAC]
    assert not (state.inventory / "gone.json").exists()


def test_what_makes_no_sense_is_not_copied(state: State) -> None:
    assert copied(state, ["blade1"], {"blade1": {"at": "now"}}) == []
    assert kept_inventories.read(state.inventory, "blade1") is None


def test_what_cannot_be_written_is_tried_again(state: State) -> None:
    state.inventory.write_text("in the way")
    assert copied(state, ["blade1"], {"blade1": KEPT.as_json()}) == ["blade1"]


def test_the_writer_says_whose_there_are(state: State) -> None:
    writer = EventWriter(lab_yaml.parse("blades: [{name: blade1}]\n", Path("lab.yaml")), state)
    writer.emit(Inventoried(blade="blade1", words="4 cores", macs=(MAC,)))
    writer.emit(Inventoried(words="4 cores", macs=(MAC,)))
    writer.emit(Inventoried(words="of nobody"))
    assert writer.inventoried == ["blade1", name_of(MAC)]
