"""One call to a management controller, in a process of its own with a time limit around it.

The clients keep sockets and sessions for a whole process and are not made for threads. A call reads JSON from standard
input, so that no password is in its words, and answers in JSON what it found, or which of these failures it met.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from labkit.errors import PowerError
from labkit.lab import Bmc, PowerKind
from labkit.lab.secret import Secret
from labkit.machines.power import ways

MODULES = {PowerKind.IPMI: "labkit.machines.power.ipmi", PowerKind.REDFISH: "labkit.machines.power.redfish"}
SAFE = ("status", "on", "off", "sensors", "log", "identify", "identify-off")
"""What may be asked for twice: a blade that got it already is no different after."""
PASSING = ("busy", "sessions", "broken")
"""Failures that may be over in a moment."""
AGAIN_S = 1.0


class Passing(PowerError):
    """A failure that may be over in a while: nobody answers, or not in time, or there is no room for us now."""


_SWITCHED = {
    PowerKind.IPMI: "IPMI over LAN is switched on in its settings",
    PowerKind.REDFISH: "Redfish, which is HTTPS, is switched on in its settings",
}
_CIPHERS = {
    PowerKind.IPMI: "update its firmware, or allow cipher suite 3 or 17 in its settings",
    PowerKind.REDFISH: "update its firmware, or allow TLS 1.2 in its settings",
}
_FAILURES = {
    "silent": ("no answer", "check the BMC's address and cable, and that {switched}"),
    "slow": ("it is there, and gave no answer in time", "do it again; a BMC that stays slow wants to be restarted"),
    "name": ("its address cannot be found: {detail}", "correct bmc.address in lab.yaml"),
    "password": ("it does not take this user or this password", "check bmc.user and bmc.{secret} in lab.yaml"),
    "rights": ("this user may not do that", "make it an operator or administrator in the BMC's settings"),
    "sessions": (
        "it has as many sessions as it can take",
        "wait some minutes until they have timed out, or end them on its web page",
    ),
    "cipher": ("it offers no encryption that is safe today: {detail}", "{ciphers}"),
    "certificate": ("{detail}", "{fix}"),
    "busy": ("it is busy with something else: {detail}", "do it again in a minute"),
    "broken": ("it broke the connection off", "do it again; check its port, and its log"),
    "other": ("what answers there does not speak Redfish: {detail}", "correct bmc.address and bmc.port in lab.yaml"),
    "system": ("{detail}", "{fix}"),
    "refused": (
        "it let us in and did not do it: {detail}",
        "see its log (of a virtual slot: logs/bmc….log in .lab), or what its user may do",
    ),
}
"""The sentence of each failure, and what to do about it."""


def call(blade: str, bmc: Bmc, password: Secret, state: str, *, timeout_s: float) -> str:
    """Ask for ``status`` or press a button; ``on`` or ``off``, or what was pressed. Raises PowerError."""
    return str(answered(blade, bmc, password, state, timeout_s=timeout_s)["power"])


def answered(blade: str, bmc: Bmc, password: Secret, state: str, *, timeout_s: float) -> dict[str, Any]:
    """What a call answers: ``{"power": …}``, and with ``sensors`` and ``log`` what was ``found``, a list.

    What is safe to repeat is tried again while time is left, where a failure may pass. Raises PowerError.
    """
    until = time.monotonic() + timeout_s
    while True:
        answer = _once(blade, bmc, password, state, until, timeout_s)
        if "error" not in answer:
            return answer
        may_pass = state in SAFE and answer["error"] in PASSING
        if not may_pass or time.monotonic() + AGAIN_S > until:
            raise told(blade, bmc, answer)
        time.sleep(AGAIN_S)


def told(blade: str, bmc: Bmc, answer: Mapping[str, Any]) -> PowerError:
    """The error for what a call answered: ``{"error": …}``, one of the failures, with ``detail`` and ``fix``."""
    what, fix = _FAILURES[answer["error"]]
    words = {"detail": answer.get("detail", ""), "fix": answer.get("fix", "")}
    words["secret"] = bmc.password_key
    words |= {"switched": _SWITCHED[bmc.kind], "ciphers": _CIPHERS[bmc.kind]}
    kind = Passing if answer["error"] in (*PASSING, "silent", "slow", "name") else PowerError
    return kind(what.format(**words), where=ways.where(blade, bmc), fix=fix.format(**words))


def _once(blade: str, bmc: Bmc, password: Secret, state: str, until: float, timeout_s: float) -> dict[str, Any]:
    left_s = max(0.1, until - time.monotonic())
    request = {
        "bmc": bmc.address, "port": bmc.port, "user": bmc.user, "password": password.reveal(), "state": state,
        "certificate": bmc.certificate, "system": bmc.system, "limit_s": left_s,
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", MODULES[bmc.kind]],
            input=json.dumps(request), capture_output=True, text=True, timeout=left_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        fix = told(blade, bmc, {"error": "silent"}).fix
        raise Passing(f"no answer within {timeout_s:g} s", where=ways.where(blade, bmc), fix=fix) from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        what, _, fix = done.stderr.strip().partition("\n  fix: ")
        raise PowerError(
            f"the {bmc.kind} client failed: {what[-300:]}", where=ways.where(blade, bmc), fix=fix or "do it again"
        ) from None
    return answer
