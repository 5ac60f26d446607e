"""What a long cell shows while it runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from labkit.lab import lab_yaml
from labkit.ui.long_cell import as_bundle, waiting


def test_a_long_cell_shows_its_seconds_and_what_was_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}]\n")
    monkeypatch.setenv("LABKIT_LAB", str(tmp_path / "lab.yaml"))
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    shown: list[str] = []
    drawn = threading.Semaphore(0)

    class Live:
        def show(self, bundle: dict[str, str]) -> None:
            shown.append(bundle["text/plain"])
            drawn.release()

    monkeypatch.setattr("labkit.ui.long_cell.Live", Live)
    monkeypatch.setattr("labkit.ui.long_cell.EVERY_S", 0.01)
    with pytest.raises(ValueError), waiting("blade1 <shuts> down", lab_yaml.load(tmp_path / "lab.yaml").blades):
        for _ in range(3):
            assert drawn.acquire(timeout=30)
        raise ValueError
    assert shown[0].splitlines() == ["blade1 <shuts> down: 0 s …", "nothing yet"]
    assert shown[-1] == "blade1 <shuts> down: took 0 s"
    assert "&lt;shuts&gt;" in as_bundle(["<shuts>"])["text/html"]
