"""Asking for a rehearsal, judging what came, and telling it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from labkit import events, images
from labkit.errors import ControlError, ImageError, ParameterError
from labkit.events import folding
from labkit.events.amounts import size
from labkit.events.stages import step_of
from labkit.images.store import digest_file
from labkit.lab import Blade, Lab, NetworkKind
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.netboot.boot_client.firmware import FIRMWARES, default_firmware
from labkit.netboot.boot_client.walkthrough import Attempt

ANSWER_S = 300.0
REBUILD = "./lab images build"
APART = """
  (this machine cannot hear itself over the blades' cable, so a boot server in a namespace of its own answered;
  ./lab doctor looks at the cable, the firewall and other servers)"""


class Rehearsed(Protocol):
    """What a rehearsal needs of a lab that is up; `labkit.servers.client.RunningLab` is one."""

    @property
    def lab(self) -> Lab: ...
    @property
    def state(self) -> State: ...
    def events(self) -> Iterator[events.Event]: ...
    def power_state(self, blade: Blade) -> str: ...


@dataclass(frozen=True)
class Rehearsal:
    """What came of one. ``what`` and ``fix`` say why the boot would end; ``recorded`` that the blade is on, and these
    are the steps of the boot that it is in; ``apart`` that a boot server of the same making answered, not over the
    blades' cable."""

    blade: str
    firmware: str
    ok: bool
    steps: tuple[Attempt, ...]
    what: str = ""
    fix: str = ""
    recorded: bool = False
    apart: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd, though the boot would work."""
        return tuple(step.warning for step in self.steps if step.warning)

    def __str__(self) -> str:
        if self.recorded:
            told = "its boot fetched:" if self.steps else "there is no record of what its boot fetched"
            head = f"{self.blade} is on, so nothing was rehearsed; {told}"
        elif self.ok:
            took = sum(step.seconds for step in self.steps)
            head = f"{self.blade} would boot: with {self.firmware} firmware, by packets alone, in {took:.1f} s"
            head += APART if self.apart else ""
        else:
            head = f"{self.blade} would not boot: {self.what}"
        lines = [head, *(f"  {_line(step)}" for step in self.steps)]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"  fix: {self.fix}"] if self.fix else lines)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self)


def _line(step: Attempt) -> str:
    file = f"{step.protocol} {step.path}, {size(step.size_b)}" if step.path else ""
    words = ": ".join(part for part in (file, step.what) if part)
    return f"{step.step:7}{step.seconds:8.3f} s  {words}"


def rehearse(running: Rehearsed, blade: Blade, *, firmware: str = "", if_on: str = "refuse") -> Rehearsal:
    """Walk the boot of a blade that is off. With ``if_on="record"``, one that is on is told from its record instead.

    ``firmware`` is one of ``bios``, ``ipxe``, ``uefi``, ``http``; the lab's own where it is empty. Raises ControlError
    when the blade is on or the lab is down, PowerError when its BMC does not say, ParameterError for a wrong firmware.
    """
    kind = firmware or default_firmware(running.lab, blade)
    if kind not in FIRMWARES:
        raise ParameterError(f"no firmware is called {kind!r}", fix=f"one of {', '.join(FIRMWARES)}")
    if _is_on(running, blade):
        if if_on == "record":
            return recorded(running.events(), blade.name, kind)
        raise ControlError(
            f"{blade.name} is on, and a rehearsal speaks with its card's address",
            fix=f"./lab why {blade.name} explains the boot it is in; ./lab power shutdown {blade.name} ends it",
        )
    since = max((event.seq for event in running.events()), default=0)
    answer = rpc.call(running.state.control, "rehearse", timeout_s=ANSWER_S, blade=blade.name, firmware=kind)
    tried = explained(verdict(blade.name, kind, answer["lines"]), events.read(running.state.events, after=since))
    tried = compared(tried, images.catalogue(running.lab), _digests(running.lab))
    return replace(tried, apart=running.lab.network.kind is NetworkKind.INTERFACE)


def _is_on(running: Rehearsed, blade: Blade) -> bool:
    """Whether a blade is on; where nobody can tell, as far as was heard of it."""
    state = running.power_state(blade)
    return state == "on" or (state == "unknown" and folding.fold_all(running.events()).blade(blade.name).seems_on)


def verdict(blade: str, firmware: str, lines: Iterable[Mapping[str, Any]]) -> Rehearsal:
    """A rehearsal from the lines of its walk, the last of which is the verdict."""
    *steps, end = lines
    return Rehearsal(blade, firmware, end["ok"], tuple(Attempt(**step) for step in steps), end["what"], end["fix"])


def explained(tried: Rehearsal, stream: Iterable[events.Event]) -> Rehearsal:
    """A rehearsal that failed, with the reason that the server gave in its events since."""
    mine = [event for event in stream if event.blade == tried.blade and event.boot == events.REHEARSAL]
    reasons = [event.reason for event in mine if isinstance(event, events.Dhcp | events.Transfer) and event.reason]
    if tried.ok or not reasons or reasons[-1] in tried.what:
        return tried
    return replace(tried, what=f"{tried.what}; the server says: {reasons[-1]}")


def compared(tried: Rehearsal, catalogue: Mapping[str, Path], digests: Mapping[str, str]) -> Rehearsal:
    """A rehearsal whose files are compared with those on disk: by digest, or by size where none is on record."""
    steps = []
    for step in tried.steps:
        path = catalogue.get(step.path)
        if path is not None:
            wanted_b = path.stat().st_size if path.is_file() else 0
            wanted = digests.get(step.path) or (digest_file(path) if path.is_file() and wanted_b < 1 << 22 else "")
            if step.size_b != wanted_b or (wanted and step.sha256 != wanted):
                what = f"{step.path} came as {step.size_b:,} bytes, and is not the file on disk ({wanted_b:,} bytes)"
                return replace(tried, ok=False, what=what, fix=REBUILD)
            word = "as on disk" if not digests.get(step.path) else "as built"
            step = replace(step, what=f"{step.what}, {word}" if step.what else word)
        steps.append(step)
    return replace(tried, steps=tuple(steps))


def recorded(stream: Iterable[events.Event], blade: str, firmware: str) -> Rehearsal:
    """What the present boot of a blade fetched, in the form of a rehearsal."""
    steps: list[Attempt] = []
    for event in stream:
        if event.blade != blade or event.boot == events.REHEARSAL:
            continue
        if isinstance(event, events.BootStarted):
            steps = []
        elif isinstance(event, events.Dhcp) and event.message == "REQUEST" and event.reply == "ACK":
            what = f"as {event.client}: {event.address}" + (f", boot file {event.file}" if event.file else "")
            steps.append(Attempt("dhcp", what))
        elif isinstance(event, events.Transfer) and event.state == "done" and event.sent_b:
            step = step_of(event.path)
            steps.append(Attempt(step, "", event.seconds, event.protocol, event.path, event.sent_b))
    return Rehearsal(blade, firmware, True, tuple(steps), recorded=True)


def _digests(lab: Lab) -> Mapping[str, str]:
    try:
        return images.image_digests(lab)
    except ImageError:
        return {}  # what is not built cannot be compared; the walk has said so already
