"""A blade's config put into a lab file, and taken out of it again: what is written where."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.errors import LabFileError, ParameterError
from labkit.lab.lab_yaml import adopt

CONFIGS: dict[str, tuple[str, str]] = {
    "lines": (
        "blades:\n  - name: a # first\n    role: worker # of all\n\n  - name: b\n",
        "blades:\n  - name: a # first\n    config: new.bu\n    role: worker # of all\n\n  - name: b\n",
    ),
    "one that is there": (
        "blades:\n  - name: a\n    config: old.bu # mine\n    role: worker\n",
        "blades:\n  - name: a\n    config: new.bu # mine\n    role: worker\n",
    ),
    "braces": (
        "blades: [{name: a, role: worker}, {name: b}] # all\n",
        "blades: [{name: a, config: new.bu, role: worker}, {name: b}] # all\n",
    ),
    "braces that have one": (
        "blades:\n- {config: 'old.bu', name: a}\n- {name: b}\n", "blades:\n- {config: new.bu, name: a}\n- {name: b}\n",
    ),
    "no line break at the end": ("blades:\n- name: a", "blades:\n- name: a\n  config: new.bu\n"),
    "carriage returns": ("blades:\r\n- name: a\r\n", "blades:\r\n- name: a\r\n  config: new.bu\r\n"),
    "JSON": ('{"blades": [{"name": "a"}]}', '{"blades": [{"name": "a", "config": new.bu}]}'),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), CONFIGS.values(), ids=CONFIGS)
def test_a_blades_config_is_set_and_taken_back(before: str, after: str, tmp_path: Path) -> None:
    for name in ("old.bu", "new.bu"):
        (tmp_path / name).write_text("")
    source = adopt.read(before, tmp_path / "lab.yaml")
    new, old = adopt.configure(source, "a", "new.bu")
    assert new.text == after
    back, was = adopt.configure(new, "a", old)
    assert (was, back.text.rstrip("\n"), back.lab) == ("new.bu", before.rstrip("\n"), source.lab)


def test_a_config_behind_the_dash_is_replaced_and_not_taken_away(tmp_path: Path) -> None:
    (tmp_path / "old.bu").write_text("")
    source = adopt.read("blades:\n- config: old.bu\n  name: a\n", tmp_path / "lab.yaml")
    assert adopt.configure(source, "a", '"old.bu"')[1] == "old.bu"
    for name, config in (("a", None), ("b", "old.bu")):
        with pytest.raises(ParameterError, match="written in a way"):
            adopt.configure(source, name, config)
    with pytest.raises(LabFileError, match="there is no file"):
        adopt.configure(source, "a", "gone.bu")
