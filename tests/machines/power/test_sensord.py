"""sensord as the lab starts it: it asks the controllers of a lab it is handed, and tells events and numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import events
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.process.handover import VARIABLE, hand
from labkit.lab.state import State
from tests.rig.failures import PASSWORD
from tests.rig.failures_machine import simulated_bmc
from tests.rig.ipmi_sensors import RACK, Sensor, commands

HOT = Sensor("CPU", "temperature", limits=(80, 90))


@pytest.mark.simulator
def test_a_blade_that_is_too_hot_is_an_event_and_a_number(tmp_path: Path) -> None:
    (tmp_path / "CPU").write_text("85")
    (tmp_path / "bmc.password").write_text(PASSWORD.reveal() + "\n")
    state = State(tmp_path / ".lab")
    state.make()
    with simulated_bmc(tmp_path, commands(tmp_path, [HOT])) as own, rpc.listen(state.sensord) as control:
        lab = lab_yaml.parse(RACK.format(port=own.port), tmp_path / "lab.yaml")
        handed = hand(lab)
        told, tells = os.pipe()
        environment = {
            **os.environ, "LABKIT_STATE": str(state.path), "LABKIT_EVENTS_FD": str(tells), VARIABLE: str(handed),
            "LABKIT_FDS": f"control={control.fileno()}",
        }  # fmt: skip
        line = [sys.executable, "-m", "labkit.machines.power.sensord"]
        with subprocess.Popen(line, env=environment, pass_fds=(tells, handed, control.fileno())) as sensord:
            try:
                with os.fdopen(told, encoding="utf-8") as stream:
                    os.close(tells)
                    found = events.decode(stream.readline())
                numbers = rpc.call(state.sensord, "numbers", timeout_s=60)["numbers"]
                assert rpc.call(state.sensord, "reload", timeout_s=60) == {}
            finally:
                sensord.send_signal(signal.SIGTERM)
                assert sensord.wait(60) == 0
        os.close(handed)
    assert isinstance(found, events.Measured) and (found.blade, found.celsius, found.state) == ("red1", 85.0, "warning")
    assert found.hot == "CPU 85 °C (above its warning limit of 80 °C)" and found.time
    assert ["labkit_blade_too_hot", {"slot": "1"}, 1.0] in numbers
    assert PASSWORD.reveal() not in str(numbers)
