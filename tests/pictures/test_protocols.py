"""Sequence diagrams: what the chapters' protocols said, told from recorded events."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from labkit import events
from labkit.boot import BootSecrets, plan
from labkit.events import Event
from labkit.lab.secret import Secret
from labkit.pictures import Picture
from labkit.pictures.protocols import MOST_FILES, NOT_YET, draw_absence, draw_config, draw_join, steps_of
from labkit.pictures.request_path import MOST_WAYS, draw_requests
from labkit.pictures.scene import fold_all
from labkit.pictures.sequence_diagram import Lifeline, Step, draw_steps
from labkit.swarm.services.http_probe import Answer
from tests.rig.recorded import DAY_TWO, LAB, RUNNING

SVG = "{http://www.w3.org/2000/svg}"
BLADE = LAB.blade("blade1")
CONFIG = json.loads((plan(LAB, BLADE, "b", BootSecrets(Secret("opened sesame"))).ignition or Secret("")).reveal())


def boot_of(stream: Sequence[Event], blade: str = "blade1") -> str:
    return fold_all(stream).stages.blade(blade).boot


def said(picture: Picture) -> list[str]:
    """The rows of a picture without their times."""
    return [re.sub(r"^ *[\d.]+ s  ", "", row) for row in picture.text.splitlines()]


def until(stage: str) -> list[Event]:
    """The recorded lab until its first blade phones home."""
    stages = [getattr(event, "stage", "") if event.blade == "blade1" else "" for event in RUNNING]
    return RUNNING[: stages.index(stage) + 1]


# --- chapter 1 --------------------------------------------------------------------------------------------------------


def test_the_sequence_is_what_was_said() -> None:
    words = [step.words for step in steps_of(RUNNING, boot_of(RUNNING))]
    assert words[:2] == ["power on", "DHCP DISCOVER (iPXE)"]
    assert "HTTP: the kernel, 14.2 MB" in words
    assert words[-1] == "I am a node of the swarm"
    assert steps_of(RUNNING, "") == steps_of(RUNNING, "another") == []


# --- chapter 2 --------------------------------------------------------------------------------------------------------


def test_ignition_wrote_all_that_the_config_names() -> None:
    stream = until("os")
    rows = said(draw_config(stream, "blade1", boot_of(stream), CONFIG))
    assert rows[0] == "boot server → loader, Ignition: HTTP: the kernel, 14.2 MB"
    archive = rows.index("boot server → loader, Ignition: HTTP: the blade's own archive, 2.4 kB")
    assert rows[archive + 1] == "loader, Ignition: finds usr/share/oem/raw.ign in memory"
    written = [
        row.removeprefix("loader, Ignition → the system: ") for row in rows if row.startswith("loader, Ignition →")
    ]
    files = [file["path"] for file in CONFIG["storage"]["files"]]
    assert written == [*files, *(f"unit {unit['name']}" for unit in CONFIG["systemd"]["units"])]
    assert rows[-3:] == [
        "the system → boot server: labkit-hello.service: the system is up",
        "the system: docker-swarm-join.service waits for a swarm",
        "the system: docker-swarm-leave.service waits for the shutdown",
    ]


def test_a_unit_that_was_heard_waits_no_longer() -> None:
    rows = said(draw_config(RUNNING, "blade1", boot_of(RUNNING), CONFIG))
    assert "the system → boot server: docker-swarm-join.service: has joined" in rows
    assert not [row for row in rows if "waits for a swarm" in row]


def test_nothing_is_said_to_be_written_before_the_blade_says_so() -> None:
    text = draw_config(until("os")[:-1], "blade1", boot_of(RUNNING), CONFIG).text
    assert "own archive" in text and "hostname" not in text


def test_a_config_is_drawn_without_what_is_in_it() -> None:
    picture = draw_config(RUNNING, "blade1", boot_of(RUNNING), CONFIG)
    assert "sesame" in json.dumps(CONFIG) and "sesame" not in picture.svg


def test_a_long_config_is_cut_short() -> None:
    files = [{"path": f"/etc/{number}"} for number in range(MOST_FILES + 3)]
    rows = said(draw_config(RUNNING, "blade1", boot_of(RUNNING), {"storage": {"files": files}}))
    assert (
        "loader, Ignition → the system: and 3 more files" in rows
        and "loader, Ignition → the system: /etc/14" not in rows
    )


# --- chapter 3 --------------------------------------------------------------------------------------------------------


def test_a_blade_joins_by_its_ticket() -> None:
    rows = said(draw_join(RUNNING, "blade1", boot_of(RUNNING)))
    assert rows == [
        "blade1 → the lab: DHCP DISCOVER: who am I?",
        "the lab → blade1: you are 10.77.0.11",
        "the lab → blade1: HTTP: its archive, with a ticket",
        "blade1 → the lab: the system is up",
        "blade1 → the lab: here is my ticket: let me in",
        "the lab → manager: today's token?",
        "the lab → blade1: the join token, for its engine",
        "blade1 → its engine: join with this",
        "its engine → manager: joins as worker",
        "manager: the node is Ready",
        "manager: the join token is changed",
        "blade1 → the lab: joined; the ticket is spent",
    ]


def test_a_refused_ticket_gets_no_token() -> None:
    boot = boot_of(until("os"))
    refused = events.Ticket(blade="blade1", boot=boot, state="refused", reason="not its address", time=1_700_000_060)
    rows = said(draw_join([*until("os"), refused], "blade1", boot))
    assert rows[-2:] == ["blade1 → the lab: here is my ticket: let me in", "the lab → blade1: refused: not its address"]
    assert not [row for row in rows if "token" in row]


# --- chapter 4 --------------------------------------------------------------------------------------------------------


def answer(blade: str, replica: str, ms: float = 2.0, status: int = 200, error: str = "") -> Answer:
    return Answer(blade, "10.0.0.1", status, replica, ms, error=error)


def test_every_way_of_a_request_is_drawn_once() -> None:
    asked = [answer("blade1", "web.1.blade2", ms) for ms in (1.0, 3.0, 50.0)] + [answer("blade2", "web.1.blade2")]
    text = draw_requests(asked, 8080).text.splitlines()
    assert text[0] == "3 ×  this notebook → a blade's port: GET / at blade1:8080"
    assert [row.strip() for row in text[1:4]] == [
        "a blade's port → routing mesh: which replica?",
        "routing mesh → a replica: web.1 on blade2",
        "a replica → this notebook: 200, in 3.0 ms, by web.1.blade2",
    ]
    assert text[6].strip() == "routing mesh → a replica: web.1 on the same blade"
    assert len(text) == 8


def test_a_request_without_an_answer_comes_back_from_nowhere() -> None:
    text = draw_requests([answer("blade1", "", status=0, error="Connection refused")], 80).text.splitlines()
    assert [row.strip() for row in text[1:]] == ["a blade's port → this notebook: Connection refused"]


def test_ways_beyond_the_page_are_counted() -> None:
    text = draw_requests([answer(f"blade{n:02}", "web.1.blade01") for n in range(MOST_WAYS + 5)], 80).text
    assert text.splitlines()[-1].strip() == "this notebook: and 5 more ways"
    assert draw_requests([], 80).text == "nothing was asked yet"


# --- chapter 5 --------------------------------------------------------------------------------------------------------


def before(seq: int) -> list[Event]:
    return [event for event in DAY_TWO if event.seq <= seq]


BLADE1_IS_BACK, BLADE3_IS_BACK = 214, 246


def test_an_orderly_leave_is_a_conversation() -> None:
    assert said(draw_absence(before(BLADE1_IS_BACK), "blade1")) == [
        "blade1: the power button is pressed",
        "blade1 → the lab: I want to leave",
        "the lab → manager: drain its node",
        "manager → other blades: moved: web.1 to blade3",
        "the lab → blade1: nothing holds you: go",
        "blade1 → manager: its engine leaves",
        "the lab → manager: take it off the list",
        "blade1: off: shut itself down",
        "blade1: power on: a new boot",
        "blade1 → the lab: the system is up",
        "blade1 → the lab: a new ticket: redeemed",
        "blade1 → manager: joins, as a new node",
        "manager: Ready",
    ]


def test_a_node_whose_labels_are_not_known_yet_is_known_by_its_number() -> None:
    """At the first look the engine's labels may be missing, and with them the blade's name."""
    stream = [
        dataclasses.replace(event, blade="", boot="") if getattr(event, "action", "") == "joined" else event
        for event in before(BLADE1_IS_BACK)
    ]
    assert draw_absence(stream, "blade1") == draw_absence(before(BLADE1_IS_BACK), "blade1")


def test_a_lost_blade_is_missed_replaced_and_retired() -> None:
    down = next(event for event in DAY_TWO if event.seq > BLADE1_IS_BACK and getattr(event, "action", "") == "lost")
    stream = before(down.seq)
    stream.append(events.Service(name="web", action="running", blade="blade2", detail="web.1", time=down.time + 3))
    stream.append(events.Service(name="web", action="running", blade="blade2", detail="web.2", time=down.time + 3))
    stream += [event for event in before(BLADE3_IS_BACK) if event.seq > down.seq]
    assert said(draw_absence(stream, "blade3")) == [
        "blade3: off: power cut",
        "manager: silence: three heartbeats missed, Down",
        "the lab → manager: mark it as lost",
        "manager → other blades: web.1 runs on blade2",  # which the drain of blade1 had brought to blade3
        "blade3: power on: a new boot",
        "blade3 → the lab: the system is up",
        "blade3 → the lab: a new ticket: redeemed",
        "blade3 → manager: joins, as a new node",
        "manager: Ready",
        "the lab → manager: take its ghost off the list",
    ]


def test_the_absence_told_is_the_last_one() -> None:
    first = next(event.seq for event in DAY_TWO if getattr(event, "step", "") == "asked" and event.blade == "blade3")
    assert "the power button is pressed" in draw_absence(before(first), "blade3").text
    assert "power button" not in draw_absence(DAY_TWO, "blade3").text
    assert draw_absence(DAY_TWO, "blade2").text == "blade2 has not been away"


def test_a_leave_that_failed_is_told() -> None:
    asked = before(180)
    failed = events.Leave(
        blade="blade1", boot="x", step="failed", detail="still moving: web.1", time=asked[-1].time + 1
    )
    assert said(draw_absence([*asked, failed], "blade1"))[-1] == "the lab → blade1: not in order: still moving: web.1"


# --- the pen ----------------------------------------------------------------------------------------------------------


def test_words_stay_between_their_lanes() -> None:
    lifelines = {"a": Lifeline(140, "a"), "b": Lifeline(300, "b")}
    step = Step("0.0 s", "a", "b", "far too many words for so short an arrow")
    root = ElementTree.fromstring(draw_steps("t", lifelines, [step], "none").svg)
    (words,) = [node.text or "" for node in root.iter(f"{SVG}text") if (node.text or "").startswith("far")]
    assert words.endswith("…") and len(words) * 5.7 <= 160
    assert step.words in draw_steps("t", lifelines, [step], "none").text


def test_notes_stay_on_the_page() -> None:
    lifelines = {"a": Lifeline(140, "a"), "b": Lifeline(750, "b")}
    for lifeline in lifelines:
        note = Step("0.0 s", lifeline, lifeline, "a note that is as long as notes may ever become, or so")
        root = ElementTree.fromstring(draw_steps("t", lifelines, [note], "none").svg)
        box = list(root.iter(f"{SVG}rect"))[-1]
        assert float(box.get("x", 0)) >= 66 and float(box.get("x", 0)) + float(box.get("width", 0)) <= 820


def test_a_row_is_shared_by_what_is_beside() -> None:
    lifelines = {"a": Lifeline(140, "a"), "b": Lifeline(300, "b"), "c": Lifeline(500, "c")}
    two = draw_steps("t", lifelines, [Step("", "a", "b", "one"), Step("", "b", "c", "two", beside=True)], "none")
    assert two.height == draw_steps("t", lifelines, [Step("", "a", "b", "one")], "none").height


def test_without_events_it_says_so() -> None:
    for picture in (draw_join([], "blade1", ""), draw_config([], "blade1", "", CONFIG)):
        assert picture.text == NOT_YET and NOT_YET in picture.svg


def test_a_strangers_words_cannot_break_the_picture() -> None:
    odd = [
        dataclasses.replace(event, detail="<b>&\"'") if isinstance(event, events.Leave) else event for event in DAY_TWO
    ]
    ElementTree.fromstring(draw_absence([e for e in odd if e.seq <= BLADE1_IS_BACK], "blade1").svg)
