"""A word with blades over SSH: how they are asked, and that one that does not answer holds nobody up."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.servers import blade_shell

FAKE = """#!/bin/sh
echo "$PWD $*" >>"$ASKED"
case $* in
*core@10.77.0.11*) printf '0.25 0.1 0.1 1/2 3\\nMemTotal: 2000 kB\\nMemAvailable: 500 kB\\n' ;;
*core@10.77.0.12*) echo 'Permission denied' >&2; exit 255 ;;
*) exec sleep 60 ;;
esac
"""


def test_blades_are_asked_at_once_and_who_is_silent_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text(FAKE)
    (tmp_path / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setattr(blade_shell, "WAIT_S", 1.0)
    state = State(tmp_path / "s")
    state.make()
    lab = lab_yaml.parse("blades: [{name: blade1}, {name: blade2}, {name: blade3}]\n", tmp_path / "lab.yaml")
    found = blade_shell.measure(state, lab.blades)
    assert set(found) == {"blade1"}
    assert (found["blade1"].load, found["blade1"].used_b, found["blade1"].total_b) == (0.25, 1500 << 10, 2000 << 10)
    asked = (tmp_path / "asked").read_text()
    assert f"{state.keys} -i ssh -o IdentitiesOnly=yes" in asked and "-o BatchMode=yes core@10.77.0.11 cat" in asked
    assert blade_shell.measure(state, ()) == {}
