"""A lab's unit as text: systemd takes each path for what it is, and what labkit wrote is known again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from labkit.errors import MachineError
from labkit.machines.host import unit
from tests.rig.odd import ODD

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")


def made(folder: str = f"/home/{ODD}") -> str:
    settings = {"LABKIT_LAB": f"{folder}/lab.yaml", "LABKIT_STATE": f"{folder}/.lab"}
    script, lab = Path(folder) / "lab", Path(folder) / "lab.yaml"
    after = ("network-online.target", "docker.service")
    return unit.unit("labkit's lab red", script, lab, settings, after=after, words=("up", "--at-boot"))


def verify(place: Path, text: str) -> str:
    """What systemd says of a unit, without running it."""
    path = place / "labkit-0a1b2c.service"
    path.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
    return done.stderr


@needs_systemd
def test_systemd_has_nothing_to_say_of_it(tmp_path: Path) -> None:
    assert verify(tmp_path, made()) == ""
    assert "Killmode" in verify(tmp_path, made().replace("KillMode", "Killmode"))  # it would say so


@needs_systemd
def test_systemd_reads_a_path_as_it_is(tmp_path: Path) -> None:
    """By its own words on a setting that is none, which are what it has read."""
    odd = f"/nonexistent/{ODD} ünï 100%% \\x20 %h"
    command = f"[Service]\nExecStart=/bin/sh {unit.argument(odd)}\n"
    assert verify(tmp_path, command) == ""
    assert f"ignoring: {odd}\n" in verify(tmp_path, f"{command}Environment={unit.value(odd)}\n")


def test_a_dollar_means_itself_in_a_command_and_in_a_setting() -> None:
    text = made("/srv/$HOME")
    assert 'ExecStart=/bin/sh "/srv/$$HOME/lab" up --at-boot\n' in text  # systemd.service(5), "Command lines"
    assert 'Environment="LABKIT_LAB=/srv/$HOME/lab.yaml"\n' in text  # systemd.exec(5), "Environment="


@pytest.mark.parametrize("name", ["two\nlines", "a\ttab", "\udcff"])
def test_what_a_unit_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(MachineError, match="cannot hold this"):
        made(f"/srv/{name}")


def test_what_labkit_wrote_is_known_again() -> None:
    text = made()
    assert unit.is_ours(text) and unit.starts(text) == (f"/home/{ODD}/lab", f"/home/{ODD}/lab.yaml")
    for changed in (
        "",
        "[Unit]\n",
        text + "\n",
        text.replace("RestartSec=30", "RestartSec=5"),
        text.partition("\n")[2],
    ):
        assert not unit.is_ours(changed) and unit.starts(changed) == ()
