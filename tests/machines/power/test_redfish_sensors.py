"""Redfish: what a service measures of a machine in either model, what it has noted, and its lamp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import PowerError
from labkit.lab import Bmc
from labkit.machines import power
from labkit.machines.power import redfish, redfish_sensors
from labkit.machines.power.readings import entry, reading
from tests.rig.redfish import PASSWORD, make_certificate
from tests.rig.redfish_table import GOOD, Canned, canned

pytestmark = pytest.mark.simulator


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy takes longer for a process than a BMC for its answer."""
    monkeypatch.setattr(power, "READ_S", 120.0)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("certificate")
    return folder, make_certificate(folder)


@contextmanager
def service(
    own: tuple[Path, str], table: dict[str, Any], about: dict[str, Any] | None = None
) -> Iterator[tuple[Bmc, type[Canned]]]:
    """A service with these resources and one machine, ``about`` which there is this more to say."""
    machine = {**GOOD["Systems/1"][0][1], "Links": {"Chassis": [link("/c")]}, **(about or {})}
    with canned(own, {"Systems/1": [(200, machine)], **{path: [(200, body)] for path, body in table.items()}}) as found:
        yield found


def ask(bmc: Bmc, what: str) -> Any:
    return redfish.answer({
        "bmc": bmc.address, "port": bmc.port, "user": bmc.user, "password": PASSWORD.reveal(), "state": what,
        "certificate": bmc.certificate, "system": bmc.system, "limit_s": 120.0,
    })  # fmt: skip


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


CHASSIS = {"Chassis": [link("/c")]}
OLD = {
    "c": {"Thermal": link("/c/t"), "Power": link("/c/p"), "ThermalSubsystem": link("/c/new")},
    "c/t": {
        "Temperatures": [
            {"Name": "CPU", "ReadingCelsius": 92, "Status": {"State": "Enabled", "Health": "Warning"},
             "UpperThresholdNonCritical": 80, "UpperThresholdCritical": 90, "LowerThresholdCritical": 5},
            {"Name": "Inlet", "ReadingCelsius": 3, "Status": {"State": "Enabled", "Health": "Critical"},
             "LowerThresholdCritical": 5, "UpperThresholdCritical": 45},
            {"Name": "CPU2", "ReadingCelsius": 0, "Status": {"State": "Absent"}},
            {"Name": "CPU3", "ReadingCelsius": None, "Status": {"State": "Enabled"}},
        ],
        "Fans": [
            {"FanName": "F1", "Reading": 33, "ReadingUnits": "Percent"},
            {"Name": "F2", "Reading": 4200, "ReadingUnits": "RPM", "Status": {"Health": "OK"}},
        ],
    },
    "c/p": {"PowerControl": [{"Name": "System", "PowerConsumedWatts": 123.4}]},
}  # fmt: skip
NEW = {
    "c": {"ThermalSubsystem": link("/c/ts"), "EnvironmentMetrics": link("/c/e")},
    "c/ts": {"Fans": link("/c/f"), "ThermalMetrics": link("/c/tm")},
    "c/tm": {
        "TemperatureReadingsCelsius": [
            {"DeviceName": "CPU", "Reading": 92, "DataSourceUri": "/s/1"},
            {"PhysicalContext": "Intake", "Reading": 22},
        ]
    },
    "s/1": {"Name": "CPU sensor", "Thresholds": {"UpperCaution": {"Reading": 80}, "UpperCritical": {"Reading": 95}}},
    "c/f": {"Members": [link("/c/f/1"), link("/c/f/2")]},
    "c/f/1": {"Name": "F1", "SpeedPercent": {"Reading": 33, "SpeedRPM": 4200}},
    "c/f/2": {"Name": "F2", "SpeedPercent": {"Reading": 33}},
    "c/e": {"PowerWatts": {"Reading": 123.4, "DataSourceUri": "https://elsewhere.example/s"}},
}
ONLY_SENSORS = {
    "c": {"Sensors": link("/c/s")},
    "c/s": {"Members": [link("/c/s/1"), link("/c/s/2"), link("/c/s/3"), link("/c/s/4")]},
    "c/s/1": {"Name": "CPU", "ReadingType": "Temperature", "Reading": 41, "Status": {"Health": "OK"}},
    "c/s/2": {"Name": "12V", "ReadingType": "Voltage", "Reading": 12},
    "c/s/3": {"Name": "Total", "ReadingType": "Power", "Reading": 90},
}


def measured(own: tuple[Path, str], table: dict[str, Any]) -> list[str]:
    with service(own, table) as (bmc, answers):
        found = [reading(one) for one in ask(bmc, "sensors")["found"]]
    assert len(set(answers.asked)) == len(answers.asked), "each is fetched once"
    return [f"{one} {one.state}{' hot' if one.is_hot else ''} {one.limit or '-'}" for one in found]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (OLD, ["CPU 92 °C critical hot 90.0", "Inlet 3 °C critical 45.0", "F1 33% ok -", "F2 4200 RPM ok -",
               "System 123 W ok -"]),
        (NEW, ["CPU 92 °C warning hot 80.0", "Intake 22 °C ok -", "F1 4200 RPM ok -", "F2 33% ok -",
               "power 123 W ok -"]),
        (ONLY_SENSORS, ["CPU 41 °C ok -", "Total 90 W ok -"]),
        ({}, []),
        ({"c": {"Thermal": link("/c/t")}, "c/t": {"Temperatures": "none", "Fans": [7]}}, []),
    ],
    ids=["thermal", "subsystem", "sensors", "nothing", "nonsense"],
)  # fmt: skip
def test_what_a_service_measures_in_each_model(own: tuple[Path, str], table: dict[str, Any], said: list[str]) -> None:
    assert measured(own, table) == said


def test_it_is_asked_in_a_process_of_its_own(own: tuple[Path, str]) -> None:
    with service(own, ONLY_SENSORS) as (bmc, _):
        assert [str(one) for one in power.sensors("red1", bmc, PASSWORD)] == ["CPU 41 °C", "Total 90 W"]


def test_a_service_is_not_asked_without_end(own: tuple[Path, str]) -> None:
    many = {f"c/s/m{number}": ONLY_SENSORS["c/s/1"] for number in range(redfish_sensors.MOST_ASKED)}
    table = {**ONLY_SENSORS, **many, "c/s": {"Members": [link(f"/{path}") for path in many]}}
    assert len(measured(own, table)) == redfish_sensors.MOST_ASKED - 2


def test_the_log_of_a_service_is_in_order(own: tuple[Path, str]) -> None:
    table = {
        "m": {"LogServices": link("/m/l")},
        "m/l": {"Members": [link("/m/l/1")]},
        "m/l/1": {"Entries": link("/m/l/1/e")},
        "m/l/1/e": {"Members": [{"Created": "2026-02-01", "Severity": "Warning", "Message": "a fan\nstands still"},
                                link("/m/l/1/e/2")]},
        "m/l/1/e/2": {"Created": "2026-01-01", "Severity": "OK", "MessageId": "Log.1.0.Cleared"},
    }  # fmt: skip
    with service(own, table, {"Links": {"ManagedBy": [link("/m")]}}) as (bmc, _):
        told = [entry(one) for one in ask(bmc, "log")["found"]]
    assert [(one.time, one.state, one.text) for one in told] == [
        ("2026-01-01", "ok", "Log.1.0.Cleared"),
        ("2026-02-01", "warning", "a fan stands still"),
    ]


@pytest.mark.parametrize(
    ("about", "sent"),
    [
        ({"LocationIndicatorActive": False}, [{"LocationIndicatorActive": True}, {"LocationIndicatorActive": False}]),
        ({"IndicatorLED": "Off"}, [{"IndicatorLED": "Blinking"}, {"IndicatorLED": "Off"}]),
    ],
)
def test_the_lamp_of_a_machine(own: tuple[Path, str], about: dict[str, Any], sent: list[Any]) -> None:
    with service(own, {}, about) as (bmc, answers):
        for what in ("identify", "identify-off"):
            assert ask(bmc, what) == {"power": what}
    assert [json.loads(body) for body in answers.pressed] == sent


def test_a_machine_without_a_lamp(own: tuple[Path, str]) -> None:
    with service(own, {}) as (bmc, _), pytest.raises(PowerError, match="it has no identify lamp"):
        power.identify("red1", bmc, PASSWORD, on=True)
