"""What notebooks and the command line do to a lab: verbs that can be repeated and say what they found.

Clients are unprivileged. They reach the supervisor and the controller's engine over Unix sockets in the state folder,
and the blades' BMCs over the network. Only bringing a lab up or down needs root, which is asked of ``sudo -n`` where it
is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import events
from labkit.diagnosis import early_failure
from labkit.errors import ControlError, LabkitError, MachineError, ParameterError, PowerError
from labkit.events import folding, stages
from labkit.lab import Blade, Lab, NetworkKind, lab_yaml
from labkit.lab.process import control, rpc
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.power.passwords import bmc_password as bmc_password
from labkit.servers import blade_power, lifecycle
from labkit.servers.at_boot import wanted

if TYPE_CHECKING:
    import docker

STATE_FOLDER = ".lab"
BOOT_S = 420.0


def find_lab(path: Path | None = None) -> Path:
    """The lab file: the one given, else ``$LABKIT_LAB``, else ``lab.yaml`` here or in a folder above.

    Raises ControlError when there is none.
    """
    if path is not None:
        return path.absolute()
    if os.environ.get("LABKIT_LAB"):
        return Path(os.environ["LABKIT_LAB"]).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "lab.yaml").is_file():
            return folder / "lab.yaml"
    raise ControlError(
        "no lab.yaml here or in a folder above",
        where=str(here),
        fix="go to the lab's folder, or name the file: export LABKIT_LAB=/path/to/lab.yaml",
    )


def find_state(lab_path: Path, path: Path | None = None) -> State:
    """The state folder: the one given, else ``$LABKIT_STATE``, else ``.lab`` beside the lab file."""
    if path is None and os.environ.get("LABKIT_STATE"):
        path = Path(os.environ["LABKIT_STATE"])
    return State((path or lab_path.parent / STATE_FOLDER).absolute())


@dataclass(frozen=True)
class RunningLab:
    """A lab that is up. ``found`` says whether it was up before it was asked for."""

    lab: Lab
    state: State
    found: bool = True

    def __str__(self) -> str:
        was = "was up already" if self.found else "is up now"
        return f"lab '{self.lab.name}' {was}: {len(self.lab.blades)} blades, server {self.lab.network.server}"

    def status(self) -> dict[str, Any]:
        """What the supervisor says. Raises ControlError when it is gone."""
        return rpc.call(self.state.control, "status")

    def emit(self, event: events.Event) -> None:
        """Put an event that a client saw into the stream."""
        rpc.call(self.state.control, "emit", event=json.loads(events.encode(event)))

    def events(self) -> Iterator[events.Event]:
        """All events so far."""
        return events.read(self.state.events)

    def stages(self) -> stages.LabState:
        """How far each blade is."""
        return folding.fold_all(self.events())

    def part_check(self, *parts: str) -> Callable[[], None]:
        """What a wait that depends on these parts of the lab calls in each turn, from now on.

        It raises MachineError once one of them has died three times in a row for the same reason.
        """
        began, feed, state = time.time(), events.follow(self.state.events, every_s=0), stages.LabState()

        def check() -> None:
            nonlocal state
            while (event := next(feed)) is not None:
                state = folding.fold(state, event)
            broken = early_failure.dead_part(self.state, state, parts, since=began)
            if broken is not None:
                raise broken

        return check

    @contextmanager
    def engine(self) -> Iterator[docker.DockerClient]:
        """A client of the controller's Docker engine. Raises SwarmError when it is not there."""
        from labkit.swarm.engine import engine

        with engine(self.state.manager_socket(self.lab)) as client:
            yield client

    def power(self, blade: Blade, state: str, say: Callable[[str], None] = print, *, remember: bool = True) -> None:
        """Press a blade's button (see `labkit.machines.power.set_power`); ``say`` gets what a person has to do for it.

        The boot that follows is ours, and the boot server is told so. Whether the blade is wanted on from now on is
        remembered for the next start of this machine, unless this is only a step on the way to something else.
        """
        blade_power.press(self.lab, self.state, blade, state, emit=self.emit, say=say)
        if remember:
            try:
                wanted.remember(self.state, blade.name, state)
            except LabkitError as error:  # the button is pressed all the same
                say(f"whether {blade.name} is wanted on could not be noted for the next start of this machine: {error}")

    def admit(self, blade: Blade) -> bool:
        """Let a blade's current boot join the swarm from now on; False when it has joined, or never booted."""
        return bool(rpc.call(self.state.bootd, "admit", blade=blade.name)["boot"])

    def release(self, blade: Blade) -> bool:
        """Let a blade boot again that is held since it booted in a circle; False when it is not held."""
        return bool(rpc.call(self.state.bootd, "release", blade=blade.name)["held"])

    def power_state(self, blade: Blade) -> str:
        """``on`` or ``off``, as the blade's BMC says; ``unknown`` where nobody can tell."""
        return blade_power.power_state(self.lab, self.state, blade)

    def wait_power(self, blade: Blade, state: str, *, timeout_s: float) -> float:
        """Wait for a blade to be ``on`` or ``off``; the seconds it took. Raises PowerError.

        Where nobody can tell, what is heard of it decides: it asks for an address, or leaves the swarm.
        """
        return blade_power.wait(self.lab, self.state, blade, state, timeout_s=timeout_s)


def choose_blades(lab: Lab, names: Sequence[str] | None) -> tuple[Blade, ...]:
    """The blades of those names, in the lab's order; all of them for None or an empty list.

    A JSON list in a string is taken too: papermill's ``-p`` passes a list on as text.
    Raises ParameterError that lists the lab's blades, and for a lab that has none yet.
    """
    known = [blade.name for blade in lab.blades]
    if not known:
        fix = "./lab machines shows which have asked to boot, and ./lab adopt makes them blades"
        if lab.network.kind is NetworkKind.VIRTUAL:  # where nobody asks but what the lab has made
            fix = "blades: [{name: blade1}] in lab.yaml makes a virtual one; " + fix
        raise ParameterError("the lab has no blade yet", where=str(lab.path), fix=fix)
    if isinstance(names, str) and names.startswith("["):
        with contextlib.suppress(ValueError):
            names = json.loads(names)
    is_list = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if names is not None and not is_list:
        raise ParameterError(f"blades is a list of names, not {names!r}", fix=f"some of {json.dumps(known)}")
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ParameterError(
            f"no blade {', '.join(unknown)} in {lab.path.name}", fix=f"its blades are {', '.join(known)}"
        )
    return tuple(blade for blade in lab.blades if not names or blade.name in names)


def connect(lab_path: Path | None = None, state_path: Path | None = None) -> RunningLab:
    """The lab that is up. Raises ControlError with the command that starts it."""
    path = find_lab(lab_path)
    state = find_state(path, state_path)
    lab = lab_yaml.load(path)
    if control.status(state) is None:
        raise ControlError("the lab is not up", where=str(path), fix="start it with ./lab up")
    return RunningLab(lab, state)


def ensure_lab(
    lab_path: Path | str | None = None,
    *,
    state_path: Path | None = None,
    own_engine: bool = False,
    progress: Callable[[str], None] = print,
) -> RunningLab:
    """Bring the lab up where it is not: connect, else start it as root, else through ``sudo -n``.

    ``own_engine`` is the yes that a real lab needs, since its swarm's manager is this machine's own Docker engine.
    Raises LabFileError for a lab file with mistakes, MachineError or ImageError when it cannot come up.
    """
    path = find_lab(Path(lab_path) if lab_path else None)
    state = find_state(path, state_path)
    lab = lab_yaml.load(path)
    if control.status(state) is not None:
        running = RunningLab(lab, state)
        broken = early_failure.dead_part(state, running.stages(), early_failure.JOINING)
        if broken is not None:
            raise broken
        return running
    if lab.network.kind is NetworkKind.INTERFACE and not own_engine:
        raise MachineError(
            "in a real lab the swarm's manager is this machine's own Docker engine, and that needs your yes",
            where=str(path),
            fix="./lab up --yes",
        )
    if os.geteuid() == 0:
        return RunningLab(lab, state, found=not lifecycle.up(lab, state, progress))
    progress("starting the lab with sudo")
    _sudo(["--lab", str(path), "--state", str(state.path), "up", "--yes"], progress)
    return RunningLab(lab, state, found=False)


MOST_HELD = 40
KEPT = ("LABKIT_CACHE", "LABKIT_DATA", "http_proxy", "https_proxy", "no_proxy")
"""What sudo would take out of the environment, and a lab that comes up needs."""


def _sudo(words: Sequence[str], progress: Callable[[str], None]) -> None:
    """Run labkit as root, without asking for a password. Raises MachineError where that cannot be, or it fails."""
    if shutil.which("sudo") is None:
        raise MachineError("starting a lab needs root, and there is no sudo here", fix="as root: ./lab up")
    asked = subprocess.run(["sudo", "-n", "--", "true"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise MachineError(
            f"starting a lab needs root, and sudo will not do it unasked: {asked.stderr.strip()[-200:]}",
            fix="in a terminal: ./lab up, which asks for the password; then do this again",
        )
    kept = [f"{name}={os.environ[name]}" for name in KEPT if name in os.environ]
    command = ["sudo", "-n", "--", "env", *kept, "PYTHONDONTWRITEBYTECODE=1", sys.executable, "-P", "-m", "labkit"]
    with subprocess.Popen(
        [*command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stderr is not None
        held: deque[str] = deque(maxlen=MOST_HELD)  # what may turn out to be the error, which is told once, by a raise
        for line in map(str.rstrip, process.stderr):
            held.append(line)
            if line.endswith("…") or line.startswith("✓"):
                _flush(held, progress)
    if process.returncode:
        what, _, fix = "\n".join(held).rpartition("\n  fix: ")
        words = what or fix or f"it ended with status {process.returncode}"
        raise MachineError(f"the lab could not be started: {words}", fix=fix if what and fix else "./lab up")
    _flush(held, progress)


def _flush(held: deque[str], progress: Callable[[str], None]) -> None:
    while held:
        progress(held.popleft())


@dataclass(frozen=True)
class BladesUp:
    """What `ensure_blades` found and did: names of blades that were up before, and that were switched on."""

    found: tuple[str, ...]
    booted: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"up already: {', '.join(self.found)}"] if self.found else []
        parts += [f"booted: {', '.join(self.booted)}"] if self.booted else []
        return "; ".join(parts)


def ensure_blades(
    running: RunningLab,
    blades: Iterable[Blade],
    *,
    until: str = "os",
    timeout_s: float = BOOT_S,
    show: Callable[[stages.LabState], None] = lambda state: None,
) -> BladesUp:
    """Switch on the blades that are off and wait until each is as far as ``until``: ``os`` or ``joined``.

    ``show`` is called with the lab's state about twice a second. Raises as `wait_blades` does, before anything is
    switched on where a blade cannot come so far, and PlanError then for a config that is wrong.
    """
    from labkit.netboot import configs

    since, chosen = time.time(), tuple(blades)
    _check_nodes(chosen, until)
    before = running.stages()
    off = [blade for blade in chosen if is_off(running, blade, before)]
    for blade in off:
        configs.check_config(running.lab, blade)
    for blade in off:
        running.power(blade, "on")
    if until == "joined":  # a blade may have been up, and its window closed, long before there is a swarm
        for blade in chosen:
            if blade not in off and not _reached(before.blade(blade.name), blade, until):
                running.admit(blade)
    wait_blades(running, chosen, until=until, timeout_s=timeout_s, show=show, since=since)
    went = {blade.name for blade in off} | {b.name for b in chosen if not _reached(before.blade(b.name), b, until)}
    return BladesUp(
        found=tuple(b.name for b in chosen if b.name not in went),
        booted=tuple(b.name for b in chosen if b.name in went),
    )


def is_off(running: RunningLab, blade: Blade, heard: stages.LabState) -> bool:
    """Whether a blade has to be switched on; where nobody can tell, by what was heard of it."""
    state = running.power_state(blade)
    return state == "off" or (state == power.UNKNOWN and not heard.blade(blade.name).seems_on)


def wait_blades(
    running: RunningLab,
    blades: Sequence[Blade],
    *,
    until: str = "joined",
    timeout_s: float = BOOT_S,
    show: Callable[[stages.LabState], None] = lambda state: None,
    since: float | None = None,
) -> None:
    """Wait until each blade is as far as ``until``, as the events tell. ``since`` is when the wait began, in wall-clock
    seconds, where that was before now. The time for which a blade's files come is beside ``timeout_s``: a slow network
    is no blade that does not boot.

    A system of a person's own without a config of labkit's tells the lab nothing: it is as far as it will be seen when
    it has its kernel and its archives, and ParameterError is raised where it is to join.
    Raises PowerError naming each blade that did not get there, its stage and what was last seen of it; also as soon as
    that is known, as MachineError where a part of the lab is the reason (`labkit.diagnosis.early_failure`).
    """
    _check_nodes(blades, until)
    began = time.time() if since is None else since
    state = stages.LabState()
    asked, shown = time.monotonic(), 0.0
    for event in events.follow(running.state.events):
        if event is not None:
            state = folding.fold(state, event)
            continue
        late = [blade.name for blade in blades if not _reached(state.blade(blade.name), blade, until)]
        if time.monotonic() - shown > 0.5 or not late:
            show(state)
            shown = time.monotonic()
        if not late:
            return
        end = early_failure.known_end(
            running.lab, running.state, state, late, until=until, since=began, now=time.time()
        )
        if end is not None:
            show(state)
            raise end
        if control.status(running.state) is None:
            raise ControlError("the lab went down", fix="start it with ./lab up")
        ways = [state.blade(name) for name in late]
        fetch_s = max((blade.fetch_s() for blade in ways if blade.power == "on"), default=0.0)
        if time.monotonic() - asked >= timeout_s + fetch_s:
            break
    words = [_where(state.blade(name)) for name in late]
    beside = f" and {fetch_s:.0f} s for its files" if fetch_s >= 1 else ""
    raise PowerError(
        f"not {until} after {timeout_s:g} s{beside}: " + "; ".join(words),
        fix=f"read its console: ./lab console {late[0]} --log, and what it asked for: ./lab events {late[0]}",
    )


def _where(blade: stages.BladeState) -> str:
    seen = f" ({blade.doing})" if blade.doing else ""
    wrong = f", {blade.trouble}" if blade.trouble else ""
    return f"{blade.blade} is at stage '{blade.stage}'{seen}{wrong}"


def _reached(state: stages.BladeState, blade: Blade, until: str) -> bool:
    if state.power == "off" or state.left:
        return False
    if not blade.is_node:
        return stages.is_handed_over(blade, state)
    return bool(state.joined) if until == "joined" else bool(state.os)


def _check_nodes(blades: Iterable[Blade], until: str) -> None:
    """Raise ParameterError where a blade is to join the swarm that has no config of labkit's to do so by."""
    strangers = [blade.name for blade in blades if not blade.is_node]
    if until == "joined" and strangers:
        raise ParameterError(
            f"{', '.join(strangers)} will not join the swarm: os: custom, with config: none",
            fix="leave out such blades, or say how their system takes a config, as with 'config: url' below custom",
        )


def shut_down(running: RunningLab, blade: Blade, *, timeout_s: float = 150.0) -> float:
    """Press the soft button and wait until the blade is off; the seconds it took. Raises PowerError."""
    running.power(blade, "shutdown")
    return running.wait_power(blade, "off", timeout_s=timeout_s)
