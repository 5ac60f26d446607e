"""What controllers measure and note over IPMI, read from OpenIPMI's simulator, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import PowerError
from labkit.events import NOT_MEASURED, SENSORS, Event, Measured, Trouble
from labkit.lab import Bmc, Lab, lab_yaml
from labkit.machines import power
from labkit.machines.power import calls, ipmi, measured, readings, sensord
from labkit.machines.power.readings import Reading
from tests.machines.power.test_kinds import REAL
from tests.rig.failures import PASSWORD
from tests.rig.failures_machine import simulated_bmc
from tests.rig.ipmi_sensors import Sensor, commands

CPU = Reading("CPU", "temperature", 41.0, "°C")
HOT = replace(CPU, value=92.0, state="critical", is_high=True, limit=90.0)
FAN = Reading("FAN1", "fan", 4200.0, "RPM")
LOAD = Reading("Total", "power", 90.0, "W")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy takes longer for a process than a BMC for its answer."""
    monkeypatch.setattr(power, "CALL_S", 120.0)
    monkeypatch.setattr(power, "READ_S", 120.0)


# --- IPMI -------------------------------------------------------------------------------------------------------------

IN_THE_BLADE = {
    Sensor("CPU", "temperature", limits=(80, 90)): 41,
    Sensor("Inlet", "temperature"): 0xFE,  # -2, as a byte with a sign
    Sensor("FAN1", "fan", exponent=2): 42,
    Sensor("Total", "power", exponent=1): 9,
    Sensor("3V3", "volt", exponent=-1): 33,
}
NOTED = "sel_add 0x20 2 0x10 0x20 0x30 0x40 0x20 0 4 1 1 1 0x59 92 90\n"
"""A temperature that rises above its critical limit (IPMI 2.0, table 32-1)."""


@contextmanager
def measuring(folder: Path) -> Iterator[tuple[Bmc, Callable[[str, int], None]]]:
    """A BMC with these sensors, and what gives one of them another value."""
    for sensor, value in IN_THE_BLADE.items():
        (folder / sensor.name).write_text(str(value))

    def becomes(name: str, value: int) -> None:
        (folder / name).write_text(str(value))
        time.sleep(0.5)  # the simulator looks there again and again

    with simulated_bmc(folder, commands(folder, list(IN_THE_BLADE)) + NOTED) as own:
        yield own, becomes


@pytest.mark.simulator
def test_what_a_bmc_measures_over_ipmi(tmp_path: Path) -> None:
    with measuring(tmp_path) as (own, becomes):
        assert power.sensors("red1", own, PASSWORD) == (CPU, replace(CPU, name="Inlet", value=-2.0), FAN, LOAD)
        becomes("CPU", 85)
        warm = power.sensors("red1", own, PASSWORD)[0]
        assert warm == Reading("CPU", "temperature", 85.0, "°C", "warning", True, 80.0)
        becomes("CPU", 92)
        found = power.sensors("red1", own, PASSWORD)
        assert found[0] == HOT and readings.too_hot(found) == "CPU 92 °C (above its critical limit of 90 °C)"
        (noted,) = power.log("red1", own, PASSWORD)
        assert noted.time and noted.text == "CPU: Upper critical" and noted.state == "critical"
        power.identify("red1", own, PASSWORD, on=True)
        power.identify("red1", own, PASSWORD, on=False)


@pytest.mark.simulator
def test_a_virtual_slot_measures_nothing(tmp_path: Path) -> None:
    with simulated_bmc(tmp_path) as own:
        assert power.sensors("blade1", own, PASSWORD) == () and power.log("blade1", own, PASSWORD) == ()


def test_what_pyghmi_says_of_a_limit() -> None:
    assert ipmi.judged(0, []) == ("ok", False)
    assert ipmi.judged(1, ["lower non-critical threshold"]) == ("warning", False)
    assert ipmi.judged(3, ["upper non-critical threshold", "upper critical threshold"]) == ("critical", True)


# --- what is told of it -----------------------------------------------------------------------------------------------


def test_what_is_news() -> None:
    first = measured.summary("red1", (CPU, FAN, LOAD))
    assert (first.celsius, first.watts, first.state, first.hot) == (41.0, 90.0, "ok", "") and str(
        first
    ) == "41 °C, 90 W"
    hot = measured.summary("red1", (HOT, CPU))
    assert hot.state == "critical" and hot.hot == "CPU 92 °C (above its critical limit of 90 °C)"
    news = measured.is_news
    assert news(None, first) and not news(None, Measured(blade="red1"))
    assert not news(first, replace(first, celsius=43.0)) and news(first, replace(first, celsius=44.0))
    assert not news(first, replace(first, watts=99.0)) and news(first, replace(first, watts=100.0))
    assert news(first, replace(first, celsius=NOT_MEASURED)) and news(hot, replace(first, celsius=hot.celsius))


def test_the_numbers_have_no_names() -> None:
    told = measured.numbers({3: (HOT, FAN, LOAD)})
    assert all(labels.keys() <= {"slot", "state"} for _, labels, _ in told) and "CPU" not in str(told)
    values = {(name.removeprefix("labkit_blade_"), labels.get("state", "")): value for name, labels, value in told}
    assert values == {
        ("temperature_celsius", ""): 92.0, ("fan_rpm", ""): 4200.0, ("power_watts", ""): 90.0, ("too_hot", ""): 1.0,
        ("sensors", "ok"): 2, ("sensors", "warning"): 0, ("sensors", "critical"): 1,
    }  # fmt: skip


LAB = lab_yaml.parse(REAL, Path("lab.yaml"))


class Rack:
    """A lab whose controllers give what a test says, and what was told of them."""

    def __init__(self, lab: Lab = LAB) -> None:
        self.gives: dict[str, list[Reading] | PowerError] = {"red1": [CPU, LOAD], "red2": []}
        self.asked: list[str] = []
        self.told: list[Event] = []
        self.now = 0.0
        self.sensors = sensord.Sensors(lab, self.ask, self.told.append)

    def ask(self, blade: Any) -> list[Reading]:
        self.asked.append(blade.name)
        given = self.gives[blade.name]
        if isinstance(given, PowerError):
            raise given
        return given

    def rounds(self, count: int) -> list[Event]:
        """So many rounds; what was told in them."""
        before = len(self.told)
        for _ in range(count):
            self.sensors.round(self.now)
            self.now += sensord.EVERY_S
        return self.told[before:]


def test_each_controller_is_asked_and_told_of_where_something_has_changed() -> None:
    rack = Rack()
    assert [str(event) for event in rack.rounds(3)] == ["41 °C, 90 W"]
    assert rack.asked == ["red1", "red2", "red1", "red1"]  # of a plug nobody asks, and seldom who measures nothing
    rack.gives["red1"] = [HOT, LOAD]
    (hot,) = rack.rounds(3)
    assert isinstance(hot, Measured) and hot.blade == "red1" and "critical limit" in hot.hot
    assert ("labkit_blade_too_hot", {"slot": "1"}, 1.0) in rack.sensors.numbers()


def test_who_does_not_answer_is_left_alone_and_that_is_said_once() -> None:
    rack = Rack()
    rack.rounds(1)
    rack.gives["red1"] = calls.told("red1", LAB.blades[0].bmc, {"error": "silent"})
    assert rack.rounds(sensord.TRIES - 1) == []
    gone, trouble = rack.rounds(60)
    assert str(gone) == "" and isinstance(trouble, Trouble) and (trouble.blade, trouble.part) == ("red1", SENSORS)
    assert "no answer" in trouble.detail and "./lab power sensors red1" in trouble.fix
    assert rack.sensors.numbers() == []
    assert rack.asked.count("red1") <= 1 + sensord.TRIES + 2
    rack.gives["red1"] = [CPU]
    assert [str(event) for event in rack.rounds(60)] == ["41 °C"]


def test_who_refuses_us_is_not_asked_again() -> None:
    rack = Rack()
    rack.gives["red1"] = calls.told("red1", LAB.blades[0].bmc, {"error": "password"})
    (trouble,) = rack.rounds(100)
    assert isinstance(trouble, Trouble) and "no more" in trouble.detail and rack.asked.count("red1") == 1
    other = replace(LAB.blades[0], bmc=replace(LAB.blades[0].bmc, user="another"))
    rack.sensors.take(replace(LAB, blades=(other, *LAB.blades[1:])))
    rack.rounds(1)
    assert rack.asked.count("red1") == 2
