"""The desk's decisions, without an engine: reconciling, draining, tokens, and reading the engine's JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.lab import Role, lab_yaml
from labkit.swarm.membership.leave import judge_drain
from labkit.swarm.membership.reconcile import Action, PutLabels, Remove, changes, joined_boots, reconcile
from labkit.swarm.membership.tokens import Tokens
from labkit.swarm.node import LEAVING, LOST, Node, Task, find_node, node_labels, read_node, read_task, read_time
from tests.rig.nodes import LABELS, node

NOW, LOST_AFTER_S = 1000, 600


def actions(
    *nodes: Node, boots: dict[str, str] | None = None, now: float = NOW, lost_after_s: float | None = LOST_AFTER_S
) -> tuple[Action, ...]:
    return reconcile(nodes, joined_boots(nodes, boots or {}), LABELS, now=now, lost_after_s=lost_after_s)


# --- reconcile


def test_a_ghost_goes_when_its_blade_is_back() -> None:
    ghost = node("1", boot="a", state="down", at=1)
    assert actions(ghost) == (PutLabels(ghost, {LOST: "1000"}),)
    assert actions(ghost, node("2", boot="b", at=2)) == (Remove(ghost, "ghost"),)


def test_a_ghost_goes_also_when_its_blade_was_lost_again() -> None:
    ghost, lost = (node(id, boot=boot, state="down", at=int(id), lost=900) for id, boot in (("1", "a"), ("2", "b")))
    assert actions(ghost, lost) == ()  # after a restart of the desk: nothing proves which boot was the last to join
    assert actions(ghost, lost, boots={"blade1": "b"}) == (Remove(ghost, "ghost"),)


def test_a_blade_gone_without_a_word_is_marked_and_goes_when_its_time_is_up() -> None:
    down = node("1", state="down")
    assert actions(down) == (PutLabels(down, {LOST: "1000"}),)
    marked = node("1", state="down", lost=1000)
    assert marked.lost == 1000 and actions(marked, now=1599) == ()
    assert actions(marked, now=1600) == (Remove(marked, "lost"),)
    assert actions(marked, now=1e9, lost_after_s=None) == ()
    back = replace(marked, state="ready")
    assert actions(back, now=1e9) == (PutLabels(back, {}, (LOST,)),)
    assert replace(back, labels={LOST: "long ago"}).lost is None
    assert actions(replace(marked, labels={LOST: "long ago"}), now=5) == (PutLabels(
        replace(marked, labels={LOST: "long ago"}), {LOST: "5"}),)  # fmt: skip


def test_the_older_one_stays_while_it_is_not_down() -> None:
    for state in ("ready", "unknown", "disconnected"):
        assert actions(node("1", boot="a", state=state, at=1), node("2", boot="b", at=2)) == ()


def test_a_blade_that_left_in_order_goes_once_it_is_down() -> None:
    assert actions(node("1", leaving="a")) == ()
    down = node("1", leaving="a", state="down")
    assert actions(down) == (Remove(down, "left"),)
    other = replace(down, boot="b")  # the mark is of another boot
    assert actions(other) == (PutLabels(other, {LOST: "1000"}),)


def test_strangers_are_left_alone() -> None:
    assert actions(node("1", blade="", state="down"), node("2", blade="blade9", state="down", leaving="a")) == ()
    stranger = node("3", blade="blade9", boot="a", state="down", at=1)
    assert actions(stranger, node("4", blade="blade9", boot="b", at=2)) == ()


def test_a_blade_gets_its_labels_again() -> None:
    bare = node("1", labelled=False)
    assert actions(bare) == (PutLabels(bare, LABELS["blade1"]),)
    wrong = replace(bare, labels={"blade": "blade1", "slot": "7", "mine": "stays"})
    assert actions(wrong) == (PutLabels(wrong, {"slot": "1"}),)
    assert actions(replace(bare, state="down", labels={LOST: "900"})) == ()


@dataclass
class World:
    """Three blades and what a swarm would list of them, with the truth that the desk cannot see."""

    listed: dict[str, Node] = field(default_factory=dict)
    alive: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    cut: dict[str, float] = field(default_factory=dict)
    count: int = 0
    now: float = 0

    def change(self, id: str, **what: object) -> None:
        if id in self.listed:
            self.listed[id] = replace(self.listed[id], **what)  # type: ignore[arg-type]

    def do(self, step: str, blade: str) -> None:
        self.count += 1
        mine = self.alive.get(blade, "")
        match step:
            case "boot":  # a power cut, and a new start: the old node is listed as it was until it is missed
                self.alive.pop(blade, None)
            case "join" if not mine:
                id = f"n{self.count}"
                self.listed[id] = node(id, blade, f"boot{self.count}", at=self.count, labelled=False)
                self.alive[blade] = id
            case "phone" if mine in self.listed:
                self.told[blade] = self.listed[mine].boot
            case "missed":  # heartbeats run out for those that are gone
                for id in set(self.listed) - set(self.alive.values()):
                    self.change(id, state="down")
            case "cut" if mine:  # the network is cut: alive, but Down for the swarm
                self.change(mine, state="down")
                self.cut.setdefault(mine, self.now)
            case "heal" if mine:
                self.change(mine, state="ready")
                self.cut.pop(mine, None)
                if mine not in self.listed:  # it was lost for too long: its engine finds itself put out
                    self.alive.pop(blade)
            case "later":
                self.now += 250
            case "leave" if mine in self.listed:
                self.change(mine, labels={**self.listed[mine].labels, LEAVING: self.listed[mine].boot})
                self.alive.pop(blade)
            case "forget":  # the desk is killed and starts anew
                self.told = {}

    def reconcile(self) -> None:
        self.told = joined_boots(self.listed.values(), self.told)
        for action in reconcile(self.listed.values(), self.told, LABELS, now=self.now, lost_after_s=LOST_AFTER_S):
            if isinstance(action, Remove):
                assert action.node.state == "down"
                if action.node.id in self.alive.values():
                    assert action.why == "lost", "a live node was removed"
                    assert self.now - self.cut[action.node.id] >= LOST_AFTER_S
                del self.listed[action.node.id]
            else:
                kept = {key: value for key, value in action.node.labels.items() if key not in action.drop}
                self.change(action.node.id, labels={**kept, **action.labels})


STEPS = ("boot", "join", "phone", "missed", "cut", "heal", "leave", "forget", "later", "reconcile")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(sorted(LABELS))), max_size=60))
def test_no_order_of_events_removes_a_live_node(steps: list[tuple[str, str]]) -> None:
    world = World()
    world.listed["controller"] = node("controller", blade="", boot="", at=0)
    for step, blade in steps:
        if step == "reconcile":
            world.reconcile()
        else:
            world.do(step, blade)
    # When all has calmed down and every blade has joined, exactly they are listed, with their labels.
    for blade in LABELS:
        for step in ("heal", "join", "phone", "missed"):
            world.do(step, blade)
    world.reconcile()
    world.reconcile()
    assert set(world.listed) == {"controller", *world.alive.values()}
    assert len(world.alive) == 3
    for blade, id in world.alive.items():
        assert world.listed[id].labels == LABELS[blade]


# --- changes


def test_changes_are_told_once() -> None:
    before = {"1": node("1"), "2": node("2", blade="blade2"), "3": node("3", blade="blade3", state="down")}
    after = {
        "1": node("1", state="down", availability="drain"),
        "4": node("4", blade="blade3", boot="b"),
        "5": node("5", blade="blade2", boot="b", state="unknown"),
    }
    events = [(event.action, event.node, event.blade, event.boot) for event in changes(before, after, {"3": "ghost"})]
    assert events == [
        ("down", "1", "blade1", "a"),
        ("drained", "1", "blade1", "a"),
        ("joined", "4", "blade3", "b"),
        ("ready", "4", "blade3", "b"),
        ("joined", "5", "blade2", "b"),
        ("removed", "2", "blade2", "a"),
        ("ghost-removed", "3", "blade3", "a"),
    ]
    assert changes(after, after) == ()
    marked = {**after, "1": node("1", state="down", availability="drain", lost=5)}
    assert [event.action for event in changes(after, marked)] == ["lost"]
    gone = {id: one for id, one in marked.items() if id != "1"}
    assert [event.action for event in changes(marked, gone, {"1": "lost"})] == ["lost-removed"]


def test_a_node_is_told_of_once_it_is_known_whose_it_is() -> None:
    """Docker lists it before its engine has described it: with no host name, labels or address."""
    nobody = Node(id="1", hostname="", state="unknown")
    assert changes({}, {"1": nobody}) == () == changes({"1": nobody}, {})
    for before in ({}, {"1": nobody}):
        told = [(event.action, event.blade, event.boot) for event in changes(before, {"1": node("1")})]
        assert told == [("joined", "blade1", "a"), ("ready", "blade1", "a")]


def test_the_first_look_tells_how_things_are() -> None:
    look = {"1": node("1"), "2": node("2", state="down"), "3": node("3", state="unknown")}
    assert [(event.action, event.node) for event in changes(None, look)] == [("ready", "1"), ("down", "2")]


# --- leaving


OLD = Task(id="t1", service="s", slot=1, node="1", state="running", created=1)
NEW = Task(id="t2", service="s", slot=1, node="2", state="running", created=2)
STOPPED = replace(OLD, state="shutdown", desired="shutdown")
TWO = (node("1", availability="drain"), node("2", blade="blade2"))
NAMES = {"s": "nginx"}


def drained(*tasks: Task, held: tuple[Task, ...] = (OLD,), nodes: tuple[Node, ...] = TWO) -> str:
    return str(judge_drain(held, tasks, nodes, NAMES, "1"))


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ((OLD,), "still moving: nginx.1"),
        ((STOPPED, NEW), "moved: nginx.1 to blade2"),
        ((NEW,), "moved: nginx.1 to blade2"),  # the old one is forgotten already
        ((OLD, NEW), "still moving: nginx.1"),  # started beforehand, and the old one has still to finish
        ((replace(OLD, desired="shutdown"), NEW), "still moving: nginx.1"),
        ((STOPPED, replace(NEW, state="preparing")), "still moving: nginx.1"),
        ((STOPPED, replace(NEW, state="pending", error="")), "still moving: nginx.1"),
        ((STOPPED, replace(NEW, state="pending", error="no suitable node (2 nodes)")), "nowhere to go: nginx.1"),
        ((STOPPED, replace(NEW, desired="shutdown", state="failed")), "nowhere to go: nginx.1"),
        ((STOPPED,), "nowhere to go: nginx.1"),
        ((), "nowhere to go: nginx.1"),
    ],
)
def test_what_becomes_of_a_task(tasks: tuple[Task, ...], said: str) -> None:
    assert drained(*tasks) == said


def test_a_gap_is_told_with_its_reason() -> None:
    said = replace(judge_drain([OLD], [STOPPED, NEW], TWO, NAMES, "1"), gaps=("nginx (its replicas have a volume)",))
    assert str(said) == "moved: nginx.1 to blade2; gone for a moment: nginx (its replicas have a volume)"


def test_nothing_is_waited_for_where_there_is_nowhere_to_go() -> None:
    assert drained(OLD, nodes=TWO[:1]) == "nowhere to go: nginx.1"
    for other in (replace(TWO[1], availability="drain"), replace(TWO[1], state="down")):
        assert drained(OLD, nodes=(TWO[0], other)) == "nowhere to go: nginx.1"
    everywhere = replace(OLD, slot=0)
    assert drained(everywhere, held=(everywhere,)) == "nowhere to go: nginx"


def test_a_removed_service_holds_nobody() -> None:
    assert str(judge_drain([OLD], [OLD], TWO, {}, "1")) == "no tasks"


# --- tokens


def test_a_token_is_rotated_when_its_holder_has_joined() -> None:
    tokens = Tokens(0, joining_s=60)
    assert tokens.due(59) == frozenset() and tokens.due(60) == set(Role)
    tokens.rotated(tokens.due(60), 60)
    assert tokens.due(1000) == frozenset()
    tokens.redeemed("blade1", "a", Role.WORKER, 100)
    tokens.redeemed("blade2", "a", Role.WORKER, 101)
    tokens.joined("blade1", "a")
    assert tokens.due(110) == frozenset()
    tokens.joined("blade2", "other")
    assert tokens.due(110) == frozenset()
    tokens.joined("blade2", "a")
    assert tokens.due(110) == {Role.WORKER}


def test_a_refusal_waits_for_who_is_joining_but_not_for_ever() -> None:
    tokens = Tokens(0, joining_s=60)
    tokens.rotated(frozenset(Role), 60)
    tokens.refused()
    assert tokens.due(100) == set(Role)
    tokens.redeemed("blade1", "a", Role.WORKER, 100)
    assert tokens.due(101) == frozenset()
    tokens.redeemed("blade1", "a", Role.WORKER, 150)  # asking again wins no time
    assert tokens.due(160) == set(Role)
    tokens.rotated(tokens.due(160), 160)
    tokens.redeemed("blade1", "a", Role.WORKER, 165)
    assert tokens.due(170) == frozenset() and tokens.due(225) == {Role.WORKER}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("rjx."), st.integers(0, 2), st.integers(0, 40)), max_size=40))
def test_a_token_never_changes_under_a_joining_blade_and_always_in_the_end(steps: list[tuple[str, int, int]]) -> None:
    tokens, now, since, seen = Tokens(0), 0.0, dict[int, float](), True
    for step, blade, later in steps:
        now += later
        if step == "r":
            tokens.redeemed(str(blade), "a", Role.WORKER, now)
            since.setdefault(blade, now)
            seen = True
        elif step == "j":
            tokens.joined(str(blade), "a")
            since.pop(blade, None)
        elif step == "x":
            tokens.refused()
            seen = True
        if roles := tokens.due(now):
            assert all(now - begun >= 60 for begun in since.values())
            tokens.rotated(roles, now)
            since, seen = {}, False
    assert (Role.WORKER in tokens.due(now + 60)) == seen


# --- the engine's JSON


RAW = {
    "ID": "x7m5vpkzo6i8he7zhjuy87bo2",
    "CreatedAt": "2026-11-23T09:35:05.565904595Z",
    "Spec": {"Labels": {LEAVING: "aa2"}, "Role": "manager", "Availability": "drain"},
    "Description": {"Hostname": "n2", "Engine": {"Labels": {"blade": "blade2", "boot": "aa2"}}},
    "Status": {"State": "ready", "Addr": "0.0.0.0"},
    "ManagerStatus": {"Leader": True, "Reachability": "reachable", "Addr": "10.77.9.2:2377"},
}


def test_reading_a_node() -> None:
    found = read_node(RAW)
    assert (found.blade, found.boot, found.address, found.manager) == ("blade2", "aa2", "10.77.9.2", "10.77.9.2:2377")
    assert found.leader and found.leaving and found.ready
    assert found.created == pytest.approx(1795426505.5659)


def test_reading_a_node_that_has_just_come() -> None:
    found = read_node({"ID": "n", "Spec": {}, "Status": {"State": "unknown"}})
    assert (found.blade, found.boot, found.manager, found.leaving, found.ready) == ("", "", "", False, False)


def test_a_node_is_labelled_by_what_its_blade_is(tmp_path: Path) -> None:
    lab = lab_yaml.parse(
        "blades: [{name: red}, {name: blue, slot: 4}]\nchassis: {name: upper}\n", tmp_path / "lab.yaml"
    )
    assert node_labels(lab, lab.blade("blue")) == {
        "blade": "blue", "chassis": "upper", "slot": "4", "mac": "52:54:00:4d:00:04"}  # fmt: skip


def test_reading_a_task() -> None:
    assert read_task({"ID": "t"}).wanted
    task = read_task({"ID": "t", "Slot": 2, "DesiredState": "shutdown", "CreatedAt": "2026-11-23T09:35:05Z",
                      "Status": {"State": "failed", "Err": "task: non-zero exit (1)",
                                 "ContainerStatus": {"ExitCode": 1}}})  # fmt: skip
    assert task.ended and not task.wanted and task.slot == 2


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23", "0001-01-01"])
def test_no_time_is_zero(text: str) -> None:
    assert read_time(text) == 0


def test_the_newest_of_two_joins_counts() -> None:
    assert find_node([node("1", at=1), node("2", at=2)], "blade1", "a") == node("2", at=2)
    assert find_node([node("1", blade="", boot="")], "", "") is None
