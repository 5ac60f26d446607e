"""What a roll is about before it begins, what stands in its way, and who has what after it."""

from __future__ import annotations

from dataclasses import replace

from labkit import events
from labkit.swarm.node import Node
from labkit.swarm.roll.survey import after, survey, unfinished_of
from labkit.swarm.roll.turns import BladeNow, Phase, Seen
from tests.swarm.roll.world import NEW, OLD, Rack, phases

NAMES = ("blade1", "blade2", "blade3")
WANTED = dict.fromkeys(NAMES, NEW)


def test_who_runs_the_newest_is_left_alone() -> None:
    rack = Rack()
    rack.blades["blade2"] = replace(rack.blades["blade2"], version=NEW)
    rack.blades["blade3"] = replace(rack.blades["blade3"], version="")
    found = survey(NAMES, rack.seen(), WANTED, {})
    assert [(row.blade, row.what, row.why) for row in found.rows] == [
        ("blade1", "roll", "it runs another version"),
        ("blade2", "has it", "it runs the newest"),
        ("blade3", "roll", "what it runs is not known"),
    ]
    assert [turn.blade for turn in found.roll(limit_s=60).turns] == ["blade1", "blade3"]
    assert (found.whole, found.reachable, found.obstacles, found.notes) == (frozenset({"web"}), 1, (), ())


def test_nothing_to_do() -> None:
    rack = Rack()
    found = survey(NAMES, rack.seen(), dict.fromkeys(NAMES, OLD), {})
    assert found.roll(limit_s=60).over and {row.what for row in found.rows} == {"has it"}


def test_what_is_off_stays_off_unless_it_was_meant() -> None:
    rack = Rack()
    for name in NAMES:
        del rack.nodes[name]
        rack.blades[name] = BladeNow(power="off", boot="x", version=OLD)
    found = survey(NAMES, rack.seen(), WANTED, {}, named=["blade2"], unfinished={"blade3"})
    assert [row.what for row in found.rows] == ["off", "roll", "roll"]
    assert "whenever it is switched on" in found.rows[0].why


def test_who_is_on_its_way_is_waited_for_while_it_is_fresh() -> None:
    rack = Rack()
    for name in NAMES:
        del rack.nodes[name]
        rack.blades[name] = BladeNow(power="on", boot="x", version=OLD if name == "blade1" else NEW)
    found = survey(NAMES, rack.seen(), WANTED, {}, fresh={"blade1", "blade2"})
    assert [row.what for row in found.rows] == ["roll", "wait", "roll"]
    assert [turn.awaited for turn in found.roll(limit_s=60).turns] == [False, True, False]


def test_what_stands_in_the_way_is_said_before_anything_happens() -> None:
    rack = Rack(managers=frozenset({"blade1"}))
    seen = rack.seen()
    found = survey(NAMES, seen, {"blade1": NEW, "blade3": NEW}, {"blade2": "mine.bu: it does not transpile"})
    assert found.obstacles == ("blade2 could not boot: mine.bu: it does not transpile",)
    assert survey(NAMES, Seen(blades=seen.blades, silent="no leader"), WANTED, {}).obstacles == ("no leader",)
    lost = tuple(replace(node, manager="") if node.raft and node.blade else node for node in seen.nodes)
    assert (
        "the swarm has no quorum: 1 of 2 managers" in survey(NAMES, replace(seen, nodes=lost), WANTED, {}).obstacles[0]
    )
    by_hand = survey(NAMES, replace(seen, managers=frozenset({"blade3"})), WANTED, {})
    assert by_hand.obstacles == (
        "blade1 was made a manager by hand and would come back as a worker: ./lab swarm managers blade1 blade3",
    )


def test_what_a_person_should_know_is_said() -> None:
    rack = Rack(names=("blade1",), bears=lambda running: "image missing")
    found = survey(["blade1"], rack.seen(), {"blade1": NEW}, {})
    assert found.notes == (
        "web is not whole and not waited for: image missing",
        "blade1 is the only node that takes tasks: what runs on it stops while it boots",
    )
    assert found.whole == frozenset()


def test_which_blades_have_what_when_it_stopped_and_how_it_goes_on() -> None:
    rack = Rack(lost=frozenset({"blade2"}))
    found = survey(NAMES, rack.seen(), WANTED, {})
    over = rack.run(found.roll(limit_s=100))
    rows = after(found, over, rack.seen())
    assert [(row.blade, row.runs, row.what) for row in rows] == [
        ("blade1", NEW, "has it"), ("blade2", NEW, "roll"), ("blade3", OLD, "roll"),
    ]  # fmt: skip
    assert rows[1].why.startswith("it is not in the swarm") and rows[2].why == "its turn did not come"
    rack.lost = frozenset()
    rack._joins("blade2")  # a person mended it: it is in, with the newest
    again = survey(NAMES, rack.seen(), WANTED, {})
    assert [row.what for row in again.rows] == ["has it", "has it", "roll"]
    over = rack.run(again.roll(limit_s=100))
    assert phases(over) == [Phase.DONE] and not over.stopped


def test_a_roll_that_was_broken_off_is_known_by_its_events() -> None:
    def roll(step: str, blade: str = "blade1") -> events.Roll:
        return events.Roll(blade=blade, step=step)

    leaving = [roll("begun", ""), roll("leaving")]
    assert unfinished_of(leaving) == {"blade1"}
    assert unfinished_of([*leaving, roll("leaving", "blade2"), roll("booting")]) == {"blade2"}
    assert unfinished_of([*leaving, events.Power(blade="blade1", state="on")]) == frozenset()
    assert unfinished_of([*leaving, events.Power(blade="blade1", state="off")]) == {"blade1"}
    assert unfinished_of([*leaving, roll("failed")]) == frozenset()
    assert unfinished_of([*leaving, events.LabEvent(state="starting")]) == frozenset()
    assert unfinished_of([*leaving, events.LabEvent(state="starting")], is_real=True) == {"blade1"}


def test_a_node_of_nobody_is_no_blade() -> None:
    rack = Rack(names=("blade1",))
    stranger = Node(id="s", hostname="stranger", state="ready")
    found = survey(["blade1"], replace(rack.seen(), nodes=(*rack.seen().nodes, stranger)), {"blade1": NEW}, {})
    assert found.notes == (), "it takes tasks too"
