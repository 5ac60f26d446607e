"""``./lab disk``: a yes is asked for, said back, and can be taken back."""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from labkit.cli.commands import main
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.servers import client


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the boot server was told, and a boot server that found a disk."""
    path = tmp_path / "lab.yaml"
    path.write_text("blades: [{name: blade1, disk: /dev/vda}, {name: blade2}, {name: blade3, disk: /dev/vda}]\n")
    lab = lab_yaml.load(path)
    calls: list[tuple[str, dict[str, Any]]] = []

    def call(_: Path, verb: str, **fields: Any) -> dict[str, Any]:
        if verb == "disk":
            found = fields["blade"] == "blade1"
            return {"words": "it has something on it" if found else "", "found": found}
        calls.append((verb, fields))
        return {"done": True}

    monkeypatch.setattr(rpc, "call", call)
    monkeypatch.setattr(client, "connect", lambda *_: client.RunningLab(lab, State(tmp_path / ".lab")))
    monkeypatch.chdir(tmp_path)
    return calls


YES = [("let_wipe", {"blade": "blade1", "allowed": True})]


def test_it_is_done_after_a_yes(
    asked: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for answer, status in (("", 2), ("n\n", 2), ("wipe\n", 2), ("y\n", 0)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main(["disk", "wipe", "blade1"]) == status
        said = capsys.readouterr()
        assert "it has something on it" in said.err and "every file, image and volume on it" in said.err
        assert asked == (YES if status == 0 else [])
    assert "its next boot wipes /dev/vda, if there is still on it what was found" in said.out
    assert "./lab disk keep blade1" in said.err


def test_without_a_terminal_nobody_agrees(
    asked: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["disk", "wipe", "blade1"]) == 2
        assert "nothing will be wiped" in capsys.readouterr().err and asked == []
        assert main(["disk", "wipe", "blade1", "--yes"]) == 0 and asked == YES
        assert main(["disk", "keep", "blade1"]) == 0
    assert asked[1:] == [("let_wipe", {"blade": "blade1", "allowed": False})]


@pytest.mark.parametrize(
    ("blade", "what"), [("blade2", "no disk in lab.yaml"), ("blade3", "has found /dev/vda so far"), ("x", "no blade x")]
)
def test_what_cannot_be_wiped_is_told(
    asked: list[tuple[str, dict[str, Any]]], blade: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "wipe", blade, "--yes"]) == 2
    said = capsys.readouterr().err
    assert what in said and "fix: " in said and asked == []
