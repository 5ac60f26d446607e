"""Power over IPMI 2.0, for real slots and virtual ones alike (pyghmi is the client).

pyghmi keeps sockets and sessions for a whole process and is not made for threads, so each call runs in a process of its
own with a time limit around it; that also gives words to failures for which pyghmi has none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

from labkit.errors import PowerError
from labkit.lab import Bmc
from labkit.lab.secret import Secret

STATES = ("on", "off", "shutdown", "reset", "boot")
CALL_S = 15.0


def power_state(blade: str, bmc: Bmc, password: Secret) -> str:
    """``on`` or ``off``. Raises PowerError naming the blade and its BMC."""
    return _call(blade, bmc, password, "status")


def set_power(blade: str, bmc: Bmc, password: Secret, state: str) -> None:
    """Press a button: ``on``, ``off`` (at once), ``shutdown`` (the soft button), ``reset``; does not wait.

    Raises PowerError naming the blade and its BMC.
    """
    if state not in STATES:
        raise PowerError(f"no such power state: {state}", where=blade, fix=f"one of {', '.join(STATES)}")
    _call(blade, bmc, password, state)


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
    """Wait until the slot is ``on`` or ``off``; the seconds it took. Raises PowerError when it does not come."""
    began = clock()
    while power_state(blade, bmc, password) != state:
        if clock() - began > timeout_s:
            raise PowerError(
                f"still not {state} after {timeout_s:g} s",
                where=f"{blade} (BMC {bmc.address})",
                fix="look at its console",
            )
        pause(0.5)
    return clock() - began


def _call(blade: str, bmc: Bmc, password: Secret, state: str) -> str:
    where = f"{blade} (BMC {bmc.address}:{bmc.port})"
    request = json.dumps(
        {"bmc": bmc.address, "port": bmc.port, "user": bmc.user, "password": password.reveal(), "state": state}
    )
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", "labkit.machines.ipmi"],
            input=request, capture_output=True, text=True, timeout=CALL_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise PowerError(f"no answer within {CALL_S:g} s", where=where, fix=_FIX["silent"]) from None
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        what, _, fix = done.stderr.strip().partition("\n  fix: ")
        raise PowerError(f"the IPMI client failed: {what[-300:]}", where=where, fix=fix or "do it again") from None
    if "error" in answer:
        raise PowerError(str(answer["what"]), where=where, fix=_FIX[answer["error"]])
    return str(answer["power"])


_FIX = {
    "silent": "check the BMC's address and cable, and that IPMI over LAN is switched on in its settings",
    "password": "check bmc.user and bmc.password_file in lab.yaml",
    "refused": "the BMC let us in and did not do it: see its log (logs/bmc….log in .lab), or what its user may do",
}
