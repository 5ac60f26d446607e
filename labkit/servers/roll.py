"""``./lab swarm roll``: looks at blades, swarm and services, and does what `labkit.swarm.roll` says.

Everything that is decided is decided there; here are the clock, the buttons and the sockets.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit import events
from labkit.diagnosis.early_failure import known_end
from labkit.errors import ControlError, LabkitError, PowerError, SwarmError
from labkit.events import folding, stages
from labkit.lab import Blade, ChassisKind
from labkit.lab.process import rpc
from labkit.lab.secret import Secret
from labkit.machines.power import UNKNOWN, ways
from labkit.netboot import plans
from labkit.servers.client import RunningLab
from labkit.servers.drains import Drains
from labkit.swarm.membership import managers
from labkit.swarm.roll.spread import Verdict, judge_spread
from labkit.swarm.roll.steps import give_up, step
from labkit.swarm.roll.survey import Survey, survey, unfinished_of
from labkit.swarm.roll.turns import Action, BladeNow, Drain, Phase, Press, Roll, Seen, Tell, Undrain
from labkit.swarm.services import deploy
from labkit.swarm.services.all_services import look_at_all, start_anew

LOOK_EVERY_S = 1.0
VERSIONS_S = 120.0
"""How long the boot server may take to plan a boot of every blade."""
BUTTONS_AT_ONCE = 8
NEW_BOOT_S = 5.0
"""What the events say of a blade's end counts from here after it was switched on: the boot before is over by then."""
SPREAD_S = 600.0

Progress = Callable[[events.Roll], None]


class Looker:
    """Looks at a lab, again and again. What the events told of blades is kept from one look to the next."""

    def __init__(self, running: RunningLab) -> None:
        self._running = running
        self._feed = events.follow(running.state.events, every_s=0)
        self._stages = stages.LabState()
        self._boots: dict[str, Any] = {}
        self._began: dict[str, float] = {}

    def look(self, power: Collection[str], roll: Roll | None = None) -> Seen:
        """What is to be seen now; the blades in ``power`` are asked for theirs, which takes a moment each."""
        while (event := next(self._feed)) is not None:
            self._stages = folding.fold(self._stages, event)
        silent = ""
        try:
            self._boots = rpc.call(self._running.state.bootd, "boots")["boots"]
        except ControlError as error:
            silent = f"the boot server does not answer: {error.what}"
        powers = self._powers(power)
        booting = [turn.blade for turn in roll.turns if turn.phase is Phase.BOOTING] if roll is not None else []
        ends = {name: self._end(name) for name in booting}
        self._began = {name: began for name, began in self._began.items() if name in ends}
        blades = {
            blade.name: BladeNow(
                power=powers.get(blade.name, ""),
                boot=self._boots.get(blade.name, {}).get("id", ""),
                version=self._boots.get(blade.name, {}).get("version", ""),
                end=ends.get(blade.name, ""),
            )
            for blade in self._running.lab.blades
        }
        try:
            with self._running.engine() as engine:
                found = look_at_all(engine)
                chosen = managers.chosen_managers(engine, self._running.lab)
        except SwarmError as error:
            return Seen(blades=blades, silent=silent or error.what)
        return Seen(blades=blades, nodes=found.nodes, services=found.reasons(), managers=chosen, silent=silent)

    def fresh(self, within_s: float) -> frozenset[str]:
        """The blades whose boot began so recently, as of the last look."""
        now = time.time()
        return frozenset(name for name, boot in self._boots.items() if 0 <= now - float(boot["begun"]) < within_s)

    def _powers(self, names: Collection[str]) -> dict[str, str]:
        """The power of these blades; of one whose BMC does not answer nothing is said."""
        if not names:
            return {}

        def ask(name: str) -> str:
            try:
                return self._running.power_state(self._running.lab.blade(name))
            except PowerError:
                return ""

        with ThreadPoolExecutor(min(len(names), BUTTONS_AT_ONCE)) as pool:
            return dict(zip(names, pool.map(ask, names), strict=True))

    def _end(self, name: str) -> str:
        """Why a blade that boots will not get into the swarm, where the events tell that already."""
        now = time.time()
        began = self._began.setdefault(name, now)
        if now - began < NEW_BOOT_S:
            return ""
        lab, state = self._running.lab, self._running.state
        end = known_end(lab, state, self._stages, [name], until="joined", since=began, now=now)
        return end.what if end is not None else ""


def prepare(running: RunningLab, blades: Sequence[Blade], *, named: bool) -> Survey:
    """What a roll of these blades would be about; ``named`` where a person has named each.

    Raises ControlError when the boot server does not answer.
    """
    names = [blade.name for blade in blades]
    looker = Looker(running)
    answer = rpc.call(running.state.bootd, "versions", timeout_s=VERSIONS_S)
    seen = looker.look(names)
    mute = [name for name in names if not seen.blade(name).power]
    blind = [blade for blade in blades if seen.blade(blade.name).power == UNKNOWN]
    mute += [blade.name for blade in blind]
    unknown = [name for name in names if name not in answer["versions"] and name not in answer["wrong"]]
    found = survey(
        [name for name in names if name not in mute and name not in unknown],
        seen,
        answer["versions"],
        answer["wrong"],
        named=names if named else (),
        unfinished=unfinished_of(running.events(), is_real=running.lab.chassis.kind is ChassisKind.IPMI),
        fresh=looker.fresh(running.lab.swarm.roll_blade_s),
    )
    obstacles = [
        f"{name}'s BMC does not answer: ./lab power status {name} says why"
        for name in mute
        if seen.blade(name).power != UNKNOWN
    ]
    obstacles += [
        f"nobody can tell whether {blade.name} is on, as a roll has to know: {ways.silent(blade.bmc)}"
        for blade in blind
    ]
    obstacles += [f"{name} was not in lab.yaml when the lab came up: ./lab down, ./lab up" for name in unknown]
    notes = [STALE] if _is_stale(running, blades, answer["versions"]) else []
    return replace(found, obstacles=(*obstacles, *found.obstacles), notes=(*notes, *found.notes))


STALE = (
    "lab.yaml, or what images are made of, is another than when the lab came up, and the boot server serves what was "
    "there then. ./lab down and ./lab up let it serve the new one (in a virtual lab the blades go off with it)"
)


def _is_stale(running: RunningLab, blades: Sequence[Blade], served: dict[str, str]) -> bool:
    """Whether a boot server that were started now would bring a blade something else."""
    for blade in blades:
        with contextlib.suppress(LabkitError):
            made, _ = plans.prepare(running.lab, running.state, blade, "", Secret(""))
            if blade.name in served and made.version != served[blade.name]:
                return True
    return False


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lab's lock of rolls. Raises SwarmError while another roll goes on."""
    lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SwarmError("another roll goes on", where=str(path), fix="wait for its end, or end it") from None
        yield
    finally:
        os.close(lock)


def carry_out(running: RunningLab, roll: Roll, progress: Progress) -> Iterator[tuple[Roll, Seen]]:
    """Roll until it is over; yields the roll after each step, with what was seen before it.

    Raises ControlError when the lab goes down meanwhile. No button is pressed once nobody asks for the next step.
    """
    looker, drains = Looker(running), Drains(running, roll.limit_s)
    try:
        while True:
            asked = [turn.blade for turn in roll.turns if turn.phase in (Phase.DRAINING, Phase.LEAVING)]
            asked += [turn.blade for turn in roll.waiting[: roll.parallel - len(roll.under_way)]]
            seen = replace(looker.look(asked, roll), drains=drains.look())
            roll, actions = step(roll, seen, time.monotonic())
            for action in actions:
                roll = do(running, roll, action, progress, drains)
            yield roll, seen
            if roll.over:
                return
            time.sleep(LOOK_EVERY_S)
    finally:
        drains.close()


def do(running: RunningLab, roll: Roll, action: Action, progress: Progress, drains: Drains | None = None) -> Roll:
    """Press a button, empty a blade, or tell of a step; the roll after it, which a button that cannot be pressed has
    stopped. Without ``drains`` no blade is emptied.
    """
    match action:
        case Drain(blade, boot):
            if drains is not None:
                drains.begin(blade, boot)
            return roll
        case Undrain(blade):
            return _undrain(roll, blade, drains)
        case Tell(blade, step, detail):
            told = events.Roll(
                blade=blade, step=f"back {step}" if roll.back else str(step), detail=detail, time=time.time()
            )
            running.emit(told)
            progress(told)
            return roll
        case Press(blade, button):
            try:
                # It goes off to come back, also where this machine's power fails in between.
                running.power(running.lab.blade(blade), button, remember=button != "shutdown")
            except PowerError as error:
                roll, more = give_up(roll, blade, error.what)
                for one in (Undrain(blade), *more):
                    roll = do(running, roll, one, progress, drains)
            if drains is not None:
                drains.gone(blade)
            return roll


def _undrain(roll: Roll, blade: str, drains: Drains | None) -> Roll:
    """Give a blade back the availability that it had. The roll has stopped already; where that fails, it says so."""
    if drains is not None:
        try:
            drains.end(blade)
        except SwarmError as error:
            what = f"it could not be given back its availability ({error.what}): the next ./lab swarm roll does that"
            return replace(roll, stopped=f"{roll.stopped}; {what}" if roll.stopped else what)
    return roll


def spread(running: RunningLab, progress: Callable[[str], None]) -> tuple[Verdict, ...]:
    """Spread what came to lie on few blades, one service after the other, and wait for each.

    Returns what lay unevenly. Raises SwarmError with the reason when a service does not come up again.
    """
    with running.engine() as engine:
        found = look_at_all(engine)
        verdicts = judge_spread(found.raw, found.tasks, found.nodes)
        for verdict in verdicts:
            if not verdict.goes:
                progress(f"{verdict.name} is left as it lies: {verdict.why}")
                continue
            progress(f"{verdict.name} is spread again: its replicas start anew, by its own update rules")
            start_anew(engine, verdict.service)
            progress(str(deploy.watch(engine, verdict.name, SPREAD_S)))
    return verdicts
