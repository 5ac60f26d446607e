"""Looking at a lab again and again: up, down, up again, with a record that cannot be read, with another lab file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from labkit import events
from labkit.errors import ControlError, LabFileError
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.workbook.watch import follower
from labkit.workbook.watch.follower import Follower
from tests.rig.recorded import RUNNING

LAB = "name: lab\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n"
BOOTING = RUNNING[:40]


class Supervised:
    """A lab's files, and what its supervisor would say: ``status`` is None where there is none."""

    def __init__(self, folder: Path) -> None:
        self.file, self.state = folder / "lab.yaml", State(folder / ".lab")
        self.status: object = {}
        self.file.write_text(LAB)
        self.state.path.mkdir()

    def happen(self, *stream: events.Event) -> None:
        with self.state.events.open("a") as file:
            file.writelines(events.encode(event) + "\n" for event in stream)

    def __call__(self, state: State) -> object:
        if isinstance(self.status, Exception):
            raise self.status
        return self.status


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervised:
    lab = Supervised(tmp_path)
    monkeypatch.setattr(control, "status", lab)
    monkeypatch.setattr(follower, "CHECK_S", 0.0)
    return lab


def test_it_goes_on_when_the_lab_is_up_again(lab: Supervised) -> None:
    its = Follower(lab.file, lab.state)
    lab.happen(*RUNNING)
    first = its.look()
    assert first.up and first.scene.stages.blade("blade1").stage == "joined" and first.heard[-1] == RUNNING[-1]
    lab.status = None
    down = its.look()
    assert not down.up and down.scene is first.scene and down.at >= first.at, "as it was, and since when"
    lab.status = {}
    lab.happen(events.LabEvent(seq=9000, time=RUNNING[-1].time + 60, state="starting"))
    assert its.look().up and its.look().scene.stages.blade("blade1").stage == "off"


def test_nothing_new_is_the_same_value(lab: Supervised) -> None:
    lab.happen(*RUNNING)
    its = Follower(lab.file, lab.state)
    its.look_once()
    assert its.look() is its.look()
    lab.status = None
    assert its.look() is its.look()


def test_time_goes_by_for_a_blade_on_its_way(lab: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.happen(*BOOTING)
    its, now = Follower(lab.file, lab.state), BOOTING[-1].time + 5
    monkeypatch.setattr(time, "time", lambda: now)
    assert its.look().at == now
    lab.status = None
    now += 100
    assert its.look().at == now - 100, "and stands still with the lab"


def test_an_engine_that_is_not_there_is_said_and_not_asked_at_each_look(
    lab: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Follower._ask

    def counted(its: Follower) -> None:
        asked.append("")
        ask(its)

    monkeypatch.setattr(Follower, "_ask", counted)
    its = Follower(lab.file, lab.state)
    assert "no Docker engine listens here" in its.look_once().swarm.why
    for _ in range(5):
        its.look()
    assert len(asked) == 1
    lab.status = None
    assert Follower(lab.file, lab.state).look_once().swarm.why == "" and len(asked) == 1, "nor where the lab is down"


@pytest.mark.parametrize("error", [ControlError("no answer to 'status' within 10 s"), ControlError("not yours")])
def test_a_lab_that_cannot_be_asked_is_told(lab: Supervised, error: ControlError) -> None:
    lab.status = error
    seen = Follower(lab.file, lab.state).look()
    assert not seen.up and seen.trouble == str(error)


def test_a_record_that_is_damaged_is_told_until_it_is_mended(lab: Supervised) -> None:
    lab.happen(*RUNNING)
    its = Follower(lab.file, lab.state)
    its.look()
    with lab.state.events.open("a") as file:
        file.write("no event\n")
    for _ in range(2):
        assert "take that line out" in its.look().trouble
    lab.state.events.unlink()
    lab.happen(*RUNNING)
    assert its.look().trouble == "" and its.look().scene.stages.blade("blade1").joined


def test_a_blade_that_was_adopted_is_there_and_a_mistake_changes_nothing(lab: Supervised) -> None:
    its = Follower(lab.file, lab.state)
    for text, many in ((LAB.replace("]", ", {name: blade4}]"), 4), ("blades: nonsense\n", 4), (LAB, 3)):
        lab.file.write_text(text)
        assert len(its.look().names) == many
    lab.file.write_text("blades: nonsense\n")
    with pytest.raises(LabFileError):
        Follower(lab.file, lab.state)
