"""Which config a blade of a running lab gets: the one that its lab file names when it boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.boot import BaseConfig
from labkit.errors import ControlError
from labkit.lab import lab_yaml
from labkit.netboot.configd import as_written, asker
from labkit.netboot.configs import base_config

PLAIN = "blades:\n  - name: blade1\n"
BUTANE = "variant: flatcar\nversion: 1.0.0\n"


def test_a_config_that_was_written_since_the_lab_came_up_counts(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(PLAIN)
    lab = lab_yaml.load(file)
    assert as_written(lab, "blade1") == lab.blade("blade1")
    (tmp_path / "mine.bu").write_text(BUTANE)
    file.write_text(PLAIN + "    config: mine.bu\n    role: manager\n")
    now = as_written(lab, "blade1")
    found = base_config(lab, now)
    assert isinstance(found, BaseConfig) and found.name == str(tmp_path / "mine.bu")
    assert now.role == lab.blade("blade1").role, "all else is as it was when the lab came up"
    file.write_text(PLAIN.replace("blade1", "blade2"))
    assert as_written(lab, "blade1") == lab.blade("blade1")
    file.write_text("blades: [")
    assert as_written(lab, "blade1") == lab.blade("blade1")
    file.unlink()
    assert as_written(lab, "blade1") == lab.blade("blade1")


def test_without_an_answer_only_a_blade_without_a_config_boots(tmp_path: Path) -> None:
    (tmp_path / "mine.bu").write_text(BUTANE)
    text = PLAIN + "  - name: blade2\n    config: mine.bu\n"
    plain, own = lab_yaml.parse(text, tmp_path / "lab.yaml").blades
    ask = asker(tmp_path / "nobody.sock")
    assert ask(plain) is None
    with pytest.raises(ControlError):
        ask(own)
