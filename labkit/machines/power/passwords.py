"""Where the password of a BMC is read from. It never stands in a lab, in a command's words, or in an event."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace

from labkit.errors import PowerError
from labkit.lab import Blade, Bmc, ChassisKind, Lab, PowerKind
from labkit.lab.certificates import redfish_fingerprint
from labkit.lab.secret import Secret
from labkit.lab.state import State

LONGEST_B = 20
KEYRING = "labkit.machines.power.keyring_entry"
KEYRING_S = 30.0
"""Somebody may have to unlock it."""
UNREADABLE = "the BMC's password cannot be read: "
OTHERWISE = "or name a password_file in lab.yaml"
_KEYRING = {
    "package": ("the Python package keyring is not installed", "{python} -m pip install keyring, " + OTHERWISE),
    "backend": (
        "there is no keyring here that the package keyring knows of",
        "ask from a session that has one (GNOME Keyring, KWallet), " + OTHERWISE,
    ),
    "locked": ("the keyring is locked: {detail}", "unlock it, and do this again"),
    "failed": ("the keyring refused: {detail}", "{python} -m keyring diagnose says more, " + OTHERWISE),
    "missing": (
        "the keyring has no such entry",
        "{python} -m keyring set {service} {user}, which asks for the password",
    ),
    "slow": (
        "the keyring did not answer within {limit_s:g} s",
        "does it wait for you to unlock it? then do this again",
    ),
}
"""Why the system's keyring gives no password, and what to do about it."""


def bmc_password(lab: Lab, state: State, blade: Blade) -> Secret:
    """A BMC's password: the lab's own for a virtual slot, else the first line of ``bmc.password_file``, what the
    environment variable ``bmc.password_env`` holds, or the entry ``bmc.password_keyring`` of the system's keyring.
    Empty for what nobody logs in to.

    Raises PowerError naming the file, the variable or the entry, also for a password that IPMI 2.0 cannot carry
    (section 22.30 of its specification: at most 20 bytes).
    """
    if lab.chassis.kind is ChassisKind.VIRTUAL:
        return state.bmc_password
    bmc = blade.bmc
    if not bmc.has_password:
        return Secret("")
    if bmc.password_keyring is not None:
        service, user = bmc.password_keyring
        where = f"{blade.name} (keyring: {service}/{user or bmc.user})"
        password = _of_keyring(where, service, user or bmc.user)
    elif bmc.password_env:
        where, password = f"{blade.name} (${bmc.password_env})", os.environ.get(bmc.password_env, "")
        if not password:
            what = f"{UNREADABLE}this environment variable is not set"
            raise PowerError(what, where=where, fix=f"export {bmc.password_env}=…, in the shell that runs this")
    else:
        where, password = f"{blade.name} ({bmc.password_file})", _first_line(blade)
    if bmc.kind is PowerKind.IPMI and len(password.encode()) > LONGEST_B:
        what = f"a BMC's password has at most {LONGEST_B} bytes, and this one has {len(password.encode())}"
        raise PowerError(what, where=where, fix="give the BMC a shorter one, and keep that in its place")
    return Secret(password)


def reached(lab: Lab, state: State, blade: Blade) -> Bmc:
    """What switches a blade, with what only a lab that is up knows of it: a virtual slot that answers Redfish has a
    certificate that the lab has made. Raises MachineError where that is not there.
    """
    if lab.chassis.kind is ChassisKind.VIRTUAL and blade.bmc.kind is PowerKind.REDFISH:
        return replace(blade.bmc, certificate=redfish_fingerprint(state))
    return blade.bmc


def _of_keyring(where: str, service: str, user: str) -> str:
    """What the system's keyring has for a user of a service. Raises PowerError."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", KEYRING], input=json.dumps({"service": service, "user": user}),
            capture_output=True, text=True, timeout=KEYRING_S, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        answer = {"error": "slow"}
    except json.JSONDecodeError:
        answer = {"error": "failed", "detail": done.stderr.strip()[-200:] or f"it ended with {done.returncode}"}
    if "password" in answer:
        return str(answer["password"])
    words = {"python": shlex.quote(sys.executable), "service": shlex.quote(service), "user": shlex.quote(user)}
    what, fix = _KEYRING[answer["error"]]
    what = what.format(detail=answer.get("detail", ""), limit_s=KEYRING_S)
    raise PowerError(UNREADABLE + what, where=where, fix=fix.format(**words))


def _first_line(blade: Blade) -> str:
    path = blade.bmc.password_file
    if path is None:
        raise PowerError("no password for its BMC", where=blade.name, fix="set bmc.password_file in lab.yaml")
    try:
        return path.read_text().splitlines()[0]
    except (OSError, ValueError, IndexError) as error:
        what = f"{UNREADABLE}{error}"
        raise PowerError(what, where=f"{blade.name} ({path})", fix="one line, the password") from None
