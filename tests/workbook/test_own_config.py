"""From an editor's text to a blade's config, and back by one undo."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import LabkitError, ParameterError
from labkit.lab.state import State
from labkit.workbook.own_config import Saved, find_saved, save, show_plan, undo

LAB = "# mine\nblades:\n  - name: blade1 # the first\n  - name: blade2\n"
BUTANE = (
    "variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n    - {path: /etc/mine, mode: 0644, contents: {inline: a}}\n"
)


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder, self.lab, self.state = folder, folder / "lab.yaml", State(folder.parent / "state")
        folder.mkdir()
        self.lab.write_text(LAB)

    def save(self, name: str, text: str, blade: str = "blade1") -> Saved:
        return save(self.lab, self.state, blade, name, text)

    def undo(self) -> str:
        return undo(self.lab, self.state, "blade1")

    def is_as_before(self) -> bool:
        return self.lab.read_text() == LAB and [path.name for path in self.folder.iterdir()] == ["lab.yaml"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "lab")


def test_a_text_becomes_a_blades_config_and_one_undo_takes_it_back(place: Place) -> None:
    place.save("mine.bu", BUTANE)
    assert place.lab.read_text() == LAB.replace("# the first\n", "# the first\n    config: mine.bu\n")
    words, config = show_plan(place.lab, place.state, "blade1")
    assert "/etc/mine" in words and "kernel     labos/vmlinuz" in words and "BootPlan" not in words
    assert "/etc/mine" in [file["path"] for file in config["storage"]["files"]]
    assert "/etc/mine" not in show_plan(place.lab, place.state, "blade2")[0]
    assert "mine.bu is gone" in place.undo()
    assert place.is_as_before()
    with pytest.raises(ParameterError, match="nothing was saved here for blade1"):
        place.undo()


def test_one_undo_leads_back_over_several_saves(place: Place) -> None:
    place.save("mine.bu", BUTANE)
    place.save("mine.bu", BUTANE.replace("inline: a", "inline: b"))
    third = place.save("other.bu", BUTANE)
    assert find_saved(place.lab, place.state, "blade1") == third, "a kernel after this one can take it back"
    assert sorted(path.name for path in place.folder.iterdir()) == ["lab.yaml", "other.bu"]
    place.undo()
    assert place.is_as_before()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("mine.bu", BUTANE.replace("mode", "modus") + "  x", "makes no config"),
        ("mine.bu", BUTANE.replace("flatcar", "fcos").replace("1.0.0", "9.0.0"), "makes no config"),
        ("mine.ign", '{"ignition": {"version": "3.9.0"}}', "unsupported config version"),
        ("lab.yaml", BUTANE, "no name for a config"),
        ("../mine.bu", BUTANE, "no name for a config"),
        ("mine", BUTANE, "no name for a config"),
        (".mine.bu", BUTANE, "no name for a config"),
        ("mine.bu", BUTANE.replace("/etc/mine", "/etc/hostname"), "hostname"),
    ],
)
def test_what_no_blade_can_boot_with_is_refused_and_nothing_is_written(
    place: Place, name: str, text: str, said: str
) -> None:
    with pytest.raises(LabkitError, match=said):
        place.save(name, text)
    assert place.is_as_before()


def test_somebody_elses_file_is_not_replaced(place: Place) -> None:
    (place.folder / "notes.yaml").write_text("mine\n")
    with pytest.raises(ParameterError, match=r"there is a notes.yaml already"):
        place.save("notes.yaml", BUTANE)
    place.save("notes.yaml.bu", BUTANE, "blade2")
    with pytest.raises(ParameterError, match=r"there is a notes.yaml already\n"):
        place.save("notes.yaml", BUTANE)
    place.save("mine.bu", BUTANE, "blade2")
    with pytest.raises(ParameterError, match="it is the config of blade2"):
        place.save("mine.bu", BUTANE + "# more\n")
    assert (place.folder / "notes.yaml").read_text() == "mine\n" and (place.folder / "mine.bu").read_text() == BUTANE


def test_an_undo_leaves_what_somebody_has_changed_since(place: Place) -> None:
    place.save("mine.bu", BUTANE)
    place.lab.write_text(place.lab.read_text() + "# later\n")
    (place.folder / "mine.bu").write_text("changed")
    assert "was changed since, and stays" in place.undo()
    assert place.lab.read_text() == LAB + "# later\n" and (place.folder / "mine.bu").read_text() == "changed"


def test_an_undo_leaves_another_config_that_was_named_since(place: Place) -> None:
    place.save("mine.bu", BUTANE)
    place.lab.write_text(LAB)
    with pytest.raises(ParameterError, match="is none by now"):
        place.undo()
    place.save("other.bu", BUTANE)
    place.undo()
    assert place.lab.read_text() == LAB and (place.folder / "mine.bu").exists()
