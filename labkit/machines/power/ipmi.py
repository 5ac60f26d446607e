"""One IPMI 2.0 call in a process of its own (pyghmi is the client), as `labkit.machines.power.calls` asks for it.

pyghmi has no words for some failures and too many for others: they are sorted here by its texts (its
``private/constants.py``, which are those of the IPMI 2.0 specification, tables 5-2 and 13-15).
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
from typing import Any

from labkit.lab.process import faults

SIGNS = (
    ("sessions", ("insufficient resources", "out of sessions", "slots")),
    ("cipher", ("cipher suite", "invalid authentication algorithm", "integrity algorithm", "confidentiality", "md5 ")),
    ("rights", ("privilege", "privelege", "unauthorized role", "invalid role")),
    ("password", ("password", "unauthorized name", "username", "rakp")),
    ("busy", ("busy", "initialization in progress", "firmware update mode", "timeout while processing")),
)
"""Which words in pyghmi's text say which failure, the first that fits."""
MEASURED = {"Temperature": "temperature", "Fan": "fan", "Power": "power"}
"""The types of sensors that are read (table 42-3), by pyghmi's names for them."""
UNITS = {"°C": "°C", "RPM": "RPM", "%": "%", "% unspecified": "%", "W": "W"}
"""The units that are taken, by pyghmi's names for them (table 43-15)."""
ABSENT = (0xCB, 0xCD)
"""Completion codes of a sensor that is described and not there (table 5-2)."""
GET_REPOSITORY, GET_LOG, GET_READING, GET_THRESHOLDS = 0x20, 0x40, 0x2D, 0x27
"""Commands for sensors and the log (sections 33.9, 31.2, 35.14 and 35.9)."""
LAMP_S = 240
"""For how long the identify lamp is lit; every controller takes a time of up to 255 s (section 28.5)."""


def failure(text: str, *, is_in: bool) -> dict[str, str]:
    """What an exception's text says; ``is_in`` when the BMC had let us in. An unreachable one's text is ``None``."""
    low = text.lower()
    if low in ("", "none", "timeout") or "no longer connected" in low:
        return {"error": "slow" if is_in else "silent"}
    for kind, words in SIGNS:
        if any(word in low for word in words):
            return {"error": kind, "detail": text}
    return {"error": "refused" if is_in else "password", "detail": text}


def main() -> int:
    """Read ``{bmc, port, user, password, state}``, press or ask, and print what came of it, or
    ``{error, …}`` (`labkit.machines.power.calls`)."""
    from pyghmi.exceptions import PyghmiException
    from pyghmi.ipmi.command import Command

    request = json.load(sys.stdin)
    bmc = None
    try:
        bmc = Command(request["bmc"], request["user"], request["password"], port=request["port"], keepalive=False)
        result = press(bmc, request["state"])
    except PyghmiException as error:
        result = failure(str(error), is_in=bmc is not None)
    except (socket.gaierror, UnicodeError) as error:  # the second for a name with an empty part
        result = {"error": "name", "detail": getattr(error, "strerror", "") or "this is no name"}
    json.dump(result, sys.stdout)
    sys.stdout.flush()
    if bmc is not None:  # or the BMC keeps a place for us, of four or five, until that has timed out
        with contextlib.suppress(PyghmiException):
            bmc.ipmi_session.logout()
    return 0


def press(bmc: Any, state: str) -> dict[str, Any]:
    """Do it with a session of pyghmi's. Raises PyghmiException."""
    if state == "sensors":
        return {"power": state, "found": sensors(bmc)}
    if state == "log":
        return {"power": state, "found": log(bmc)}
    if state in ("identify", "identify-off"):
        bmc.set_identify(duration=LAMP_S if state == "identify" else 0)
        return {"power": state}
    if state == "status":
        answer = bmc.get_power()
    elif state == "pxe":
        answer = {**bmc.set_bootdev("network", persist=False), "powerstate": state}
    else:
        answer = bmc.set_power(state, wait=False)
    if "error" in answer:
        return failure(str(answer["error"]), is_in=True)
    return {"power": str(answer.get("powerstate") or answer.get("pendingpowerstate"))}


# --- sensors and the event log ----------------------------------------------------------------------------------------


def sensors(bmc: Any) -> list[dict[str, Any]]:
    """The temperatures, fans and watts that a controller's sensor records describe and that it has a value of; where no
    record is of watts, what DCMI gives (DCMI 1.5, section 6.6.1). Raises PyghmiException.
    """
    from pyghmi.exceptions import PyghmiException

    about = bmc.xraw_command(netfn=0x0A, command=GET_REPOSITORY)["data"]
    if not any(about[1:3]):  # it holds no record, and pyghmi would ask for the first
        return []
    try:
        records = bmc.init_sdr()
    except NotImplementedError:  # pyghmi's word for records that are not in the controller's repository
        return []
    found = []
    for number in records.get_sensor_numbers():
        record = records.sensors[number]
        if record.sensor_type in MEASURED and (one := _reading(bmc, record)) is not None:
            found.append(one)
    if not any(one["kind"] == "power" for one in found):
        with contextlib.suppress(PyghmiException, struct.error):
            watts = bmc.get_system_power_watts()
            if watts:
                found.append({"name": "system power", "kind": "power", "value": watts, "unit": "W", "state": "ok"})
    return found


def _reading(bmc: Any, record: Any) -> dict[str, Any] | None:
    """One sensor, None where it has no value now. Raises PyghmiException."""
    from pyghmi.exceptions import IpmiException

    answer = bmc.raw_command(netfn=4, command=GET_READING, rslun=record.sensor_lun, data=(record.sensor_number,))
    if "error" in answer and answer["code"] not in ABSENT:
        raise IpmiException(answer["error"], code=answer["code"])
    if "error" in answer or len(answer["data"]) < 2:
        return None
    data = bytes(answer["data"]).ljust(3, b"\0")  # who has no limits may leave out what says which are passed
    told = record.decode_sensor_reading(bmc, data)
    unit = UNITS.get(str(told.units).strip())
    if told.value is None or told.unavailable or unit is None:
        return None
    state, is_high = judged(int(told.health), told.states)
    limit = _limit(bmc, record, state) if is_high else None
    return {
        "name": told.name, "kind": MEASURED[record.sensor_type], "value": round(told.value, 1), "unit": unit,
        "state": state, "is_high": is_high, "limit": limit,
    }  # fmt: skip


def judged(health: int, states: list[str]) -> tuple[str, bool]:
    """The state that pyghmi's health is (1 a warning, 2 critical, 4 failed), and whether an upper limit is passed."""
    state = "critical" if health & 6 else "warning" if health & 1 else "ok"
    return state, any(one.startswith("upper") for one in states)


def _limit(bmc: Any, record: Any, state: str) -> float | None:
    """The upper limit that is passed, None where the controller does not tell it (section 35.9)."""
    answer = bmc.raw_command(netfn=4, command=GET_THRESHOLDS, rslun=record.sensor_lun, data=(record.sensor_number,))
    data = bytes(answer.get("data") or b"")
    if "error" in answer or len(data) < 7:
        return None
    for bit in (3,) if state == "warning" else (4, 5, 3):  # non-critical; critical, non-recoverable
        if data[0] & 1 << bit:
            raw = data[1 + bit] - 256 if record.numeric_format == 2 and data[1 + bit] > 127 else data[1 + bit]
            return round(float(record.decode_value(bmc, raw)), 1)
    return None


def log(bmc: Any) -> list[dict[str, Any]]:
    """The controller's event log (section 31), oldest first. Raises PyghmiException."""
    if not any(bmc.xraw_command(netfn=0x0A, command=GET_LOG)["data"][1:3]):  # it holds no entry
        return []
    return [
        {
            "time": one.get("timestamp") or "",
            "state": judged(int(one.get("severity") or 0), [])[0],
            "text": ": ".join(str(one[key]) for key in ("component", "event") if one.get(key)),
        }
        for one in bmc.get_event_log()
    ]


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
