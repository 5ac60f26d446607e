"""What ``explain`` and ``why`` say of a blade's own configs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.cli.commands import main

LAB = "config: [a.bu, {role: manager, config: b.bu}]\nblades: [{name: blade1, role: manager}, {name: blade2}]\n"
HEAD = "variant: flatcar\nversion: 1.0.0\n"


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    motd = "storage: {files: [{path: /etc/motd, contents: {inline: '{{ blade.name }}'}}]}\n"
    (tmp_path / "a.bu").write_text(HEAD + motd)
    (tmp_path / "b.bu").write_text(HEAD + "systemd: {units: [{name: a.service, contents: '[Servce]'}]}\n")
    (tmp_path / "lab.yaml").write_text(LAB)
    monkeypatch.setenv("LABKIT_LAB", str(tmp_path / "lab.yaml"))
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.parametrize("verb", ["explain", "why"])
def test_the_files_of_a_config_are_told(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([verb, "blade1"])
    told = capsys.readouterr().out
    assert "a.bu, b.bu" in told
    assert "file /etc/motd  a.bu" in told
    assert "a.service has no [Service] section" in told
    main([verb, "blade1", "--json"])
    configs = json.loads(capsys.readouterr().out)["configs"]
    assert configs["gave"].keys() == {"file /etc/motd", "unit a.service"}
    assert [Path(name).name for name in configs["files"]] == ["a.bu", "b.bu"]
    assert configs["remarks"]


def test_why_tells_what_is_wrong_with_them_too(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lab / "b.bu").write_text(HEAD + "# {{ blade.rack }}\n")
    main(["why", "blade1"])
    assert "line 3 col 3: blade has no 'rack'" in capsys.readouterr().out
    main(["why", "blade1", "--json"])
    assert "rack" in json.loads(capsys.readouterr().out)["configs"]["wrong"]["what"]
    assert main(["explain", "blade1"]) != 0
    main(["why", "blade2"])
    assert "its configs: a.bu\n" in capsys.readouterr().out
