"""What notebooks and the command line do to a lab: verbs that can be repeated and say what they found.

Clients are unprivileged. They reach the supervisor and the controller's engine over Unix sockets in the state folder,
and the BMCs over IPMI. Only bringing a lab up or down needs root, which is asked of ``sudo -n`` where it is not there.
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
from labkit.events import stages
from labkit.lab import Blade, ChassisKind, Lab, NetworkKind, lab_yaml
from labkit.lab.process import control, rpc
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.machines import power
from labkit.servers import lifecycle

if TYPE_CHECKING:
    import docker

STATE_FOLDER = ".lab"
BOOT_S = 420.0
LONGEST_PASSWORD_B = 20


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
        return stages.fold_all(self.events())

    def part_check(self, *parts: str) -> Callable[[], None]:
        """What a wait that depends on these parts of the lab calls in each turn, from now on.

        It raises MachineError once one of them has died three times in a row for the same reason.
        """
        began, feed, state = time.time(), events.follow(self.state.events, every_s=0), stages.LabState()

        def check() -> None:
            nonlocal state
            while (event := next(feed)) is not None:
                state = stages.fold(state, event)
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

    def power(self, blade: Blade, state: str) -> None:
        """Press a blade's button over IPMI (see `labkit.machines.power.set_power`).

        The boot that follows is ours, and the boot server is told so; a virtual chassis tells that and its power by
        itself. Of a real slot's power, that the button was pressed is all there is to tell.
        """
        password = bmc_password(self.lab, self.state, blade)
        is_real = self.lab.chassis.kind is ChassisKind.IPMI
        before = power.power_state(blade.name, blade.bmc, password) if is_real else ""
        if is_real and (state == "reset" or (state == "on" and before == "off")):
            rpc.call(self.state.bootd, "power_on", blade=blade.name)
        power.set_power(blade.name, blade.bmc, password, state)
        if is_real and state != before:
            self.emit(events.Power(blade=blade.name, state="soft-off" if state == "shutdown" else state))

    def admit(self, blade: Blade) -> bool:
        """Let a blade's current boot join the swarm from now on; False when it has joined, or never booted."""
        return bool(rpc.call(self.state.bootd, "admit", blade=blade.name)["boot"])

    def power_state(self, blade: Blade) -> str:
        """``on`` or ``off``, as the blade's BMC says."""
        return power.power_state(blade.name, blade.bmc, bmc_password(self.lab, self.state, blade))

    def wait_power(self, blade: Blade, state: str, *, timeout_s: float) -> float:
        """Wait for a blade to be ``on`` or ``off``; the seconds it took. Raises PowerError."""
        password = bmc_password(self.lab, self.state, blade)
        return power.wait_power(blade.name, blade.bmc, password, state, timeout_s=timeout_s)


def bmc_password(lab: Lab, state: State, blade: Blade) -> Secret:
    """A BMC's password: the lab's own for a virtual slot, else the first line of ``bmc.password_file``.

    Raises PowerError naming the file, also for a password that IPMI 2.0 cannot carry (section 22.30 of its
    specification: at most 20 bytes).
    """
    if lab.chassis.kind is ChassisKind.VIRTUAL:
        return state.bmc_password
    path = blade.bmc.password_file
    if path is None:
        raise PowerError("no password for its BMC", where=blade.name, fix="set bmc.password_file in lab.yaml")
    where = f"{blade.name} ({path})"
    try:
        password = path.read_text().splitlines()[0]
    except (OSError, ValueError, IndexError) as error:
        what = f"the BMC's password cannot be read: {error}"
        raise PowerError(what, where=where, fix="one line, the password") from None
    if len(password.encode()) > LONGEST_PASSWORD_B:
        what = f"a BMC's password has at most {LONGEST_PASSWORD_B} bytes, and this one has {len(password.encode())}"
        raise PowerError(what, where=where, fix="give the BMC a shorter one, and write that into the file")
    return Secret(password)


def choose_blades(lab: Lab, names: Sequence[str] | None) -> tuple[Blade, ...]:
    """The blades of those names, in the lab's order; all of them for None or an empty list.

    A JSON list in a string is taken too: papermill's ``-p`` passes a list on as text.
    Raises ParameterError that lists the lab's blades.
    """
    known = [blade.name for blade in lab.blades]
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
        last: deque[str] = deque(maxlen=12)
        for line in process.stderr:
            progress(line.rstrip())
            last.append(line.rstrip())
    if process.returncode:
        what, _, fix = "\n".join(last).rpartition("\n  fix: ")
        raise MachineError(
            f"the lab could not be started: {what.rpartition(chr(10))[2] or ' '.join(last)}", fix=fix or "./lab up"
        )


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

    ``show`` is called with the lab's state about twice a second. Raises as `wait_blades` does.
    """
    since, chosen = time.time(), tuple(blades)
    before = running.stages()
    off = [blade for blade in chosen if running.power_state(blade) == "off"]
    for blade in off:
        running.power(blade, "on")
    if until == "joined":  # a blade may have been up, and its window closed, long before there is a swarm
        for blade in chosen:
            if blade not in off and not _reached(before.blade(blade.name), until):
                running.admit(blade)
    wait_blades(running, chosen, until=until, timeout_s=timeout_s, show=show, since=since)
    went = {blade.name for blade in off} | {b.name for b in chosen if not _reached(before.blade(b.name), until)}
    return BladesUp(
        found=tuple(b.name for b in chosen if b.name not in went),
        booted=tuple(b.name for b in chosen if b.name in went),
    )


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
    seconds, where that was before now.

    Raises PowerError naming each blade that did not get there, its stage and what was last seen of it; also as soon as
    that is known, as MachineError where a part of the lab is the reason (`labkit.diagnosis.early_failure`).
    """
    began = time.time() if since is None else since
    state = stages.LabState()
    shown = 0.0
    for event in events.follow(running.state.events, until=time.time() + timeout_s):
        if event is not None:
            state = stages.fold(state, event)
            continue
        late = [blade.name for blade in blades if not _reached(state.blade(blade.name), until)]
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
    words = [_where(state.blade(name)) for name in late]
    raise PowerError(
        f"not {until} after {timeout_s:g} s: " + "; ".join(words),
        fix=f"read its console: labkit console {late[0]} --log, and what it asked for: labkit events {late[0]}",
    )


def _where(blade: stages.BladeState) -> str:
    seen = f" ({blade.doing})" if blade.doing else ""
    wrong = f", {blade.trouble}" if blade.trouble else ""
    return f"{blade.blade} is at stage '{blade.stage}'{seen}{wrong}"


def _reached(blade: stages.BladeState, until: str) -> bool:
    if blade.power == "off" or blade.left:
        return False
    return bool(blade.joined) if until == "joined" else bool(blade.os)


def shut_down(running: RunningLab, blade: Blade, *, timeout_s: float = 150.0) -> float:
    """Press the soft button and wait until the blade is off; the seconds it took. Raises PowerError."""
    running.power(blade, "shutdown")
    return running.wait_power(blade, "off", timeout_s=timeout_s)


__all__ = [
    "BladesUp", "LabkitError", "RunningLab", "choose_blades", "connect", "ensure_blades", "ensure_lab", "find_lab",
    "find_state", "shut_down", "wait_blades",
]  # fmt: skip
