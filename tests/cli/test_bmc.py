"""``./lab power sensors``, ``log`` and ``identify``: what a blade's BMC gives, as a table and for a program."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.cli import main
from labkit.lab.process import control
from labkit.lab.state import State
from tests.rig.failures import PASSWORD
from tests.rig.failures_machine import simulated_bmc
from tests.rig.ipmi_sensors import RACK, Sensor, commands

SENSORS = {Sensor("CPU", "temperature", limits=(80, 90)): 85, Sensor("FAN1", "fan", exponent=2): 42}
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command line of a real lab with one blade that has a BMC and one that has none."""
    for sensor, value in SENSORS.items():
        (tmp_path / sensor.name).write_text(str(value))
    (tmp_path / "bmc.password").write_text(PASSWORD.reveal() + "\n")
    monkeypatch.setattr(control, "status", lambda state, ask=False: {"up": True})
    with simulated_bmc(tmp_path, commands(tmp_path, list(SENSORS))) as own:
        (tmp_path / "lab.yaml").write_text(RACK.format(port=own.port))
        yield lambda *words: main(["--lab", str(tmp_path / "lab.yaml"), *words])


@pytest.mark.simulator
def test_what_a_bmc_measures_is_a_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("power", "sensors") == 0
    assert capsys.readouterr().out == "red1:\n  CPU   85 °C     warning (limit 80 °C)\n  FAN1  4200 RPM  ok\n"
    assert run("power", "sensors", "red1", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["blade"] == "red1" and [one["value"] for one in told["sensors"]] == [85.0, 4200.0]
    assert run("power", "log", "red1") == 0
    assert "red1:" in capsys.readouterr().out
    assert run("power", "identify", "red1") == run("power", "identify-off") == 0
    assert capsys.readouterr().out == "red1: its lamp is lit\nred1: its lamp is out\n"


def test_who_has_no_bmc_is_told_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for verb, what in (("sensors", "sensors"), ("log", "event log"), ("identify", "identify lamp")):
        assert run("power", verb, "red2") == 1
        assert f"has no {what}: its power is switched by hand" in capsys.readouterr().err
    assert run("power", "identify", "--json") == 2
    assert run("power", "sensors", "red1", "--dry-run") == 0
    assert "red1: would press nothing, and ask for what it measures by IPMI, at 127.0.0.1:" in capsys.readouterr().out


def test_a_serial_port_is_reached_over_ipmi_whatever_presses_the_buttons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[str] = []

    def become(program: str, line: list[str]) -> None:
        words.extend(line)
        raise SystemExit(0)

    monkeypatch.setattr(control, "status", lambda state, ask=False: {"up": True})
    monkeypatch.setattr(shutil, "which", lambda program: program)
    monkeypatch.setattr(os, "execvp", become)
    monkeypatch.setenv("IPMI_PASSWORD", "")
    (tmp_path / "lab.yaml").write_text("bmc: {kind: redfish}\nblades: [{name: blade1}]\n")
    State(tmp_path / ".lab").make()
    assert main(["--lab", str(tmp_path / "lab.yaml"), "console", "blade1"]) == 0
    assert words[words.index("-H") + 1 : words.index("-U")] == ["10.77.0.201", "-p", "623"]
    assert os.environ["IPMI_PASSWORD"] and os.environ["IPMI_PASSWORD"] not in words
