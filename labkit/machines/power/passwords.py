"""Where the password of a BMC is read from. It never stands in a lab, in a command's words, or in an event."""

from __future__ import annotations

import os
from dataclasses import replace

from labkit.errors import PowerError
from labkit.lab import Blade, Bmc, ChassisKind, Lab, PowerKind
from labkit.lab.certificates import redfish_fingerprint
from labkit.lab.secret import Secret
from labkit.lab.state import State

LONGEST_B = 20


def bmc_password(lab: Lab, state: State, blade: Blade) -> Secret:
    """A BMC's password: the lab's own for a virtual slot, else the first line of ``bmc.password_file``, or what the
    environment variable ``bmc.password_env`` holds. Empty for what nobody logs in to.

    Raises PowerError naming the file or the variable, also for a password that IPMI 2.0 cannot carry (section 22.30 of
    its specification: at most 20 bytes).
    """
    if lab.chassis.kind is ChassisKind.VIRTUAL:
        return state.bmc_password
    bmc = blade.bmc
    if not bmc.has_password:
        return Secret("")
    if bmc.password_env:
        where, password = f"{blade.name} (${bmc.password_env})", os.environ.get(bmc.password_env, "")
        if not password:
            what = "the BMC's password cannot be read: this environment variable is not set"
            raise PowerError(what, where=where, fix=f"export {bmc.password_env}=…, in the shell that runs this")
    else:
        where, password = f"{blade.name} ({bmc.password_file})", _first_line(blade)
    if bmc.kind is PowerKind.IPMI and len(password.encode()) > LONGEST_B:
        what = f"a BMC's password has at most {LONGEST_B} bytes, and this one has {len(password.encode())}"
        raise PowerError(what, where=where, fix="give the BMC a shorter one, and write that into the file")
    return Secret(password)


def reached(lab: Lab, state: State, blade: Blade) -> Bmc:
    """What switches a blade, with what only a lab that is up knows of it: a virtual slot that answers Redfish has a
    certificate that the lab has made. Raises MachineError where that is not there.
    """
    if lab.chassis.kind is ChassisKind.VIRTUAL and blade.bmc.kind is PowerKind.REDFISH:
        return replace(blade.bmc, certificate=redfish_fingerprint(state))
    return blade.bmc


def _first_line(blade: Blade) -> str:
    path = blade.bmc.password_file
    if path is None:
        raise PowerError("no password for its BMC", where=blade.name, fix="set bmc.password_file in lab.yaml")
    try:
        return path.read_text().splitlines()[0]
    except (OSError, ValueError, IndexError) as error:
        what = f"the BMC's password cannot be read: {error}"
        raise PowerError(what, where=f"{blade.name} ({path})", fix="one line, the password") from None
