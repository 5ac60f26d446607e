"""A blade's power in a lab that is up: what is pressed, and what its boot server and its record are told of that.

A virtual chassis tells of its power by itself. Of a real slot, that a button was pressed is all there is to tell; and
where nobody can be asked whether a blade is on, what its boot server heard of it stands in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from labkit import events
from labkit.errors import PowerError
from labkit.events import folding, kept_inventories, stages
from labkit.images.needs import memory_advice
from labkit.lab import Blade, Bmc, ChassisKind, Lab
from labkit.lab.process import rpc
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.power import ways
from labkit.machines.power.passwords import bmc_password, reached
from labkit.machines.power.readings import Entry, Reading


def _controller(lab: Lab, state: State, blade: Blade) -> tuple[str, Bmc, Secret]:
    """Whose power it is, what switches it, and the password for that. Raises PowerError."""
    return blade.name, reached(lab, state, blade), bmc_password(lab, state, blade)


def press(
    lab: Lab,
    state: State,
    blade: Blade,
    button: str,
    *,
    emit: Callable[[events.Event], None],
    say: Callable[[str], None],
) -> None:
    """Press a button (`labkit.machines.power.set_power`). ``say`` gets what a person has to do for that.

    The boot that follows is ours, and the boot server is told so. Raises PowerError.
    """
    ways.check(blade.name, blade.bmc, button)
    controller = _controller(lab, state, blade)
    is_real = lab.chassis.kind is ChassisKind.IPMI
    before = power.power_state(*controller) if is_real else ""
    if is_real and (button in ("reset", "boot") or (button == "on" and before != "on")):
        rpc.call(state.bootd, "expect" if before == power.UNKNOWN else "power_on", blade=blade.name)
    if is_real and button in ("on", "boot", "reset"):
        alone = replace(lab, blades=(blade,))
        for advice in memory_advice(alone, kept_inventories.told_mib(state.inventory, [blade])):
            say(f"{advice.what}\n  fix: {advice.fix}")
    told = power.set_power(*controller, button)
    was_awake = before == power.UNKNOWN and button == "on" and _heard(state, blade).seems_on
    if told:
        say(f"{told}, unless it is on, as it seems to be" if was_awake else told)
    if button == "boot":
        button = "reset" if before == "on" else "on"
    if not is_real or button in (before, "pxe") or was_awake:  # whoever wakes a blade that is awake changes nothing
        return
    emit(events.Power(blade=blade.name, state="soft-off" if button == "shutdown" else button))


def _heard(state: State, blade: Blade) -> stages.BladeState:
    return folding.fold_all(events.read(state.events)).blade(blade.name)


def power_state(lab: Lab, state: State, blade: Blade) -> str:
    """``on``, ``off`` or ``unknown``, as what switches it says. Raises PowerError."""
    return power.power_state(*_controller(lab, state, blade))


def sensors(lab: Lab, state: State, blade: Blade) -> tuple[Reading, ...]:
    """What its controller measures (`labkit.machines.power.sensors`). Raises PowerError."""
    return power.sensors(*_controller(lab, state, blade))


def log(lab: Lab, state: State, blade: Blade) -> tuple[Entry, ...]:
    """What its controller has noted (`labkit.machines.power.log`). Raises PowerError."""
    return power.log(*_controller(lab, state, blade))


def identify(lab: Lab, state: State, blade: Blade, *, on: bool) -> None:
    """Light its lamp, or put it out (`labkit.machines.power.identify`). Raises PowerError, also of a virtual slot."""
    if lab.chassis.kind is ChassisKind.VIRTUAL:
        what = "has no identify lamp: its slot is a virtual one"
        raise PowerError(what, where=blade.name, fix="./lab watch shows which slot it is in")
    power.identify(*_controller(lab, state, blade), on=on)


def wait(lab: Lab, state: State, blade: Blade, wanted: str, *, timeout_s: float) -> float:
    """Wait until a blade is ``on`` or ``off``; the seconds it took. Raises PowerError.

    One that nobody can be asked for is on when it has asked for an address, and off when it has left the swarm.
    """
    if blade.bmc.tells_state:
        return power.wait_power(*_controller(lab, state, blade), wanted, timeout_s=timeout_s)
    began, now = time.monotonic(), stages.LabState()
    for event in events.follow(state.events, until=time.time() + timeout_s):
        if event is not None:
            now = folding.fold(now, event)
            continue
        seen = now.blade(blade.name)
        if seen.seems_on and seen.dhcp if wanted == "on" else not seen.seems_on:
            return time.monotonic() - began
    heard = "did not ask for an address" if wanted == "on" else "did not say that it shuts down"
    raise PowerError(
        f"still not {wanted} after {timeout_s:g} s, as far as was heard: it {heard}",
        where=ways.where(blade.name, blade.bmc),
        fix=f"look at the machine; ./lab why {blade.name} says what was heard of it",
    )
