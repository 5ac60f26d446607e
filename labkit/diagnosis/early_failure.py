"""The end of a wait for blades that is known before its time is up.

PURE: a lab, what its events fold to and the moment in; an error out, or None while there is hope.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from labkit.diagnosis.causes import explain, failed_fix
from labkit.errors import LabkitError, MachineError, PowerError
from labkit.events import EMERGENCY, part_deaths
from labkit.events.stages import BladeState, LabState
from labkit.lab import Blade, Lab
from labkit.lab.state import State

BOOTS = 3
"""A blade that begins so many boots in a row, none of which gets there, boots in a circle."""
CUT_S = 30.0
"""Somebody who pulls a plug may put it in again; so long that is waited for."""
BOOTING = ("bootd",)
JOINING = ("bootd", "swarmd", "engine")
"""The parts without which nobody boots, and nobody joins."""


def known_end(
    lab: Lab, where: State, state: LabState, late: Sequence[str], *, until: str, since: float, now: float
) -> LabkitError | None:
    """Why blades that are ``late`` will not get to ``until`` (``os`` or ``joined``), in a wait that began at ``since``.

    A part of the lab they need dies again and again, a blade is off, has nothing to boot, has a Docker that does not
    start, or boots in a circle.
    """
    if not late:
        return None
    broken = dead_part(where, state, JOINING if until == "joined" else BOOTING, since=since)
    if broken is not None:
        return broken
    for name in late:
        blade = state.blade(name)
        off = _off(blade, since, now)
        words = off or _held(blade) or _no_plan(blade) or _failed(blade, until)
        words = words or _circles(lab, lab.blade(name), state, until, since)
        if words:
            fix = f"./lab power on {name}" if off else f"./lab why {name} tells more"
            fix = f"{failed_fix(blade.failed)}; {fix}" if blade.failed is not None and not off else fix
            fix += f"; ./lab power release {name} lets it boot again" if blade.held else ""
            if blade.troubled is not None and blade.troubled.fix:
                fix = f"{blade.troubled.fix}; {fix}"
            return PowerError(f"not {until}, and will not be: {words}", fix=fix)
    return None


def dead_part(
    where: State, state: LabState, parts: Sequence[str], *, since: float | None = None
) -> MachineError | None:
    """The error of one of these parts that died three times in a row for the same reason.

    The last death was after ``since``; without ``since`` the part must not run now.
    """
    for part in parts:
        deaths = state.deaths.get(part, ())
        is_over = part not in state.dead if since is None else bool(deaths) and deaths[-1].time < since
        if len(deaths) < part_deaths.TIMES or is_over:
            continue
        return MachineError(
            f"{part}, a part of the lab, died {len(deaths)} times in a row, and each time the same way: "
            f"{part_deaths.reason(deaths[-1])}",
            where=str(where.logs / f"{part}.log"),
            fix="that file says more; when its cause is mended, ./lab down and ./lab up start it afresh",
        )
    return None


def _off(blade: BladeState, since: float, now: float) -> str:
    if blade.power != "off" or blade.over < since or not blade.over:
        return ""
    how = "somebody cut its power" if blade.cut else f"it went off ({blade.doing})"
    at = time.strftime("%H:%M:%S", time.localtime(blade.over))
    return "" if blade.cut and now - blade.over < CUT_S else f"{blade.blade} is off: {how} at {at}"


def _held(blade: BladeState) -> str:
    return f"{blade.blade} is held and gets no kernel: {blade.held}" if blade.held else ""


def _no_plan(blade: BladeState) -> str:
    """A boot without a plan gets nothing, however often it asks: a mended config is the next boot's."""
    trouble = blade.troubled
    if trouble is None or trouble.part != "plan":
        return ""
    return f"{blade.blade} has nothing to boot: {trouble.detail}"


def _failed(blade: BladeState, until: str) -> str:
    """systemd has given a unit up that the blade cannot join without; its system may be up without Docker."""
    failed = blade.failed
    if failed is None or blade.power == "off" or (until == "os" and failed.unit != EMERGENCY):
        return ""
    return f"{blade.blade}: {failed}"


def _circles(lab: Lab, blade: Blade, state: LabState, until: str, since: float) -> str:
    """Of a blade that boots again and again: what each boot reached, and why the last may have ended there."""
    now = state.blade(blade.name)
    ended = [boot for boot in now.before if boot.over >= since and not (until == "os" and boot.os)]
    if len(ended) + 1 < BOOTS:
        return ""
    reached = [f"boot {number} came to step '{boot.step}' in {boot.over - boot.began:.0f} s ({boot.doing})"
               for number, boot in enumerate(ended, 1)]  # fmt: skip
    last = ended[-1]
    what, causes = explain(lab, blade, replace(state, blades={**state.blades, blade.name: last}))
    why = f"; the last time {what}" + (f" – {causes[0].what}" if causes else "")
    return f"{blade.name} boots again and again: {'; '.join(reached)}; now boot {len(ended) + 1} has begun{why}"
