"""What each kind of power can do, in words too. PURE.

Everything that a person reads of a button before it is pressed is from here: which one, by what, or why not.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from labkit.errors import PowerError
from labkit.lab import Bmc, PowerKind

STATES = ("on", "off", "shutdown", "reset", "boot", "pxe")
BUTTONS = {
    "on": "power on",
    "off": "power off, at once",
    "shutdown": "the soft power button",
    "reset": "reset",
    "boot": "power on, or reset where it is on",
    "pxe": "the next boot by PXE, once",
}
"""What pressing is called, by state."""
_HANDS = {
    "on": "press the power button",
    "off": "hold the power button down for five seconds, or pull the plug",
    "shutdown": "press the power button, briefly",
    "reset": "press the reset button; without one, hold the power button down until it is off, then press it again",
}


@dataclass(frozen=True)
class Kind:
    """A kind of power: its name in a sentence, the states that can be asked of it, why there are no others, and why it
    cannot tell whether a blade is on, empty where it always can."""

    name: str
    states: tuple[str, ...] = STATES
    limit: str = ""
    silent: str = ""


KINDS = {
    PowerKind.IPMI: Kind("IPMI"),
    PowerKind.REDFISH: Kind("Redfish"),
    PowerKind.WOL: Kind("Wake-on-LAN", ("on",), "which can only switch on", "Wake-on-LAN tells nothing back"),
    PowerKind.COMMAND: Kind(
        "a command",
        ("on", "off"),
        "which can only switch on and, where bmc.off is in lab.yaml, off",
        "bmc.state, a command that prints on or off, is not in lab.yaml",
    ),
    PowerKind.MANUAL: Kind(
        "hand", tuple(_HANDS), "and no button of a machine does that", "its power is in a person's hands"
    ),
}
"""Every kind there is; a test holds that."""


def able(bmc: Bmc) -> tuple[str, ...]:
    """The states that can be asked of this kind."""
    if bmc.kind is PowerKind.COMMAND and not bmc.off:
        return ("on",)
    return KINDS[bmc.kind].states


def silent(bmc: Bmc) -> str:
    """Why nobody can tell whether its blade is on."""
    return KINDS[bmc.kind].silent


def is_hand(bmc: Bmc) -> bool:
    """Whether a person presses the buttons."""
    return bmc.kind is PowerKind.MANUAL


def check(blade: str, bmc: Bmc, state: str) -> None:
    """Raise PowerError for a state that there is not, or that this kind cannot bring about."""
    if state not in STATES:
        raise PowerError(f"no such power state: {state}", where=blade, fix=f"one of {', '.join(STATES)}")
    if state in able(bmc):
        return
    fix = f"./lab ssh {blade} sudo {'reboot' if state in ('reset', 'boot') else 'poweroff'} asks its system to"
    if state == "pxe":
        fix = "choose the network at its keyboard, in its boot menu"
    kind = KINDS[bmc.kind]
    what = f"cannot do this: {BUTTONS[state]}. Its power is switched by {kind.name}, {kind.limit}"
    raise PowerError(what, where=where(blade, bmc), fix=fix)


def check_controller(blade: str, bmc: Bmc, what: str) -> None:
    """Raise PowerError where a blade has no controller, which alone has sensors, an event log and a lamp (``what``)."""
    if bmc.has_password:
        return
    name = KINDS[bmc.kind].name
    fix = "only a BMC has that: bmc: {kind: ipmi} or {kind: redfish} in lab.yaml, where the machine has one"
    raise PowerError(f"has no {what}: its power is switched by {name}", where=where(blade, bmc), fix=fix)


def by_hand(blade: str, bmc: Bmc, state: str) -> str:
    """What a person has to do."""
    return f"{_HANDS[state]}: {blade}, in {bmc.place}"


def way(bmc: Bmc, state: str) -> str:
    """By what a button is pressed, or the ``status`` asked for."""
    if state == "status" and not bmc.tells_state:
        return f"nobody: {silent(bmc)}"
    match bmc.kind:
        case PowerKind.IPMI:
            return f"IPMI, at {bmc.address}:{bmc.port}"
        case PowerKind.REDFISH:
            return f"Redfish, at https://{bmc.address}:{bmc.port}" + (f" ({bmc.system})" if bmc.system else "")
        case PowerKind.WOL:
            return f"Wake-on-LAN, a packet for {bmc.mac} to {bmc.address}:{bmc.port}"
        case PowerKind.COMMAND:
            return f"this command: {shlex.join({'off': bmc.off, 'status': bmc.state}.get(state, bmc.on))}"
        case PowerKind.MANUAL:
            return f"hand ({_HANDS[state]}), in {bmc.place}"


def dry_run(blade: str, bmc: Bmc, state: str) -> str:
    """What would be pressed, and by what. Raises PowerError as pressing it would, for what the kind cannot do."""
    check(blade, bmc, state)
    return f"{blade}: would press: {BUTTONS[state]}, by {way(bmc, state)}"


def where(blade: str, bmc: Bmc) -> str:
    """The place that an error names."""
    if bmc.has_password:
        return f"{blade} (BMC {bmc.address}:{bmc.port})"
    return f"{blade} (by {KINDS[bmc.kind].name})"
