"""Sensors for OpenIPMI's simulator, each with a record that describes it and a file that its value is read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RACK = """\
network: {{kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}}
bmc: {{password_file: bmc.password}}
blades:
  - {{name: red1, macs: ["00:00:5e:00:53:10"], bmc: {{address: 127.0.0.1, port: {port}}}}}
  - {{name: red2, macs: ["00:00:5e:00:53:20"], bmc: {{kind: manual}}}}
"""
"""A real lab of one blade whose BMC is a simulator at ``port``, and one that has none."""
BMC = "0x20"
EVERY_MS = 50
SIGNED = 2 << 6
KINDS = {"temperature": (1, SIGNED, 1), "fan": (4, 0, 18), "power": (11, 0, 6), "volt": (2, 0, 4)}
"""The type of a sensor, how its value is written, and its unit (IPMI 2.0, tables 42-3 and 43-1, section 43.17)."""


@dataclass(frozen=True)
class Sensor:
    """A sensor whose value is its raw byte times ten to the power of ``exponent``; the limits are upper ones, raw."""

    name: str
    kind: str
    exponent: int = 0
    limits: tuple[int, int] | None = None


def commands(folder: Path, sensors: list[Sensor]) -> str:
    """What makes these sensors; the raw value of each is in a file of its name in the folder (ipmi_sim_cmd(5))."""
    lines: list[str] = []
    for number, sensor in enumerate(sensors, 1):
        kind, _, _ = KINDS[sensor.kind]
        lines.append(" ".join(["main_sdr_add", BMC, *(f"{byte:#04x}" for byte in record(number, sensor))]))
        poll = f'poll {EVERY_MS} file "{folder / sensor.name}"'
        lines.append(f"sensor_add {BMC} 0 {number} {kind} 1 {poll}")
        if sensor.limits is not None:
            warning, critical = sensor.limits
            lines.append(f"sensor_set_threshold {BMC} 0 {number} settable 011000 0 {critical} {warning} 0 0 0")
        every = "000000000000000"
        lines.append(f"sensor_set_event_support {BMC} 0 {number} enable scanning per-state {' '.join([every] * 4)}")
    return "".join(line + "\n" for line in lines)


def record(number: int, sensor: Sensor) -> bytes:
    """A full sensor record (IPMI 2.0, table 43-1)."""
    kind, written, unit = KINDS[sensor.kind]
    name = sensor.name.encode()
    body = bytearray(43)
    body[0], body[2], body[3], body[4] = 0x20, number, 7, 1  # of this controller, on the system's board
    body[5], body[6], body[7], body[8] = 0x7F, 0x68, kind, 1  # limits can be read and set
    body[15], body[16], body[19] = written, unit, 1
    body[24] = (sensor.exponent & 0xF) << 4
    body[29], body[42] = 0xFF, 0xC0 | len(name)
    return bytes((0, 0, 0x51, 1, len(body) + len(name))) + bytes(body) + name
