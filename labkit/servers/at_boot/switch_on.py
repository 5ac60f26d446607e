"""The start of a lab by its unit: the blades that were on before are switched on, wave after wave."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from labkit import events
from labkit.diagnosis.early_failure import known_end
from labkit.errors import ControlError, LabkitError, PowerError
from labkit.events import folding, stages
from labkit.lab import Blade
from labkit.lab.process import control
from labkit.servers import lifecycle
from labkit.servers.at_boot import waves
from labkit.servers.at_boot.wanted import wanted
from labkit.servers.client import RunningLab, is_off

WAVE_S = 240.0
"""How long a wave may keep the next one waiting. BMCs that lost their power too take one to three minutes to answer."""
AGAIN_S = 30.0
"""A button that could not be pressed is tried again after this time, and seldom enough for no BMC to lock us out."""


def stay(running: RunningLab, say: Callable[[str], None]) -> bool:
    """Switch on what was on, and wait until the lab is down; False where nobody took it down."""
    try:
        switch_on(running, say)
    except LabkitError as error:  # without its blades the lab is better than none
        say(str(error))
        with contextlib.suppress(LabkitError):
            running.emit(events.Trouble(part="power", detail=error.what, fix=error.fix))
    return lifecycle.wait_for_end(running.state)


def switch_on(running: RunningLab, say: Callable[[str], None], *, wave_s: float = WAVE_S) -> None:
    """Switch on the blades that are wanted on and are off. What becomes of those that fail or stay off are events.

    Raises MachineError when nobody knows which are wanted, and ControlError when the lab goes down.
    """
    plan = waves.plan(running.lab, wanted(running.state), running.stages())
    for name, why in plan.stays:
        say(f"{name} {why}")
        running.emit(events.Note(blade=name, detail=why))
    for number, wave in enumerate(plan.waves, 1):
        say(f"wave {number} of {len(plan.waves)}: {', '.join(blade.name for blade in wave)}")
        _Wave(running, wave, say).run(wave_s)


class _Wave:
    """Some blades, until each was on already, has fetched its images, or has failed."""

    def __init__(self, running: RunningLab, blades: tuple[Blade, ...], say: Callable[[str], None]) -> None:
        self._running, self._say = running, say
        self._began, self._state = time.time(), stages.LabState()
        self._off, self._booting = list(blades), list[Blade]()
        self._errors: dict[str, LabkitError] = {}

    def run(self, wave_s: float) -> None:
        again = 0.0
        for event in events.follow(self._running.state.events, until=self._began + wave_s):
            if event is not None:
                self._state = folding.fold(self._state, event)
                continue
            if control.status(self._running.state) is None:
                raise ControlError("the lab went down", fix="start it with ./lab up")
            if self._off and time.monotonic() >= again:
                self._press()
                again = time.monotonic() + AGAIN_S
            self._booting = [blade for blade in self._booting if not self._is_over(blade)]
            if not (self._off or self._booting):
                return
        for blade in (*self._off, *self._booting):
            now = self._state.blade(blade.name)
            if blade in self._booting and not (now.dhcp or blade.bmc.tells_state):
                why = "was woken, and asked for no address: it is on already, or does not wake"
                self._say(f"{blade.name} {why}")
                self._running.emit(events.Note(blade=blade.name, detail=why))
                continue
            what = f"it has not fetched its images {wave_s:g} s after its wave began ({now.doing})"
            late = PowerError(what, fix=f"./lab why {blade.name}")
            self._tell(blade, self._errors.get(blade.name, late))

    def _press(self) -> None:
        """Press the buttons of all that are off; those of which that fails stay where they are."""
        with ThreadPoolExecutor(len(self._off)) as pool:
            ends = list(pool.map(self._attempt, self._off))
        self._booting += [blade for blade, end in zip(self._off, ends, strict=True) if end == "pressed"]
        self._off = [blade for blade, end in zip(self._off, ends, strict=True) if end == "failed"]

    def _attempt(self, blade: Blade) -> str:
        running = self._running
        try:
            if not is_off(running, blade, self._state):
                return "on"
            running.power(blade, "on", self._say, remember=False)  # it is wanted on already
        except LabkitError as error:
            self._errors[blade.name] = error
            return "failed"
        self._errors.pop(blade.name, None)
        return "pressed"

    def _is_over(self, blade: Blade) -> bool:
        if waves.has_fetched(blade, self._state.blade(blade.name)):
            return True
        lab, where = self._running.lab, self._running.state
        end = known_end(lab, where, self._state, [blade.name], until="os", since=self._began, now=time.time())
        if end is not None:
            self._tell(blade, end)
        return end is not None

    def _tell(self, blade: Blade, error: LabkitError) -> None:
        self._say(f"{blade.name}: {error}")
        detail = f"it was on before, and could not be switched on again: {error.what}"
        self._running.emit(events.Trouble(blade=blade.name, part="power", detail=detail, fix=error.fix))
