"""What verbs end with: where the page is, and what to do next."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.cli.commands import _parser
from labkit.errors import ParameterError
from labkit.events import HardwareChange
from labkit.events.stages import BladeState, LabState
from labkit.lab import Lab, lab_yaml
from labkit.servers import client
from labkit.workbook import CHAPTERS, choose_chapters, next_steps
from labkit.workbook.parameters import Parameter
from tests.rig.recorded import LAB


def at(**joined: bool) -> LabState:
    """Blades that have joined, or are on their way."""
    return LabState(
        blades={
            name: BladeState(name, boot="1", power="on", began=1.0, dhcp=2.0, joined=9.0 if is_in else 0.0)
            for name, is_in in joined.items()
        }
    )


def steps(text: str) -> list[str]:
    head, *lines = text.splitlines()
    assert head == "Next:"
    found = [re.split(r" {3,}", line.strip()) for line in lines]
    assert all(len(line) == 2 and line[1] for line in found), lines
    return [line[0] for line in found]


def test_a_page_is_where_its_blade_is() -> None:
    links = next_steps.pages(LAB, 8080, ["blade3", "blade1"])
    assert links == {"blade1": "http://10.77.0.11:8080", "blade3": "http://10.77.0.13:8080"}
    assert next_steps.url("10.77.0.11", 80) == "http://10.77.0.11"


def test_a_run_ends_with_the_page_the_workbook_and_the_end() -> None:
    links = next_steps.pages(LAB, 8080, ["blade2", "blade3"])
    assert steps(next_steps.after_run(links)) == ["http://10.77.0.12:8080", "./lab workbook", "./lab down"]
    assert steps(next_steps.after_run({})) == ["./lab workbook", "./lab down"], "there is no page that nobody serves"


@pytest.mark.parametrize(
    ("state", "ports", "wrong", "first"),
    [
        (LabState(), {}, False, ["./lab power on"]),
        (at(blade1=False, blade2=True), {}, False, ["./lab why blade1", "./lab run 04"]),
        (at(blade2=True, blade3=True), {"web": [8080]}, False, ["http://10.77.0.12:8080"]),
        (at(blade1=True), {"a": [80, 443], "b": [1]}, False, [
            "http://10.77.0.11", "http://10.77.0.11:443", "http://10.77.0.11:1",
        ]),
        (at(blade1=True), {"web": [8080]}, True, ["./lab doctor"]),
    ],
)  # fmt: skip
def test_the_next_step_is_that_of_the_state(
    state: LabState, ports: dict[str, list[int]], wrong: bool, first: list[str]
) -> None:
    found = steps(next_steps.from_here(LAB, state, ports, wrong=wrong))
    assert found[: len(first)] == first and found[-1] == "./lab down"
    assert wrong or "./lab workbook" in found


def test_a_blade_that_has_lost_something_is_to_be_looked_at() -> None:
    lost = HardwareChange(blade="blade2", part="memory", state="worse", detail="a bar is gone")
    state = at(blade1=True, blade2=True)
    state = replace(state, blades={**state.blades, "blade2": replace(state.blade("blade2"), lost=(lost,))})
    assert steps(next_steps.from_here(LAB, state, {}, wrong=False))[0] == "./lab why blade2"


def commands(lab: Lab) -> set[str]:
    texts = [next_steps.after_up(LAB), next_steps.after_run({}), next_steps.after_images()]
    texts += [next_steps.after_power(["blade1"], state) for state in ("on", "reset", "off", "shutdown")]
    texts += [next_steps.after_doctor(up=True), next_steps.after_doctor(up=False), next_steps.after_rehearsal("blade1")]
    for state in (LabState(), at(blade1=False), at(blade1=True)):
        texts += [next_steps.from_here(lab, state, {}, wrong=wrong) for wrong in (True, False)]
    return set(re.findall(r"\./lab ([a-z].*?)(?: {2,}|;|$| does)", "\n".join(texts), re.M))


def test_every_command_that_is_named_can_be_given() -> None:
    found = commands(LAB)
    assert {"down", "workbook", "run", "up", "power on", "power on blade1", "why blade1", "status", "watch"} <= found
    for words in found:
        assert callable(_parser().parse_args(words.split()).run), words


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["04"], CHAPTERS[3:4]), (["4"], CHAPTERS[3:4]), (["04-nginx-service"], CHAPTERS[3:4]),
        (["notebooks/04-nginx-service.ipynb"], CHAPTERS[3:4]), (["05", "1", "01"], (CHAPTERS[0], CHAPTERS[4])),
    ],
)  # fmt: skip
def test_a_chapter_is_named_in_short_or_in_full(words: list[str], chosen: tuple[str, ...]) -> None:
    assert choose_chapters(words) == chosen, "in the order of the book"


@pytest.mark.parametrize("word", ["00", "99", "99-help", "6", "x", "", "-1", "04x"])
def test_what_is_no_chapter_is_answered_with_those_there_are(word: str) -> None:
    with pytest.raises(ParameterError, match="no chapter") as caught:
        choose_chapters([word])
    assert any(one in caught.value.fix for one in CHAPTERS)


def test_a_lab_without_a_blade_waits_for_machines() -> None:
    lab = lab_yaml.parse("blades: []\n", Path("lab.yaml"))
    assert steps(next_steps.from_here(lab, LabState(), {}, wrong=False))[0] == "./lab machines"
    assert steps(next_steps.after_up(lab))[0] == "./lab machines"
    with pytest.raises(ParameterError, match="the lab has no blade yet") as caught:
        client.choose_blades(lab, None)
    assert "./lab machines" in caught.value.fix and "blades: [{name: blade1}] in lab.yaml" in caught.value.fix
    with pytest.raises(ParameterError, match='is a list, not "x"') as caught:
        Parameter("blades", "list[str]", [], "which (blades of the lab)").check("x", "a", lab)
    assert caught.value.fix == "for example []"
