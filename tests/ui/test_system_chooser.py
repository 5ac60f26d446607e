"""The chooser of systems: one is pressed, what it means is said at once, and nothing but the choice changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labkit.errors import ParameterError
from labkit.lab import Flavour, Lab, lab_yaml
from labkit.ui import SystemChoice, choose_system
from labkit.ui.system_chooser import OneOf

LAB = "blades:\n  - name: blade1\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With two releases of Flatcar."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    for version in ("4230.2.1", "4593.2.5"):
        (tmp_path / "cache/releases/flatcar" / version).mkdir(parents=True)
    return tmp_path / "cache"


def lab(text: str = LAB) -> Lab:
    return lab_yaml.parse(text, Path("lab.yaml"))


def choose(text: str = LAB, **parameters: str) -> SystemChoice:
    made = lab(text)
    return choose_system(made, made.blades[0], **parameters)


def pressed(row: OneOf) -> list[str]:
    return [name for name, button in row.buttons.items() if button.value]


def test_without_a_parameter_it_is_what_the_lab_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    choice = choose()
    assert capsys.readouterr().out.startswith("system: labos, as lab.yaml says\n")
    assert list(choice.systems.buttons) == [os.value for os in Flavour]
    assert pressed(choice.systems) == ["labos"]
    assert choice.systems.buttons["labos"].description == "● labos (lab.yaml)"
    made = lab()
    assert choice.value.blade(made.blades[0]) == made.blades[0]
    assert choice.words.endswith("This is what lab.yaml says, and what boots.")


def test_the_parameters_are_the_choice(capsys: pytest.CaptureFixture[str]) -> None:
    choice = choose(os="flatcar", version="4700.1.0")
    assert capsys.readouterr().out.startswith("system: flatcar 4700.1.0, to plan with; lab.yaml says labos\n")
    assert pressed(choice.systems) == ["flatcar"] and pressed(choice.releases) == ["4700.1.0"]
    assert "\n    os: flatcar\n    version: 4700.1.0\n    memory: 3072M\nthen ./lab down" in choice.words
    with pytest.raises(ParameterError, match="there is no system 'debian'") as caught:
        choose(os="debian")
    assert "flatcar" in caught.value.fix


def test_another_press_changes_choice_and_words_and_offers_what_is_here() -> None:
    choice = choose()
    assert len(choice._rows.children) == 1, "labos has no releases"
    choice.systems.buttons["flatcar"].value = True
    assert pressed(choice.systems) == ["flatcar"] and choice.value.os is Flavour.FLATCAR
    assert (
        'role="status"' in choice._said.widget.value
        and "This is a plan: lab.yaml says labos" in choice._said.widget.value
    )
    assert list(choice.releases.buttons) == ["", "4593.2.5", "4230.2.1"] and pressed(choice.releases) == [""]
    choice.releases.buttons["4230.2.1"].value = True
    assert (choice.value.version, pressed(choice.releases)) == ("4230.2.1", ["4230.2.1"])
    assert "version: 4230.2.1" in choice._said.widget.value
    choice.systems.buttons["fedora-coreos"].value = True
    assert choice.value.version == "" and len(choice._rows.children) == 1


def test_one_is_always_pressed() -> None:
    choice = choose()
    button = choice.systems.buttons["labos"]
    button.value = False
    assert button.value and pressed(choice.systems) == ["labos"]
    assert button.tooltip == "the system to plan with: labos (lab.yaml), chosen"
    assert choice.systems.buttons["custom"].tooltip.endswith("custom, press to choose it")


def test_the_release_that_the_lab_file_names_is_one_to_go_back_to() -> None:
    choice = choose(f"os: flatcar\nversion: 4230.2.1\nmemory: 3G\n{LAB}")
    assert [button.description for button in choice.releases.buttons.values()] == [
        "● 4230.2.1 (lab.yaml)",
        "○ 4593.2.5",
    ]
    choice.releases.buttons["4593.2.5"].value = True
    assert "\n    version: 4593.2.5\nthen" in choice.words and "os: flatcar" not in choice.words
    choice.systems.buttons["labos"].value = True
    assert "and take its version out:\n    os: labos\n" in choice.words
    choice.systems.buttons["flatcar"].value = True
    assert choice.words.endswith("This is what lab.yaml says, and what boots.")


def test_a_page_without_widgets_has_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("labkit.ui.choosers.display", lambda bundle, raw: shown.append(bundle))
    choice = choose(os="fedora-coreos")
    (bundle,) = shown
    assert bundle["text/plain"] == choice.words and "config.ign in the blade&#x27;s own archive" in bundle["text/html"]
