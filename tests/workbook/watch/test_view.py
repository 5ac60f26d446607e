"""What is watched, as parts of a page and in words: a lab that is up, one that is down, and one that nobody may ask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit import events
from labkit.lab import lab_yaml
from labkit.pictures.scene import Scene, fold_all
from labkit.swarm.node import Node
from labkit.swarm.services.health import ServiceState
from labkit.workbook.watch.view import Seen, Swarm, draw, is_moving, state_words, tell, with_swarm
from tests.rig.recorded import LAB, RUNNING, SERVING

WEB = ServiceState(
    id="s", name="web", image="nginx", wanted=3, running=2, places={"web.1": "blade2", "web.2": "blade2"}
)
NODES = (
    Node(id="old", hostname="blade2", blade="blade2", state="down", created=1.0),
    Node(id="new", hostname="blade2", blade="blade2", state="ready", availability="drain", created=2.0),
    Node(id="c", hostname="controller", role="manager", state="ready"),
)
SWARM = Swarm(NODES, {"web": WEB}, {"web": [80, 8080]})
UP = Seen(LAB, fold_all(SERVING), tuple(RUNNING), up=True, at=RUNNING[-1].time, swarm=SWARM)


def test_what_the_engine_knows_stands_in_place_of_what_was_told() -> None:
    scene = with_swarm(UP.scene, SWARM)
    assert {name: (one.node, one.state, one.drained) for name, one in scene.members.items()} == {
        "blade2": ("new", "ready", True)
    }
    assert scene.services["web"].replicas == WEB.places
    assert scene.services["web"].answers == UP.scene.services["web"].answers != {}
    assert with_swarm(UP.scene, Swarm(why="no engine")) == UP.scene


def test_a_service_has_links_to_a_blade_that_is_ready() -> None:
    html = draw(UP)["services"]
    assert "web: 2 of 3 running" in html
    assert 'href="http://10.77.0.12"' in html and 'href="http://10.77.0.12:8080"' in html and html.count("href") == 2
    line = next(line for line in tell(UP) if line.startswith("web:"))
    assert line.endswith("http://10.77.0.12 http://10.77.0.12:8080")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (replace(UP, swarm=Swarm()), "services: not known yet"),
        (replace(UP, swarm=Swarm(NODES)), "services: none yet"),
        (replace(UP, swarm=Swarm(why="you may not\nspeak to it")), "services: not known: you may not speak to it"),
        (replace(UP, up=False), "services: not known while the lab is down"),
    ],
)
def test_why_there_are_no_services_is_said(seen: Seen, words: str) -> None:
    assert words in tell(seen) and words in draw(seen)["services"]


def test_a_lab_that_is_down_says_of_when_all_is() -> None:
    down = replace(UP, up=False)
    assert state_words(UP) == "lab 'lab' is up" and draw(UP)["up"]
    assert "is not up; what follows is as of " in state_words(down) and not draw(down)["up"]
    assert state_words(Seen(LAB)) == "lab 'lab' is not up. ./lab up starts it"
    assert "cannot be looked at: no answer; what follows is as of" in state_words(replace(down, trouble="no\nanswer"))


def test_a_part_that_does_not_run_is_named() -> None:
    scene = fold_all([*RUNNING, events.Part(part="swarmd", state="died")])
    assert "not running: swarmd" in state_words(replace(UP, scene=scene))


def test_blades_on_their_way_move_and_others_do_not() -> None:
    assert not is_moving(LAB, Scene()) and not is_moving(LAB, UP.scene)
    assert is_moving(LAB, fold_all(RUNNING[:40]))


def test_each_blade_has_the_buttons_of_its_kind_of_power() -> None:
    text = """
        chassis: {kind: ipmi}
        network: {kind: interface, interface: eth1, subnet: 10.9.0.0/24, server: 10.9.0.1}
        blades:
          - {name: one, macs: ["52:54:00:00:00:01"], bmc: {kind: wol}}
          - {name: two, macs: ["52:54:00:00:00:02"], bmc: {kind: manual}}
    """
    html = draw(Seen(lab_yaml.parse(text, Path("lab.yaml"))))["power"]
    assert html.count('data-blade="one"') == 1 and 'aria-label="On one"' in html
    assert html.count('data-blade="two"') == 4 and "Cut the power of two at once?" in html


def test_a_lab_without_a_blade_is_seen_as_well() -> None:
    seen = Seen(lab_yaml.parse("blades: []\n", Path("lab.yaml")), up=True, at=1.0)
    drawn = draw(seen)
    assert "10 slots are empty" in drawn["chassis"] and "controller" in drawn["topology"] and drawn["power"] == ""
    assert tell(seen)[0] == "lab 'lab' is up"


def test_the_words_fit_a_window() -> None:
    assert len(tell(UP, rows=24)) <= 24
    small = tell(UP, rows=5)
    assert len(small) == 5 and small[-1].endswith("more lines: a taller window has them")
    assert len(tell(UP, rows=200)) > len(tell(UP, rows=24))
