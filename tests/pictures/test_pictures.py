"""Pictures: well-formed, named, the same in words, and drawn from whatever part of a lab's events there is."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from labkit import events
from labkit.diagnosis.stuck import usual_times
from labkit.events import KINDS, Event
from labkit.events.stages import BladeState, LabState
from labkit.lab import Role, lab_yaml
from labkit.lab.plain_text import printable
from labkit.pictures import Picture, boot_board
from labkit.pictures.boot_board import draw_board, draw_boots
from labkit.pictures.chassis import draw_chassis
from labkit.pictures.event_text import in_words, tail
from labkit.pictures.progress import draw_progress, time_left
from labkit.pictures.protocols import draw_absence, draw_config, draw_join, draw_sequence
from labkit.pictures.request_bars import draw_request_bars
from labkit.pictures.scene import Scene, fold_all
from labkit.pictures.section_bar import Brick, draw_bricks
from labkit.pictures.topology import draw_topology
from tests.rig.recorded import LAB, NAMES, RUNNING, SERVING, STREAM

SVG = "{http://www.w3.org/2000/svg}"
USUAL = usual_times((), LAB)
CONFIG = {"systemd": {"units": [{"name": "docker-swarm-join.service"}]}}


def all_pictures(stream: list[Event]) -> dict[str, Picture]:
    scene = fold_all(stream)
    boot = scene.stages.blade("blade1").boot
    return {
        "chassis": draw_chassis(LAB, scene.stages, chosen=["blade1"]),
        "progress": draw_progress(NAMES, scene, USUAL, scene.now + 3),
        "boots": draw_boots(NAMES, scene, USUAL, scene.now + 3),
        "topology": draw_topology(LAB, scene),
        "sequence": draw_sequence(stream, "blade1", boot),
        "config": draw_config(stream, "blade1", boot, CONFIG),
        "join": draw_join(stream, "blade1", boot),
        "absence": draw_absence(stream, "blade1"),
        "spread": draw_request_bars({"web.1": 3, "web.2": 1}),
        "bricks": draw_bricks([Brick("One", "ran"), Brick("Two", "failed"), Brick("Three", "runs"), Brick("Four")]),
    }


def read(picture: Picture) -> ElementTree.Element:
    return ElementTree.fromstring(picture.svg)


def words_in(picture: Picture) -> str:
    return " ".join(text for node in read(picture).iter(f"{SVG}text") if (text := node.text))


@pytest.mark.parametrize("name", all_pictures(SERVING))
def test_a_picture_has_a_name_and_the_same_in_words(name: str) -> None:
    picture = all_pictures(SERVING)[name]
    root = read(picture)
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title" and root[0].text == picture.title
    assert root[1].tag == f"{SVG}desc" and root[1].text == picture.text
    assert picture.mimebundle == {"text/html": picture.svg, "text/plain": f"{picture.title}\n{picture.text}"}
    assert picture.text.strip() and all(len(line) < 200 for line in picture.text.splitlines())


@pytest.mark.parametrize("name", all_pictures(SERVING))
def test_words_and_lines_take_the_pages_colours(name: str) -> None:
    for node in read(all_pictures(SERVING)[name]).iter(f"{SVG}text"):
        said = re.findall(r"fill:([^;]+)", node.get("style", "")) + ([node.get("fill", "")] if node.get("fill") else [])
        on_a_fill = {"#ffffff", "#111", "#000", "#c03a44", "#c1121f"}
        assert all(colour.startswith("var(--jp-") or colour in on_a_fill for colour in said), said


@pytest.mark.parametrize("many", range(0, len(STREAM) + 1, 3))
def test_every_moment_of_a_lab_can_be_drawn(many: int) -> None:
    for picture in all_pictures(STREAM[:many]).values():
        read(picture)
    assert set(draw_board(NAMES, fold_all(STREAM[:many]), USUAL, 1_700_000_100)) == {"text/html", "text/plain"}


def test_the_same_events_give_the_same_picture() -> None:
    assert all_pictures(SERVING) == all_pictures(SERVING)


def test_names_cannot_break_a_picture() -> None:
    picture = draw_request_bars({"<script>&\"'": 2})
    read(picture)
    assert "<script>" not in picture.svg


# --- the scene --------------------------------------------------------------------------------------------------------


def test_the_scene_knows_the_members_and_the_past() -> None:
    scene = fold_all(RUNNING)
    assert {name: scene.members[name].state for name in NAMES} == dict.fromkeys(NAMES, "ready")
    assert len(scene.members) == 4, "three blades and the controller"
    assert [boot.blade for boot in scene.past] == ["blade1", "blade2", "blade3"]


def test_a_lab_that_starts_anew_keeps_only_the_past() -> None:
    again = fold_all([*SERVING, events.LabEvent(state="starting", time=1_700_001_000)])
    assert (again.members, again.services, again.lines, len(again.past)) == ({}, {}, {}, 3)


def test_a_ghost_does_not_shadow_the_blade_that_joined_again() -> None:
    ghost = events.Swarm(action="down", node="old", blade="blade1")
    gone = events.Swarm(action="ghost-removed", node="old", blade="blade1")
    assert fold_all([*RUNNING, ghost, gone]).members["blade1"].state == "ready"


def test_services_and_answers_are_counted() -> None:
    service = fold_all(SERVING).services["web"]
    assert service.replicas == {"web.1": "blade1", "web.2": "blade3"}
    assert service.answers == {name: {"web.1": 2} for name in NAMES}
    changed = fold_all([*SERVING, events.Service(name="web", action="updated")]).services["web"]
    assert (changed.replicas, changed.answers) == ({}, {})
    assert fold_all([*SERVING, events.Service(name="web", action="removed")]).services == {}


def test_a_rehearsal_is_no_boot() -> None:
    walked = events.Dhcp(blade="blade1", boot=events.REHEARSAL, mac="m", message="DISCOVER", time=1_800_000_000)
    assert fold_all([*RUNNING, walked]) == fold_all(RUNNING)


# --- what each shows --------------------------------------------------------------------------------------------------


def middle() -> Scene:
    """The first blade has just begun to fetch its operating system."""
    asks = (getattr(event, "path", "") == "labos/labos.cpio" for event in STREAM)
    return fold_all(STREAM[: list(asks).index(True) + 1])


def test_progress_tells_bytes_and_the_time_left() -> None:
    scene = middle()
    picture = draw_progress(NAMES, scene, USUAL, scene.now + 1)
    assert "fetching the operating system, 93.9 MB, for" in picture.text
    assert "14.2 MB before" in picture.text
    assert re.search(r"about \d+ s left", picture.text)
    assert "■■▶···" in picture.text and "kernel" in words_in(picture)


def test_time_left_shrinks_and_then_says_so() -> None:
    scene = middle()
    blade = scene.stages.blade("blade1")
    at = scene.now
    first, later = (int(time_left(blade, USUAL, at + s).split()[1]) for s in (0, 5))
    assert later < first
    assert time_left(blade, USUAL, at + 500) == "slower than usual"
    assert time_left(fold_all(RUNNING).stages.blade("blade1"), USUAL, at) == ""


def test_a_usual_boot_is_never_slow() -> None:
    """Also where nothing is heard between the last file and the system's own word."""
    mine = [event for event in STREAM if event.blade == "blade1"]
    usual = usual_times([fold_all(RUNNING).stages.blade("blade1")], LAB)
    end = fold_all(RUNNING).stages.blade("blade1").joined
    for moment in range(int(mine[0].time), int(end)):
        blade = fold_all([event for event in mine if event.time <= moment]).stages.blade("blade1")
        assert "slower" not in time_left(blade, usual, moment)


def test_what_was_heard_is_of_this_boot() -> None:
    later = 1_700_003_600.0
    again = [
        events.BootStarted(blade="blade1", boot="b9", time=later, cause="pxe"),
        events.Dhcp(blade="blade1", boot="b9", mac="m", message="DISCOVER", time=later + 1),
    ]
    assert len(boot_board.latest(["blade1"], fold_all(RUNNING))) == boot_board.TAIL_LINES
    heard = boot_board.latest(["blade1"], fold_all([*RUNNING, *again]))
    assert len(heard) == 2 and "DISCOVER" in heard[-1]


def test_a_blade_that_waits_for_a_swarm_is_not_slow() -> None:
    alone = [
        event for event in RUNNING if event.kind not in ("swarm", "ticket") and getattr(event, "stage", "") != "joined"
    ]
    scene = fold_all(alone)
    assert "; waits for a swarm" in draw_progress(["blade1"], scene, USUAL, scene.now + 500).text


def test_progress_shouts_when_a_blade_is_stuck() -> None:
    stuck = events.Stuck(blade="blade1", step="initrd", what="it stands still", seconds=99, time=1_700_000_200)
    half = [event for event in STREAM if event.blade == "blade1"][:10]
    scene = fold_all([*half, stuck])
    stands = scene.stages.blade("blade1").step
    scene = fold_all([*half, events.Stuck(blade="blade1", step=stands, what="it stands still", time=1_700_000_200)])
    assert "⚠ it stands still" in words_in(draw_progress(["blade1"], scene, USUAL, scene.now))


def test_the_topology_shows_roles_replicas_and_answers() -> None:
    picture = draw_topology(LAB, fold_all(SERVING))
    assert "├─ blade3 10.77.0.13 (worker, ready): web.2" in picture.text
    assert "service web: 2 replicas; answered through blade1 ×2, blade2 ×2, blade3 ×2" in picture.text
    assert "controller · manager" in words_in(picture) and "✓ 2 answered" in words_in(picture)
    assert "no swarm yet" in draw_topology(LAB, Scene()).text
    silent = events.Swarm(action="silent", detail="the engine's swarm is locked", time=1)
    told = draw_topology(LAB, Scene(stages=LabState(silent=silent))).text
    assert "its swarm lets nobody in" in told and "no swarm yet" not in told


def test_the_chassis_says_how_warm_its_blades_are() -> None:
    told = [
        events.Measured(blade="blade1", celsius=41.2, watts=85.0),
        events.Measured(blade="blade2", celsius=92.0, state="critical", hot="CPU 92 °C"),
    ]
    picture = draw_chassis(LAB, fold_all([*STREAM, *told]).stages)
    words = [node.text for node in read(picture).iter(f"{SVG}text")]
    assert {"41 °C", "85 W", "▲ 92 °C"} <= set(words)
    assert ", 41 °C, 85 W" in picture.text and ", 92 °C, too hot" in picture.text
    assert "°C" not in draw_chassis(LAB, fold_all(STREAM).stages).text


def test_the_chassis_has_ten_slots_and_says_what_each_is() -> None:
    picture = draw_chassis(LAB, Scene().stages, chosen=["blade1"], roles={"blade1": Role.MANAGER})
    assert picture.text.splitlines() == [
        "slot 1: blade1, manager, off, chosen",
        "slot 2: blade2, worker, off, left out",
        "slot 3: blade3, worker, off, left out",
        "7 slots are empty",
    ]
    assert words_in(picture).count("empty") == 7
    told = events.Inventoried(blade="blade1", words="4 cores, 16 GiB, <1 disk>")
    made = draw_chassis(LAB, LabState(blades={"blade1": BladeState("blade1", inventory=told)}))
    assert made.text.startswith("slot 1: blade1, worker, off; 4 cores, 16 GiB, <1 disk>\n")
    assert "4 cores, 16 GiB, &lt;1 disk&gt;" in made.svg
    plain = draw_chassis(LAB, Scene().stages)
    assert "slot 1: blade1, worker, off\n" in plain.text and "✓" not in words_in(plain), "where nobody chooses"


def test_thirty_blades_fit() -> None:
    text = "blades:\n" + "".join(f"  - name: blade{number}\n" for number in range(1, 31))
    lab = lab_yaml.parse(text, Path("lab.yaml"))
    names = [blade.name for blade in lab.blades]
    for picture in (
        draw_chassis(lab, Scene().stages),
        draw_topology(lab, Scene()),
        draw_boots(names, Scene(), USUAL, 1.0),
    ):
        read(picture)
        assert "blade30" in words_in(picture)


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", STREAM, ids=lambda event: f"{event.seq}-{event.kind}")
def test_events_are_told_in_words(event: Event) -> None:
    words = in_words(event)
    assert words and words == words.strip() and "None" not in words and "''" not in words


def test_a_node_that_no_blade_is_known_of_is_named() -> None:
    assert (
        in_words(events.Swarm(action="joined", node="cfsoirqee2oml7vbpe8tfb7jr"))
        == "node cfsoirqee2om joined the swarm"
    )
    assert in_words(events.Swarm(action="ready", node="cfsoirqee2om", blade="blade1")) == "is Ready in the swarm"


def test_every_kind_has_words() -> None:
    kinds = {
        "lab": events.LabEvent(state="up"), "part": events.Part(part="bootd", state="died"),
        "power": events.Power(state="soft-off"), "boot": events.BootStarted(cause="pxe"),
        "dhcp": events.Dhcp(mac="m", message="REQUEST", reason="not in the lab"),
        "transfer": events.Transfer(protocol="tftp", path="a/vmlinuz", state="failed", reason="no answer"),
        "phoned": events.Phoned(stage="os"), "ticket": events.Ticket(state="refused", reason="no ticket"),
        "leave": events.Leave(step="asked"), "swarm": events.Swarm(action="rotated"),
        "roll": events.Roll(step="leaving"), "service": events.Service(name="web", action="created"),
        "unknown": events.UnknownMachine(mac="m", adopt="x"), "trouble": events.Trouble(part="dhcp", detail="no reply"),
        "held": events.Held(state="held", detail="it boots again and again"),
        "stuck": events.Stuck(step="dhcp", what="it stands still", seconds=40),
        "inventory": events.Inventoried(words="4 cores"),
        "hardware": events.HardwareChange(part="memory", state="worse", detail="a bar is gone"),
        "space": events.Space(state="room"), "note": events.Note(detail="a key does not count"),
        "measured": events.Measured(celsius=41.0, watts=85.0),
        "failed": events.UnitFailed(unit="docker.service", detail="no such file"),
        "clock": events.Clock(by_s=3600.0), "blades": events.Blades(added=("a",), removed=("b",)),
    }  # fmt: skip
    assert set(kinds) == set(KINDS)
    for kind, event in kinds.items():
        assert in_words(event) != kind, kind


def test_a_tail_has_the_latest_lines() -> None:
    lines = tail([event for event in RUNNING if event.blade == "blade1"], most=3)
    assert len(lines) == 3 and "in the swarm" in lines[-1]
    assert all(re.match(r"\d\d:\d\d:\d\d  \S", line) for line in lines)


def test_a_serial_port_is_printed_without_its_control_sequences() -> None:
    assert printable("\x1b[2J\x1b[1;1Hboot\r\n\x1b]0;t\x07[\x1b[0;32m  OK  \x1b[0m] done\x00") == "boot\n[  OK  ] done"


def test_bricks_are_told_apart_by_signs() -> None:
    bricks = [Brick(state, state) for state in ("ran", "failed", "runs", "waits")]
    assert draw_bricks(bricks).text == "✓ ran  ✕ failed  ▶ runs  · waits"


def test_many_bricks_take_rows_and_keep_their_words() -> None:
    picture = draw_bricks([Brick(f"a section {number}") for number in range(9)])
    assert [node.text for node in read(picture).iter(f"{SVG}text")] == [f"· a section {number}" for number in range(9)]
    assert picture.height == 2 * draw_bricks([Brick("one")]).height


def test_a_picture_that_stays_says_when_it_was_true() -> None:
    """Its drawing, its words and its height; and so does the board."""
    moment = datetime(2026, 11, 28, 18, 17).timestamp()
    picture = draw_topology(LAB, fold_all(STREAM))
    dated = picture.dated(moment)
    assert dated.text == f"{picture.text}\nas of 18:17" and "as of 18:17" in dated.svg
    assert dated.height > picture.height and dated.title == picture.title
    board = draw_board(NAMES, fold_all(STREAM), USUAL, moment)
    said = boot_board.dated(board, moment)
    assert all(said[kind].startswith(board[kind]) and "as of 18:17" in said[kind] for kind in board)
