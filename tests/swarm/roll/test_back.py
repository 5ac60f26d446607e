"""Which blade goes back after a roll that stopped, and why another does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit.lab import Blade, Flavour, lab_yaml
from labkit.swarm.roll.back import WayBack, begin_back, way_back
from labkit.swarm.roll.survey import survey
from labkit.swarm.roll.turns import Phase, Press
from tests.swarm.roll.world import NEW, OLD, Rack

NAMES = ("blade1", "blade2", "blade3")
LAB = lab_yaml.parse("os: flatcar\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n", Path("lab.yaml"))
BLADES = {blade.name: blade for blade in LAB.blades}


def stopped(rack: Rack, parallel: int = 1, blades: dict[str, Blade] = BLADES) -> WayBack:
    found = survey(NAMES, rack.seen(), dict.fromkeys(NAMES, NEW), {})
    over = rack.run(found.roll(limit_s=300, parallel=parallel))
    assert over.stopped
    return way_back(found, over, rack.seen(), blades)


def test_the_first_one_goes_back() -> None:
    assert stopped(Rack(lost=frozenset({"blade1"}))) == WayBack("blade1", "flatcar", OLD)


@pytest.mark.parametrize(
    ("rack", "why"),
    [
        (Rack(lost=frozenset({"blade2"})), "blade1 runs the newest well, and blade2 does not"),
        (Rack(hangs=frozenset({"blade1"})), "blade1 did not boot the newest"),
        (Rack(brings={"blade1": "third"}), "blade1 did not boot the newest"),
    ],
)
def test_another_one_does_not(rack: Rack, why: str) -> None:
    assert stopped(rack) == WayBack("blade1" if "blade1 did" in why else "blade2", why=why)


def test_two_that_failed_are_a_person_s() -> None:
    assert "blade1, blade2 failed" in stopped(Rack(lost=frozenset({"blade1", "blade2"})), parallel=2).why


def test_what_was_before_has_to_be_known() -> None:
    def why(**changed: object) -> str:
        blades = {name: replace(blade, **changed) for name, blade in BLADES.items()}  # type: ignore[arg-type]
        return stopped(Rack(lost=frozenset({"blade1"})), blades=blades).why

    assert why(os=Flavour.LABOS) == "of labos there is no release of before to go back to"
    assert "lab.yaml says version: 4459.2.1 for blade1" in why(version="4459.2.1")
    rack = Rack(lost=frozenset({"blade1"}))
    rack.blades["blade1"] = replace(rack.blades["blade1"], version="")
    assert stopped(rack).why == "what blade1 ran before is not known"


def test_one_that_joined_leaves_in_order_and_is_waited_for() -> None:
    broken = Rack(bears=lambda running: "no answer" if rack_of[0].blades["blade1"].version == NEW else "")
    rack_of = [broken]
    found = survey(NAMES, broken.seen(), dict.fromkeys(NAMES, NEW), {})
    over = broken.run(found.roll(limit_s=300))
    way = way_back(found, over, broken.seen(), BLADES)
    broken.brings["blade1"] = OLD
    back, actions = begin_back(way, over, broken.seen(), broken.now)
    presses = [action for action in actions if isinstance(action, Press)]
    assert presses == [Press("blade1", "shutdown")] and back.turns[0].phase is Phase.LEAVING
    broken.press(presses[0])
    ended = broken.run(back)
    assert [turn.phase for turn in ended.turns] == [Phase.DONE] and broken.blades["blade1"].version == OLD
