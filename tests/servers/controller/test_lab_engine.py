"""The lab's own engine as the supervisor keeps it: a renewal that was cut off is undone at its start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labkit.errors import ControlError, SwarmError
from labkit.events import Event
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.machines.host.sandbox import Sandbox
from labkit.servers.controller.lab_engine import LabEngine
from labkit.servers.parts.processes import Part, PartSpec
from labkit.swarm.recovery import renew


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    state = State(tmp_path / ".lab")
    state.make()
    (state.data / "engine/swarm").mkdir(parents=True)
    (state.data / "engine/swarm" / renew.NOTE).write_text("note")
    return state


def engine_of(state: State) -> LabEngine:
    return LabEngine(lab_yaml.parse("blades: [{name: blade1}]\n", state.path / "lab.yaml"), state)


def stand_in(state: State, engine: LabEngine) -> Part:
    """A part that runs and is no engine: nobody answers on its socket."""
    told: list[Event] = []
    sandbox = Sandbox(("/bin/sleep", "60"), everything=True)
    return Part(
        PartSpec(name="engine", sandbox=sandbox, log=state.logs / "engine.log", prepare=engine.prepare), told.append
    )


def notes(state: State) -> set[str]:
    return {path.name for path in (state.data / "engine/swarm").iterdir()}


def test_what_a_dead_supervisor_left_is_undone(state: State) -> None:
    renew.set_aside(state.data / "engine")
    assert notes(state) == {renew.ASIDE}
    engine_of(state).prepare()
    assert notes(state) == {renew.NOTE}


@pytest.mark.netns
def test_a_renewal_that_fails_leaves_the_engine_as_it_was(state: State) -> None:
    engine = engine_of(state)

    async def fail() -> None:
        part = stand_in(state, engine)
        await part.start()
        try:
            with pytest.raises(SwarmError, match="was not taken up") as told:
                await engine.renew_swarm(part)
            assert "swarm." in told.value.fix and part.pid
        finally:
            await part.stop()

    asyncio.run(fail())
    assert notes(state) == {renew.NOTE}
    assert [path.name for path in (state.data / "engine").glob("swarm.2*/*")] == [renew.NOTE]


@pytest.mark.netns
def test_a_second_address_is_there_at_the_next_start(state: State) -> None:
    engine = engine_of(state)

    async def readdress() -> Path:
        part = stand_in(state, engine)
        await part.start()
        try:
            return await engine.readdress(part, "10.99.0.2")
        finally:
            await part.stop()

    copy = asyncio.run(readdress())
    assert (copy / renew.NOTE).read_text() == "note" and notes(state) == {renew.NOTE}
    assert (state.data / "engine-address").read_text() == "10.99.0.2\n"


def test_a_lab_without_an_engine_of_its_own_says_so(state: State) -> None:
    async def ask() -> None:
        await engine_of(state).verbs({})["renew_swarm"]({})

    with pytest.raises(ControlError, match="no engine of its own"):
        asyncio.run(ask())
