"""Choosers: the parameter is the choice until somebody presses; everything a widget says is also there in words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import ParameterError
from labkit.lab import Role, lab_yaml
from labkit.swarm.membership.majority import MOST_MANAGERS, describe_managers
from labkit.ui import choose_blades, choose_roles, choose_system, choosers
from labkit.ui.choosers import BladeChoice, RoleChoice
from tests.rig.recorded import LAB


def names(choice: BladeChoice) -> list[str]:
    return [blade.name for blade in choice.value]


def test_the_parameter_is_the_choice_and_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert names(choose_blades(LAB, default=["blade3", "blade1"])) == ["blade1", "blade3"]
    assert "blades: blade1 (worker, slot 1), blade3 (worker, slot 3)\n" in capsys.readouterr().out


def test_no_parameter_means_all_blades() -> None:
    assert names(choose_blades(LAB)) == ["blade1", "blade2", "blade3"]


def test_an_unknown_blade_is_refused() -> None:
    with pytest.raises(ParameterError, match="no blade blade9"):
        choose_blades(LAB, default=["blade9"])


def test_a_pressed_slot_changes_choice_words_and_verdict() -> None:
    choice = choose_blades(LAB)
    button = choice._buttons["blade2"]
    assert button.description == "2\n○\n✓ chosen\n\nblade2\nworker\noff"
    button.value = False
    assert names(choice) == ["blade1", "blade3"]
    assert "left out" in button.description
    assert "Chosen: blade1, blade3." in choice._said.widget.value
    assert 'role="status"' in choice._said.widget.value
    assert "slot 2: blade2, worker, off, left out" in choice.picture().text


@pytest.fixture
def in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosers, "get_ipython", object)
    monkeypatch.setattr(choosers, "_pressed", {})


def test_a_cell_that_runs_again_keeps_what_was_pressed(in_a_notebook: None) -> None:
    choose_blades(LAB)._buttons["blade2"].value = False
    assert names(choose_blades(LAB)) == ["blade1", "blade3"]
    assert names(choose_blades(LAB, default=["blade2"])) == ["blade2"], "another parameter was given"
    again = choose_blades(LAB)
    for button in again._buttons.values():
        button.value = False
    assert len(names(choose_blades(LAB))) == 3, "none is no choice"


def test_roles_and_systems_are_kept_too(in_a_notebook: None) -> None:
    choose_roles(LAB)._buttons["blade1"].value = True
    assert choose_roles(LAB).wanted == ("blade1",)
    choose_roles(LAB)._buttons["blade1"].value = False
    assert choose_roles(LAB).wanted == (), "a person has chosen none, and that is to be"
    assert choose_roles(LAB, default=["blade2"]).wanted == ("blade2",)
    blade = LAB.blade("blade1")
    choose_system(LAB, blade).systems.buttons["flatcar"].value = True
    assert choose_system(LAB, blade).value.os == "flatcar"
    assert choose_system(LAB, blade, os="labos").value.os == "labos"


def test_without_a_notebook_nothing_is_kept() -> None:
    choose_blades(LAB)._buttons["blade2"].value = False
    assert len(names(choose_blades(LAB))) == 3


def test_nothing_chosen_is_said_at_once_and_refused_when_asked() -> None:
    choice = choose_blades(LAB, default=["blade1"])
    choice._buttons["blade1"].value = False
    assert "⚠" in choice._said.widget.value and "labkit-warn" in choice._said.widget.value
    with pytest.raises(ParameterError, match="no blade is chosen"):
        _ = choice.value


def test_what_a_page_without_widgets_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("labkit.ui.choosers.display", lambda bundle, raw: shown.append(bundle))
    choose_blades(LAB, default=["blade1"])
    (bundle,) = shown
    assert set(bundle) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert "slot 2: blade2, worker, off, left out" in bundle["text/plain"]
    assert bundle["text/html"].startswith("<svg")


# --- roles ------------------------------------------------------------------------------------------------------------


def roles(default: list[str] | None = None) -> RoleChoice:
    return choose_roles(LAB, default=default or [])


def test_roles_start_as_the_lab_file_says() -> None:
    lab = lab_yaml.parse("blades:\n  - {name: a, role: manager}\n  - {name: b}\n", Path("lab.yaml"))
    choice = choose_roles(lab)
    assert choice.value == {"a": Role.MANAGER, "b": Role.WORKER}
    assert choice.managers == ("a",)


def test_the_parameter_names_the_managers(capsys: pytest.CaptureFixture[str]) -> None:
    choice = roles(["blade2", "blade3"])
    assert choice.value == {"blade1": Role.WORKER, "blade2": Role.MANAGER, "blade3": Role.MANAGER}
    said = capsys.readouterr().out
    assert "roles: blade1 worker, blade2 manager, blade3 manager" in said
    assert "3 managers (the controller, blade2, blade3): 1 may be lost, 2 must be there." in said


def test_a_changed_role_is_judged_at_once() -> None:
    choice = roles()
    assert "One manager (the controller)" in choice.verdict
    choice._buttons["blade1"].value = True
    assert "worse than one" in choice.verdict
    assert "worse than one" in choice._said.widget.value and "labkit-warn" in choice._said.widget.value
    assert choice.value["blade1"] is Role.MANAGER


def test_where_nobody_chose_the_managers_stay_as_they_are() -> None:
    assert roles().wanted is None
    assert roles(["blade2"]).wanted == ("blade2",)


@pytest.mark.parametrize(("pressed", "wanted"), [([True], ("blade1",)), ([True, False], ())])
def test_what_a_person_chose_holds(pressed: list[bool], wanted: tuple[str, ...]) -> None:
    choice = roles()
    for is_manager in pressed:
        choice._buttons["blade1"].value = is_manager
    assert choice.wanted == wanted


def test_each_button_says_its_blade_and_role() -> None:
    choice = roles(["blade2"])
    words = [button.description for button in choice._buttons.values()]
    assert words == ["blade1: worker", "blade2: ★ manager", "blade3: worker"]
    choice._buttons["blade2"].value = False
    assert choice._buttons["blade2"].description == "blade2: worker"


@pytest.mark.parametrize(
    ("count", "diskless", "words", "warn"),
    [
        (0, 0, "No manager", True),
        (1, 0, "cannot be changed while it is away", False),
        (2, 0, "worse than one", True),
        (3, 0, "1 may be lost, 2 must be there", False),
        (4, 0, "3 would survive as much", True),
        (5, 2, "m0, m1 keep the swarm in memory, and each counts as lost", False),
        (3, 2, "keep the swarm in memory", True),
        (MOST_MANAGERS + 2, 0, "make every change slower", True),
    ],
)
def test_managers_in_words(count: int, diskless: int, words: str, warn: bool) -> None:
    managers = [f"m{number}" for number in range(count)]
    said, warned = describe_managers(managers, diskless=managers[:diskless])
    assert words in said and warned is warn


def test_what_follows_the_choice_is_what_stands_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed line cannot change any more, so it comes before the buttons."""
    printed: list[str] = []
    monkeypatch.setattr(choosers, "display", lambda bundle, raw: printed.append(capsys.readouterr().out))
    choice = choose_blades(LAB)
    choose_roles(LAB)
    assert printed[0].startswith("blades: ") and printed[1].startswith("roles: ")
    assert re.search(r"stages are as of \d\d:\d\d\.", choice._said.widget.value)
    assert re.search(r"\nas of \d\d:\d\d$", choice.picture().text)
