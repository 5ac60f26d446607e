"""A blade's power, whatever switches it: `power_state`, `set_power` and `wait_power`; and of a blade with a management
controller what that measures, has noted and can show: `sensors`, `log` and `identify`.

Each kind of `Bmc` has its module: `ipmi` and `redfish` are calls in processes of their own (`calls`), `wake` sends a
packet, `command` runs a program. A person has no module, only words; those are in `ways`, with what each kind can do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, assert_never

from labkit.errors import PowerError
from labkit.lab import Bmc, PowerKind
from labkit.lab.secret import Secret
from labkit.machines.power import calls, command, readings, wake, ways
from labkit.machines.power.readings import Entry, Reading

STATES = ways.STATES
UNKNOWN = "unknown"
"""The power of a blade that nobody can be asked for: its boot server hears of it when it boots."""
CALL_S = 15.0
READ_S = 60.0
"""A controller describes its sensors in a hundred records, and some take a moment for each."""


def power_state(blade: str, bmc: Bmc, password: Secret) -> str:
    """``on`` or ``off``; ``unknown`` where the kind cannot tell. Raises PowerError naming the blade and its BMC."""
    if not bmc.tells_state:
        return UNKNOWN
    match bmc.kind:
        case PowerKind.IPMI | PowerKind.REDFISH:
            return calls.call(blade, bmc, password, "status", timeout_s=CALL_S)
        case PowerKind.COMMAND:
            return command.ask(blade, bmc, timeout_s=CALL_S)
        case PowerKind.WOL | PowerKind.MANUAL:
            return UNKNOWN


def set_power(blade: str, bmc: Bmc, password: Secret, state: str) -> str:
    """Press a button, without waiting: ``on``, ``off`` (at once), ``shutdown`` (the soft button), ``reset``, ``boot``
    (on, or reset where it is on). Or let the next boot alone be by PXE: ``pxe``.

    Returns what a person has to do for that, empty where nothing is left to do. Raises PowerError naming the blade and
    its BMC, also for what the kind cannot do.
    """
    ways.check(blade, bmc, state)
    match bmc.kind:
        case PowerKind.IPMI | PowerKind.REDFISH:
            calls.call(blade, bmc, password, state, timeout_s=CALL_S)
        case PowerKind.WOL:
            wake.send(blade, bmc)
        case PowerKind.COMMAND:
            command.press(blade, bmc, state, timeout_s=CALL_S)
        case PowerKind.MANUAL:
            return ways.by_hand(blade, bmc, state)
        case _:  # mypy names a kind that is not above
            assert_never(bmc.kind)
    return ""


def sensors(blade: str, bmc: Bmc, password: Secret) -> tuple[Reading, ...]:
    """The temperatures, fans and watts that a blade's controller gives, in its order; none where it measures nothing.

    Raises PowerError naming the blade and its BMC, also where the kind has no controller.
    """
    ways.check_controller(blade, bmc, "sensors")
    return tuple(readings.reading(one) for one in _found(blade, bmc, password, "sensors"))


def log(blade: str, bmc: Bmc, password: Secret) -> tuple[Entry, ...]:
    """The event log of a blade's controller, oldest first, the last `readings.MOST` of it. Raises PowerError."""
    ways.check_controller(blade, bmc, "event log")
    return tuple(readings.entry(one) for one in _found(blade, bmc, password, "log"))


def identify(blade: str, bmc: Bmc, password: Secret, *, on: bool) -> None:
    """Light the lamp by which a blade is found in its rack, or put it out. Over IPMI it goes out by itself after some
    minutes. Raises PowerError.
    """
    ways.check_controller(blade, bmc, "identify lamp")
    calls.call(blade, bmc, password, "identify" if on else "identify-off", timeout_s=CALL_S)


def _found(blade: str, bmc: Bmc, password: Secret, what: str) -> list[dict[str, Any]]:
    return list(calls.answered(blade, bmc, password, what, timeout_s=READ_S)["found"])[-readings.MOST :]


def wait_power(
    blade: str,
    bmc: Bmc,
    password: Secret,
    state: str,
    *,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until the slot is ``on`` or ``off``; the seconds it took. Raises PowerError when it does not come, and at
    once where nobody can tell.
    """
    began = clock()
    while (now := power_state(blade, bmc, password)) != state:
        if now == UNKNOWN:
            raise PowerError(
                f"nobody can tell whether it is {state}: {ways.silent(bmc)}",
                where=ways.where(blade, bmc),
                fix=f"./lab events {blade} --follow shows it boot",
            )
        if clock() - began > timeout_s:
            raise PowerError(
                f"still not {state} after {timeout_s:g} s", where=ways.where(blade, bmc), fix="look at its console"
            )
        pause(0.5)
    return clock() - began
