"""A roll in the picture of the topology: whose turn it is, and which version each blade has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import events
from labkit.events import Event
from labkit.events.stream import decode, encode
from labkit.pictures.rolling import NONE, Rolling, fold, of_versions, pairs
from labkit.pictures.scene import Scene, fold_all
from labkit.pictures.topology import draw_topology
from tests.rig.recorded import LAB, SERVING

OLD, NEW = "5f0c1f6a3b7e9d21", "8d2b64c07a1f3e95"
BEGUN = events.Roll(
    step="begun",
    detail="blade1, blade3",
    versions=(f"blade1 {OLD} {NEW}", f"blade2 {NEW} {NEW}", f"blade3 - {NEW}"),
)


def turn(blade: str, *steps: str) -> list[Event]:
    return [events.Roll(blade=blade, step=step) for step in steps]


def after(stream: Sequence[Event]) -> Rolling:
    return fold_all([*SERVING, BEGUN, *stream]).roll


@pytest.mark.parametrize(
    ("stream", "blade", "versions", "words"),
    [
        ([], "blade1", "5f0c1f6 → 8d2b64c", "waits for its turn"),
        ([], "blade2", "runs 8d2b64c", ""),
        ([], "blade3", "? → 8d2b64c", "waits for its turn"),
        (turn("blade1", "leaving"), "blade1", "5f0c1f6 → 8d2b64c", "leaves"),
        (turn("blade1", "leaving", "booting"), "blade1", "5f0c1f6 → 8d2b64c", "boots"),
        ([*turn("blade1", "booting"), events.BootStarted(blade="blade1", cause="power")], "blade1",
         "5f0c1f6 → 8d2b64c", "boots"),
        (turn("blade1", "leaving", "booting", "settling"), "blade1", "runs 8d2b64c", "settles in"),
        (turn("blade1", "leaving", "booting", "settling", "done"), "blade1", "runs 8d2b64c", "has had its turn"),
        (turn("blade1", "leaving", "failed"), "blade1", "5f0c1f6 → 8d2b64c", "failed"),
        (turn("blade1", "leaving", "booting", "failed"), "blade1", "? → 8d2b64c", "failed"),
        (turn("blade1", "booting", "failed", "back leaving"), "blade1", "? → 8d2b64c", "goes back: leaves"),
        (turn("blade1", "failed", "back booting", "back settling", "back done"), "blade1", "5f0c1f6 → 8d2b64c",
         "goes back: has had its turn"),
        ([*turn("blade1", "done"), events.BootStarted(blade="blade1", cause="pxe")], "blade1", "? → 8d2b64c", ""),
        ([events.BootStarted(blade="blade2", cause="pxe")], "blade2", "? → 8d2b64c", ""),
    ],
)  # fmt: skip
def test_each_step_of_a_turn(stream: list[Event], blade: str, versions: str, words: str) -> None:
    roll = after(stream)
    assert (roll.versions(blade), roll.turn(blade)) == (versions, words)
    picture = draw_topology(LAB, fold_all([*SERVING, BEGUN, *stream]))
    said = "".join(node.text or "" for node in ElementTree.fromstring(picture.svg).iter())
    assert versions in said and words in picture.text


def test_the_whole_roll_in_words() -> None:
    stream = [*SERVING, BEGUN, *turn("blade1", "leaving", "booting")]
    picture = draw_topology(LAB, fold_all(stream))
    assert picture.text.splitlines() == [
        "controller 10.77.0.2 (manager)",
        "├─ blade1 10.77.0.11 (worker, ready; 5f0c1f6 → 8d2b64c, boots): web.1",
        "├─ blade2 10.77.0.12 (worker, ready; runs 8d2b64c)",
        "├─ blade3 10.77.0.13 (worker, ready; ? → 8d2b64c, waits for its turn): web.2",
        "service web: 2 replicas; answered through blade1 ×2, blade2 ×2, blade3 ×2",
        "roll: 1 of 3 run the newest; blade1 boots",
    ]
    assert "roll: 1 of 3 run the newest; blade1 boots" in picture.body and "✓ runs 8d2b64c" in picture.body
    over = draw_topology(LAB, fold_all([*stream, *turn("blade1", "settling", "done"), events.Roll(step="over")]))
    assert over.text.splitlines()[-1] == "the last roll: 2 of 3 run the newest"
    assert "10.77.0.2 · web" in over.body, "the services are told again"


def test_only_the_blade_under_way_has_a_thick_edge() -> None:
    edges = [
        draw_topology(LAB, fold_all([*SERVING, BEGUN, *stream])).body.count('stroke-width:3"')
        for stream in ([], turn("blade1", "leaving"), turn("blade1", "leaving", "booting", "settling", "done"))
    ]
    assert edges == [0, 4, 0]


def test_without_a_roll_the_picture_is_what_it_was() -> None:
    scene = fold_all(SERVING)
    assert scene.roll == NONE and str(NONE) == ""
    with_roll = draw_topology(LAB, replace(scene, roll=after([])))
    assert with_roll.height == draw_topology(LAB, scene).height + 30
    assert "run the newest" not in draw_topology(LAB, scene).text


def test_before_a_roll_the_versions_alone_are_shown() -> None:
    known = {"blade1": (OLD, NEW), "blade2": (NEW, NEW)}
    assert str(of_versions(known)) == "versions: 1 of 2 run the newest"
    assert (
        "blade1 10.77.0.11 (worker, off; 5f0c1f6 → 8d2b64c)" in draw_topology(LAB, Scene(roll=of_versions(known))).text
    )


def test_a_lab_that_starts_anew_has_no_roll() -> None:
    assert fold_all([*SERVING, BEGUN, events.LabEvent(state="starting")]).roll == NONE


def test_versions_come_through_the_file_of_events() -> None:
    read = decode(encode(BEGUN))
    assert isinstance(read, events.Roll)
    assert pairs(read.versions) == {"blade1": (OLD, NEW), "blade2": (NEW, NEW), "blade3": ("", NEW)}
    assert pairs(["blade1", 3, "a b c d", None]) == {}, "what is in no order is left out"


NAMES = st.sampled_from(["", "blade1", "blade2", "other"])
STEPS = ["begun", "over", "waiting", "leaving", "booting", "settling", "done", "failed", "back leaving", "new words"]
EVENTS = st.one_of(
    st.builds(events.Roll, blade=NAMES, step=st.sampled_from(STEPS), detail=st.sampled_from(["", "blade1", "x, y"]),
              versions=st.lists(st.sampled_from([f"blade1 {OLD} {NEW}", "blade2 - b", "broken"])).map(tuple)),
    st.builds(events.BootStarted, blade=NAMES, cause=st.just("pxe")),
)  # fmt: skip


@given(st.lists(EVENTS))
def test_any_order_of_events_can_be_drawn(stream: list[Event]) -> None:
    roll = NONE
    for event in stream:
        roll = fold(roll, event)
    picture = draw_topology(LAB, Scene(roll=roll))
    ElementTree.fromstring(picture.svg)
    assert picture.text.splitlines()[-1] == (str(roll) or picture.text.splitlines()[-1])
