"""A roll's state machine: every way a turn can go, without a blade."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.swarm.node import Node
from labkit.swarm.roll.steps import SETTLE_S, STUBBORN_S, give_up, may_begin, step
from labkit.swarm.roll.survey import survey
from labkit.swarm.roll.turns import UNDER_WAY, BladeNow, Drain, Phase, Press, Roll, Seen, Tell, Turn
from tests.swarm.roll.world import BOOT_S, DRAIN_S, LEAVE_S, NEW, OLD, Rack, phases

LIMIT_S = 300.0


def roll_of(rack: Rack, *, parallel: int = 1, limit_s: float = LIMIT_S) -> Roll:
    found = survey(rack.names, rack.seen(), dict.fromkeys(rack.names, NEW), {})
    assert not found.obstacles
    return found.roll(limit_s=limit_s, parallel=parallel)


def test_one_blade_after_the_other_leaves_boots_and_is_in_order() -> None:
    rack = Rack()
    over = rack.run(roll_of(rack))
    assert phases(over) == [Phase.DONE] * 3 and over.stopped == ""
    assert rack.pressed == [(name, button) for name in rack.names for button in ("shutdown", "on")]
    assert all(len(away) <= 1 for away in rack.away)
    steps = [(told.blade, told.step) for told in rack.told if told.blade == "blade2"]
    assert [name for _, name in steps] == ["draining", "leaving", "booting", "settling", "done"]
    assert rack.now == pytest.approx(3 * (DRAIN_S + LEAVE_S + BOOT_S + SETTLE_S), abs=9)
    assert all(blade.version == NEW for blade in rack.blades.values())


def test_nothing_to_do_is_over_at_once() -> None:
    rack = Rack()
    empty = Roll(turns=(), wanted={}, whole=frozenset(), reachable=1, limit_s=LIMIT_S)
    assert empty.over
    assert step(empty, rack.seen(), 0.0) == (empty, ())


def test_a_blade_that_does_not_come_back_stops_the_roll() -> None:
    rack = Rack(lost=frozenset({"blade2"}))
    over = rack.run(roll_of(rack))
    assert phases(over) == [Phase.DONE, Phase.FAILED, Phase.WAITING]
    assert over.stopped == "blade2: it is not in the swarm, 300 s after its turn began"
    assert ("blade3", "shutdown") not in rack.pressed, "a bad image takes one blade"
    assert rack.told[-1] == Tell("blade2", "failed", "it is not in the swarm, 300 s after its turn began")


def test_an_end_that_is_known_is_not_waited_for() -> None:
    rack = Rack(lost=frozenset({"blade1"}))

    def panics(rack: Rack) -> None:
        if rack.blades["blade1"].version == NEW:
            rack.blades["blade1"] = replace(rack.blades["blade1"], end="blade1 boots again and again")

    over = rack.run(roll_of(rack), meanwhile=panics)
    assert phases(over)[0] is Phase.FAILED and over.stopped == "blade1: blade1 boots again and again"
    assert rack.now < 30


def test_a_blade_that_does_not_go_off_is_never_cut() -> None:
    rack = Rack(hangs=frozenset({"blade1"}))
    over = rack.run(roll_of(rack))
    assert over.stopped == "blade1: it was asked to shut down and is still on, 300 s after its turn began"
    assert rack.pressed == [("blade1", "shutdown")]


def test_a_blade_that_was_in_no_swarm_is_reset_when_it_does_not_go_off() -> None:
    rack = Rack(hangs=frozenset({"blade1"}))
    del rack.nodes["blade1"]
    over = rack.run(roll_of(rack))
    assert phases(over) == [Phase.DONE] * 3
    assert rack.pressed[:2] == [("blade1", "shutdown"), ("blade1", "reset")]
    told = next(told for told in rack.told if "reset" in told.detail)
    assert told.blade == "blade1"
    assert STUBBORN_S < LIMIT_S


def test_a_blade_that_starts_again_by_itself_is_waited_for() -> None:
    rack = Rack(hangs=frozenset({"blade1"}))

    def reboots(rack: Rack) -> None:
        if rack.now == 3:
            rack.press(Press("blade1", "reset"))

    over = rack.run(roll_of(rack), meanwhile=reboots)
    assert phases(over) == [Phase.DONE] * 3
    assert Tell("blade1", "booting", "it started again by itself") in rack.told


def test_what_is_served_was_changed_meanwhile() -> None:
    rack = Rack(brings={"blade2": "newer"})
    over = rack.run(roll_of(rack))
    assert over.stopped == "blade2: it booted newer, and was to boot new: what is served was changed"
    assert phases(over) == [Phase.DONE, Phase.FAILED, Phase.WAITING]


# --- emptying a blade ---


def test_no_button_is_pressed_before_the_blade_is_empty() -> None:
    rack = Rack()
    roll, actions = step(roll_of(rack, parallel=2), rack.seen(), 0.0)
    assert actions == (Tell("blade1", "draining"), Drain("blade1", "blade1.0"))
    for action in actions:
        rack.do(action)
    for _ in range(DRAIN_S - 1):
        rack.tick()
        roll, actions = step(roll, rack.seen(), rack.now)
        assert actions == () and may_begin(roll, roll.turns[1], rack.seen()) == "blade1 has not left yet"
    rack.tick()
    rack.bears = lambda running: "1 of 2 replicas run"
    roll, actions = step(roll, rack.seen(), rack.now)
    assert actions == (), "what moved is not whole without it yet"
    rack.bears = lambda running: ""
    roll, actions = step(roll, rack.seen(), rack.now)
    assert actions == (Tell("blade1", "leaving", "moved: web.1 to blade9"), Press("blade1", "shutdown"))


def test_a_task_that_does_not_move_stops_the_roll_and_leaves_the_blade_as_it_was() -> None:
    rack = Rack(stuck=frozenset({"blade2"}))
    over = rack.run(roll_of(rack))
    assert phases(over) == [Phase.DONE, Phase.FAILED, Phase.WAITING]
    assert over.stopped == (
        "blade2: it is not empty yet, and goes on as it was: still moving: web.1, 300 s after its turn began"
    )
    assert "blade2" not in dict(rack.pressed) and rack.nodes["blade2"].availability == "active"


def test_what_has_nowhere_to_go_is_not_waited_for() -> None:
    rack = Rack(names=("blade1",), bears=lambda running: "" if running else "none runs", strands=frozenset({"web"}))
    assert phases(rack.run(roll_of(rack))) == [Phase.DONE], "a lab of one blade"


# --- services ---


def test_no_blade_leaves_while_a_service_is_not_whole() -> None:
    rack = Rack(bears=lambda running: "" if len(running) == 3 else "1 of 3 replicas run", strands=frozenset({"web"}))
    over = rack.run(roll_of(rack))
    assert phases(over) == [Phase.DONE] * 3, "it is whole again once the blade is back"
    broken = Rack()
    roll = roll_of(broken)
    broken.bears = lambda running: "a replica died"
    over = broken.run(roll)
    assert over.stopped == "blade1: not begun within 300 s: web is not whole: a replica died"
    assert broken.pressed == [] and broken.told[0] == Tell("blade1", "waiting", "web is not whole: a replica died")


def test_a_service_that_is_not_whole_after_a_blade_stops_the_roll() -> None:
    rack = Rack(bears=lambda running: "")
    roll = roll_of(rack)
    rack.bears = lambda running: "" if rack.blades["blade1"].version == OLD else "its image does not start there"
    over = rack.run(roll)
    assert over.stopped.startswith("blade1: web is not whole: its image does not start there, 300 s after")
    assert phases(over) == [Phase.FAILED, Phase.WAITING, Phase.WAITING]


def test_a_service_that_was_not_whole_before_is_not_waited_for() -> None:
    rack = Rack(bears=lambda running: "it never came up")
    assert phases(rack.run(roll_of(rack))) == [Phase.DONE] * 3


def test_a_service_that_is_removed_meanwhile_counts_no_more() -> None:
    rack = Rack()
    roll = replace(roll_of(rack), whole=frozenset({"web", "gone"}))
    assert phases(rack.run(roll)) == [Phase.DONE] * 3


def test_a_service_has_to_stay_whole_for_a_while() -> None:
    rack = Rack()
    roll = roll_of(rack)
    flapping = iter(range(10_000))
    rack.bears = lambda running: (
        "a replica died" if rack.told[-1:] and rack.told[-1].step == "settling" and next(flapping) % 4 == 3 else ""
    )
    over = rack.run(roll)
    assert over.stopped.startswith("blade1: ")
    assert "300 s after its turn began" in over.stopped


# --- managers ---


def test_a_manager_is_waited_for_in_its_role() -> None:
    rack = Rack(managers=frozenset({"blade1", "blade2"}))
    over = rack.run(roll_of(rack, parallel=3))
    assert phases(over) == [Phase.DONE] * 3
    assert not any({"blade1", "blade2"} <= away for away in rack.away), "one manager at a time"


def test_a_manager_that_comes_back_as_a_worker_stops_the_roll() -> None:
    rack = Rack(managers=frozenset({"blade1", "blade2"}))

    def demoted(rack: Rack) -> None:
        node = rack.nodes.get("blade1")
        if node is not None and node.created:
            rack.nodes["blade1"] = replace(node, role="worker", raft=False, manager="")

    over = rack.run(roll_of(rack), meanwhile=demoted)
    assert over.stopped == "blade1: it is no manager again yet, 300 s after its turn began"


def test_no_manager_leaves_while_another_is_missing() -> None:
    rack = Rack(managers=frozenset({"blade1", "blade2"}))
    roll = roll_of(rack)
    rack.nodes["blade2"] = replace(rack.nodes["blade2"], state="down", manager="")
    assert may_begin(roll, roll.turns[0], rack.seen()) == (
        "a manager is missing: 3 managers, one of them gone: none may be lost, or nothing can be changed any more"
    )
    assert may_begin(roll, roll.turns[2], rack.seen()) == "", "a worker may"


def test_the_quorum_is_never_given_away() -> None:
    """Managers that are not blades of the lab are gone: the last but one must not leave."""
    rack = Rack(managers=frozenset({"blade1"}))
    roll = replace(roll_of(rack), reachable=2)
    others = [Node(id=f"o{n}", hostname=f"other{n}", role="manager", state="down", raft=True) for n in (1,)]
    seen = rack.seen()
    seen = replace(seen, nodes=(*seen.nodes, *others))
    assert "without blade1 1 of 2 managers could be reached and 2 are needed" in may_begin(roll, roll.turns[0], seen)


def test_a_swarm_that_does_not_answer_is_waited_for() -> None:
    rack = Rack()
    roll = roll_of(rack)
    silent = replace(rack.seen(), nodes=(), services={}, silent="the swarm does not have a leader")
    waiting, actions = step(roll, silent, 0.0)
    assert actions == (Tell("blade1", "waiting", "the swarm does not have a leader"),)
    assert step(waiting, silent, 1.0)[1] == ()
    over, _ = step(waiting, silent, LIMIT_S)
    assert over.over and "the swarm does not have a leader" in over.stopped
    going, actions = step(waiting, rack.seen(), 2.0)
    assert Drain("blade1", "blade1.0") in actions
    late, _ = step(going, silent, 2.0 + LIMIT_S)
    assert late.turns[0].phase is Phase.FAILED


# --- several at once ---


def test_several_at_once_never_leave_at_once() -> None:
    rack = Rack(names=("blade1", "blade2", "blade3", "blade4"))
    slow = rack.run(roll_of(rack)), rack.now
    rack = Rack(names=("blade1", "blade2", "blade3", "blade4"))
    leaving = []

    def look(rack: Rack) -> None:
        leaving.append(sum(node.availability == "drain" for node in rack.nodes.values()))

    over = rack.run(roll_of(rack, parallel=2), meanwhile=look)
    assert phases(over) == phases(slow[0]) == [Phase.DONE] * 4
    assert max(leaving) == 1 and max(len(away) for away in rack.away) == 2
    assert rack.now < slow[1] * 0.75


def test_what_services_do_not_bear_is_not_done_in_parallel() -> None:
    rack = Rack(bears=lambda running: "" if len(running) == 3 else "2 of 3 replicas run", strands=frozenset({"web"}))
    over = rack.run(roll_of(rack, parallel=3))
    assert phases(over) == [Phase.DONE] * 3
    assert all(len(away) <= 1 for away in rack.away)


def test_the_last_that_takes_tasks_stays() -> None:
    rack = Rack(names=("blade1", "blade2"))
    over = rack.run(roll_of(rack, parallel=2))
    assert phases(over) == [Phase.DONE] * 2 and all(len(away) <= 1 for away in rack.away)


def test_a_blade_that_is_off_and_still_listed_is_no_reason_to_go_on() -> None:
    """It went off without a word, and the swarm has not missed it: what ran there looks as if it ran."""
    rack = Rack()
    roll, _ = step(roll_of(rack, parallel=2), rack.seen(), 0.0)
    rack.blades["blade1"] = replace(rack.blades["blade1"], power="off")
    roll, actions = step(roll, rack.seen(), 1.0)
    assert actions == (Tell("blade1", "leaving", "it went by itself"),)
    roll, actions = step(roll, rack.seen(), 1.0)
    assert actions == (Tell("blade1", "booting"), Press("blade1", "on"))
    assert may_begin(roll, roll.turns[1], rack.seen()) == "blade1 has not left yet"
    rack.nodes["blade1"] = replace(rack.nodes["blade1"], state="down")
    assert may_begin(roll, roll.turns[1], rack.seen()) == ""


def test_who_is_under_way_is_brought_to_the_end_when_another_fails() -> None:
    rack = Rack(names=("blade1", "blade2", "blade3", "blade4"), lost=frozenset({"blade1"}))
    over = rack.run(roll_of(rack, parallel=2, limit_s=60))
    assert phases(over) == [Phase.FAILED, Phase.DONE, Phase.DONE, Phase.WAITING]
    assert not over.under_way and over.stopped.startswith("blade1: ")
    assert not any(turn.phase in UNDER_WAY for turn in over.turns)


# --- beginning and resuming ---


def test_a_blade_that_is_off_is_switched_on() -> None:
    rack = Rack(names=("blade1",))
    rack.nodes.clear()
    rack.blades["blade1"] = BladeNow(power="off", boot="blade1.0", version=OLD)
    roll = Roll(turns=(Turn(blade="blade1"),), wanted={"blade1": NEW}, whole=frozenset(), reachable=1, limit_s=LIMIT_S)
    over = rack.run(roll)
    assert phases(over) == [Phase.DONE] and rack.pressed == [("blade1", "on")]


def test_a_blade_on_its_way_with_the_newest_is_waited_for_and_not_touched() -> None:
    rack = Rack(names=("blade1",))
    rack.nodes.clear()
    rack.blades["blade1"] = BladeNow(power="on", boot="blade1.1", version=NEW)
    rack.due["blade1"] = (20.0, "up")
    turn = Turn(blade="blade1", awaited=True)
    over = rack.run(Roll(turns=(turn,), wanted={"blade1": NEW}, whole=frozenset(), reachable=1, limit_s=LIMIT_S))
    assert phases(over) == [Phase.DONE] and rack.pressed == []


def test_a_button_that_does_not_work_stops_the_roll() -> None:
    rack = Rack()
    roll, _ = step(roll_of(rack), rack.seen(), 0.0)
    roll, told = give_up(roll, "blade1", "its BMC does not answer")
    assert told == (Tell("blade1", "failed", "its BMC does not answer"),)
    assert roll.over and roll.stopped == "blade1: its BMC does not answer"
    assert step(roll, rack.seen(), 1.0)[1] == ()


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 5), st.sets(st.integers(1, 5)), st.sets(st.integers(1, 5)),
    st.sets(st.integers(1, 5)), st.integers(1, 5),
)  # fmt: skip
def test_whatever_happens_it_ends_and_holds_what_it_promises(
    parallel: int, count: int, lost: set[int], hangs: set[int], managers: set[int], needs: int
) -> None:
    names = tuple(f"blade{n}" for n in range(1, count + 1))

    def of(numbers: set[int]) -> frozenset[str]:
        return frozenset(f"blade{n}" for n in numbers) & frozenset(names)

    rack = Rack(names=names, lost=of(lost), hangs=of(hangs), managers=of(managers),
                bears=lambda running: "" if len(running) >= needs else "too few")  # fmt: skip
    rack_roll = roll_of(rack, parallel=parallel, limit_s=120)
    over = rack.run(rack_roll)
    failed = [turn for turn in over.turns if turn.phase is Phase.FAILED]
    assert bool(over.stopped) == bool(failed or over.waiting)
    assert len(failed) <= parallel
    assert all(len(away) <= parallel for away in rack.away)
    assert all(len(away & of(managers)) <= 1 for away in rack.away)
    assert ("off" not in {button for _, button in rack.pressed}) and all(
        turn.phase not in UNDER_WAY for turn in over.turns
    )
    for turn in over.turns:
        if turn.phase is Phase.WAITING:
            assert rack.blades[turn.blade].version == OLD and turn.blade in rack.nodes
        if turn.phase is Phase.DONE:
            assert rack.blades[turn.blade].version == NEW and turn.blade in rack.nodes


def test_a_look_at_nothing_is_a_look() -> None:
    assert Seen().blade("blade1") == BladeNow() and Seen().node("blade1") is None
