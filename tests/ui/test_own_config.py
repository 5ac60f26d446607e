"""The buttons below the editor of chapter 2."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit.errors import ParameterError
from labkit.lab import lab_yaml
from labkit.ui import long_cell
from labkit.ui.editor import ConfigEditor
from labkit.ui.own_config import OwnConfig, keep_config

BUTANE = "variant: flatcar\nversion: 1.0.0\nstorage: {files: [{path: /a, mode: 0644, contents: {inline: '${NAME}'}}]}\n"
LAB = "blades:\n  - name: blade1\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnConfig:
    (tmp_path / "lab.yaml").write_text(LAB)
    monkeypatch.setenv("LABKIT_LAB", str(tmp_path / "lab.yaml"))
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    monkeypatch.setattr(long_cell, "DEAF_S", 0.0)
    return OwnConfig(ConfigEditor(BUTANE, name="mine"), lab_yaml.load(tmp_path / "lab.yaml").blades[0])


def test_save_and_undo_are_one_click_each(own: OwnConfig, tmp_path: Path) -> None:
    save, boot, undo = own.buttons.values()
    assert [button.description for button in (save, boot, undo)] == [
        "Save as blade1's config", "Boot blade1 with this", "Undo",
    ]  # fmt: skip
    save.click()
    again = OwnConfig(own._editor, own._blade)
    assert again.name.value == "blade1.bu" and "saved as blade1.bu" in again._said.value, "as where a cell ran again"
    assert (tmp_path / "blade1.bu").read_text() == BUTANE
    assert "config: blade1.bu" in (tmp_path / "lab.yaml").read_text()
    assert "${NAME} in the file /a is never filled in" in own._said.value and 'role="status"' in own._said.value
    undo.click()
    assert (tmp_path / "lab.yaml").read_text() == LAB and not (tmp_path / "blade1.bu").exists()
    undo.click()
    assert "lk-wrong" in own._said.value and "nothing was saved here" in own._said.value


def test_a_file_that_nobody_has_named_is_called_after_its_language(own: OwnConfig) -> None:
    own._editor.value = "systemd: {units: [{name: a.service, enabled: true}]}\n"
    assert own.name.value == "blade1.yaml"
    own._editor.value = BUTANE
    assert own.name.value == "blade1.bu"
    own.name.value = "mine.bu"
    own._editor.value = "systemd: {}\n"
    assert own.name.value == "mine.bu"


def test_the_cells_below_go_by_the_lab_file_as_it_is_when_they_run(own: OwnConfig, tmp_path: Path) -> None:
    book = json.loads((Path(__file__).parents[2] / "notebooks/02-ignition-authoring.ipynb").read_text())
    cell = next("".join(one["source"]) for one in book["cells"] if one["id"] == "14aa0202")
    lab = lab_yaml.load(tmp_path / "lab.yaml")
    ui = SimpleNamespace(choose_system=lambda lab, blade, **_: blade.config)
    names = {"ui": ui, "load": lab_yaml.load, "lab": lab, "os": "", "version": ""}
    names["chosen"] = SimpleNamespace(value=lab.blades)
    save, _, undo = own.buttons.values()
    for button, config in ((save, (tmp_path / "blade1.bu",)), (undo, ())):
        button.click()
        assert "run them again" in own._said.value
        exec(cell, names)
        assert names["planned"] == config


def test_the_parameters_do_the_same_and_alone_change_nothing(
    own: OwnConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    editor, blade = own._editor, own._blade
    keep_config(editor, blade)
    assert own._repr_mimebundle_()["text/plain"].splitlines()[1:] == [f"[{words}]" for words in own.buttons]
    assert (tmp_path / "lab.yaml").read_text() == LAB
    keep_config(editor, blade, save_as="mine.bu", undo=True)
    said = capsys.readouterr().out
    assert "saved as mine.bu" in said and "mine.bu is gone" in said
    assert (tmp_path / "lab.yaml").read_text() == LAB
    keep_config(editor, blade, save_as="mine.bu")
    keep_config(editor, blade, undo=True)
    assert (tmp_path / "lab.yaml").read_text() == LAB
    with pytest.raises(ParameterError, match="nothing saved to boot"):
        keep_config(editor, blade, boot=True)
