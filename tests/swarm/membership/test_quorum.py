"""Who may manage and who may go: the quorum, and pruning, without an engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.swarm.membership.prune import judge_nodes
from labkit.swarm.membership.quorum import Quorum, in_order, quorum, why_not
from labkit.swarm.node import Node
from tests.rig.nodes import LABELS, node

# --- quorum


def manager(id: str, blade: str = "", *, up: bool = True) -> Node:
    return replace(node(id, blade, state="ready" if up else "down"), role="manager", raft=True,
                   manager=f"10.0.0.{id}:2377" if up else "")  # fmt: skip


@pytest.mark.parametrize(
    ("managers", "reachable", "said"),
    [
        (1, 1, "1 manager: none may be lost, or nothing can be changed any more"),
        (2, 2, "2 managers: none may be lost, or nothing can be changed any more (an even number survives no more than "
               "the odd one below it: one less would do)"),
        (3, 3, "3 managers: the swarm survives the loss of one of them"),
        (5, 5, "5 managers: the swarm survives the loss of two of them"),
        (3, 2, "3 managers, one of them gone: none may be lost, or nothing can be changed any more"),
        (3, 1, "1 of 3 managers can be reached and 2 are needed: services run on as they are, and nothing can be "
               "changed until enough of them are back"),
    ],
)  # fmt: skip
def test_what_a_group_of_managers_survives(managers: int, reachable: int, said: str) -> None:
    assert str(Quorum(managers, reachable)) == said


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 7), st.integers(0, 7), st.integers(0, 7))
def test_a_group_survives_as_many_as_it_says(managers: int, gone: int, more: int) -> None:
    before = Quorum(managers, max(0, managers - gone))
    after = Quorum(managers, max(0, before.reachable - more))
    assert after.held == (before.held and more <= before.survives)


def test_what_would_lose_the_quorum_is_refused() -> None:
    one, two, three = manager("1"), manager("2", "blade2"), manager("3", "blade3")
    lost = manager("3", "blade3", up=False)
    worker = node("4", "blade1")
    assert quorum([one, two, lost, worker]) == Quorum(3, 2)
    assert why_not([one, worker], [worker]) == "" == why_not([one, two, three], [three])
    assert why_not([one, worker], [one]) == "1 is the only manager: the swarm would be lost"
    assert why_not([one, two], [one, two]) == "1, blade2 are all the managers: the swarm would be lost"
    assert why_not([one, two, lost], [lost]) == ""  # who is gone already makes the rest safer by going
    assert why_not([one, two, lost], [two]).startswith(
        "without blade2 1 of 2 managers could be reached and 2 are needed: services run on as they are"
    )
    assert why_not([one, lost], [lost]).startswith("the managers have lost their quorum already: 1 of 2 managers")
    assert why_not([one, two], [two]) == "" and why_not([one, two], [two], dying=True) != ""
    assert why_not([one, two, three], [three], dying=True) == ""


@settings(max_examples=300, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=7), st.sets(st.integers(0, 6)), st.booleans())
def test_who_may_go_leaves_a_quorum(up: list[bool], going: set[int], dying: bool) -> None:
    nodes = [manager(str(n), up=is_up) for n, is_up in enumerate(up)]
    leaving = [nodes[n] for n in going if n < len(nodes)]
    stay = [one for one in nodes if one not in leaving]
    after = Quorum(len(nodes) if dying else len(stay), quorum(stay).reachable)
    if leaving and why_not(nodes, leaving, dying=dying) == "":
        assert after.held and quorum(nodes).held
    elif leaving:
        assert not (after.held and after.managers and quorum(nodes).held)


def test_managers_change_in_an_order_that_keeps_the_group() -> None:
    first, second, third = manager("1", "blade1"), manager("2", "blade2", up=False), node("3", "blade3")
    away = replace(node("4", "blade3", boot="b", at=0), state="down")
    up, down = in_order([manager("0"), first, second, third, away], ["blade3"], LABELS)
    assert (up, down) == ((third,), (second, first))
    assert in_order([first, third], ["blade1"], LABELS) == ((), ())
    assert in_order([first, third], ["blade1"], ["blade3"]) == ((), ())


def test_a_manager_that_is_no_member_any_more_is_left_to_be_removed() -> None:
    """As a forced new cluster leaves them; one that is just being made a manager is no member yet, but Ready."""
    gone, coming = replace(manager("2", "blade2", up=False), raft=False), replace(manager("1", "blade1"), raft=False)
    assert in_order([manager("0"), gone, coming], [], LABELS) == ((), (coming,))


# --- pruning


def test_only_dead_nodes_of_this_lab_are_pruned() -> None:
    nodes = [
        replace(manager("0"), hostname="controller"),
        node("1", boot="a", state="down", at=1),
        node("2", boot="b", at=2),
        node("3", "blade2", state="down", lost=5),
        node("4", "blade9", state="down"),
        node("5", "blade3", state="unknown"),
    ]
    assert [(verdict.node.id, verdict.goes, verdict.why) for verdict in judge_nodes(nodes, LABELS)] == [
        ("1", True, "a ghost: its blade has joined again"),
        ("3", True, "its blade is gone without a word"),
        ("4", False, "not a blade of this lab: never touched"),
        ("5", False, "it is 'unknown', which passes"),
    ]
    assert judge_nodes(nodes[:1], LABELS) == ()


def test_pruning_keeps_the_quorum() -> None:
    nodes = [manager("0"), manager("1", "blade1", up=False), manager("2", "blade2", up=False)]
    verdicts = judge_nodes(nodes, LABELS)
    assert [verdict.goes for verdict in verdicts] == [False, False]
    assert verdicts[0].why.startswith("the managers have lost their quorum already")
