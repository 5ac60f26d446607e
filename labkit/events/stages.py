"""How far each blade is: the stream of events folded into one small state a blade.

Nothing is looked at but events, so a boot that is running, one that is over and one from a kept record are told alike.
The stages of a boot, in order, each ending where the next begins, and the steps they are made of:

==============  ===================================================================================  ==================
stage           until                                                                                steps
==============  ===================================================================================  ==================
``firmware``    the blade's first DHCP message                                                       firmware
``loader``      the kernel is asked for: boot loader and its configuration                           dhcp loader config
``kernel``      the first process runs: kernel and initrds are fetched, the kernel starts, unpacks   kernel initrd
``ignition``    Ignition has written the config                                                      ignition
``system``      the operating system says that it is up                                              os
``join``        the blade is in the swarm                                                            join
==============  ===================================================================================  ==================

A step begins with the first thing seen of it: DHCP with a message, loader to initrd with the first request for such a
file, ``os`` where Ignition ended, ``join`` when the operating system said that it is up. A step that a boot method does
not have, or of which a blade told nothing, is left out, and its time belongs to the step before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit import events
from labkit.lab import Blade

STEPS_OF: Mapping[str, tuple[str, ...]] = {
    "firmware": ("firmware",), "loader": ("dhcp", "loader", "config"), "kernel": ("kernel", "initrd"),
    "ignition": ("ignition",), "system": ("os",), "join": ("join",),
}  # fmt: skip
"""The steps of each stage."""
STAGES = tuple(STEPS_OF)
STEPS = tuple(step for steps in STEPS_OF.values() for step in steps)


def step_of(path: str) -> str:
    """The step that fetches a file: ``kernel``, ``initrd``, ``config`` or ``loader``, told by the file's name."""
    *folders, name = path.split("/")
    if folders[:1] == ["custom"]:  # a system of a person's own, whose files are called anything
        return "kernel" if folders[2:] == ["kernel"] else "initrd"
    if "vmlinuz" in name or "live-kernel" in name:
        return "kernel"
    if ".cpio" in name or "initrd" in name or "initramfs" in name or "rootfs" in name:
        return "initrd"
    if "pxelinux.cfg/" in path or "grub.cfg" in name or name.endswith((".ipxe", ".cfg", ".msg")):
        return "config"
    return "loader"


_TRIED = re.compile(r"grub/[^/]+/[^/]+\.(lst|cfg)|(.*/)?(revocations_\w+|shim_certificate_\d+)\.efi|(.*/)?grub\.cfg-.+")


def is_only_tried(path: str) -> bool:
    """Whether shim or GRUB asks for a file that they do as well without."""
    return _TRIED.fullmatch(path) is not None


@dataclass(frozen=True)
class Fetched:
    """The files a step has fetched whole: how many, their bytes, and the seconds their transfers took together."""

    files: int = 0
    sent_b: int = 0
    seconds: float = 0.0

    @property
    def rate_b_s(self) -> float:
        """Bytes a second while something was on its way, 0 where nothing was."""
        return self.sent_b / self.seconds if self.seconds else 0.0


NOTHING = Fetched()


@dataclass(frozen=True)
class Step:
    """One step of a boot. ``ended`` is 0 while it goes on."""

    name: str
    began: float
    ended: float
    fetched: Fetched = NOTHING

    @property
    def seconds(self) -> float:
        """How long it took, 0 while it goes on."""
        return max(0.0, self.ended - self.began) if self.ended else 0.0


@dataclass(frozen=True)
class BladeState:
    """One blade's present boot. Times are wall-clock seconds, 0 where it has not happened; ``sent_b`` is bytes served.
    ``doing`` says in words what was last seen of it, ``heard`` when. ``network`` is when its operating system asked for
    an address, ``over`` when its power went and ``cut`` whether somebody cut it. ``leaving`` says that its system shuts
    down in order. ``before`` are the boots in a row that ended before this one without anybody's doing and without a
    word, oldest first: a blade that boots again and again has several. ``fetching`` are the transfers that go on, by
    path; ``refused`` the last files it did not get; ``full`` says that Docker's room on it is, ``clock`` by how much
    its clock was wrong, in words, ``got`` when the last file it fetched had arrived, ``removed`` when the swarm took it
    off its list while it ran, and ``held`` why it gets no kernel, empty where it does. ``without_disk`` says why Docker
    is not on the disk that it has, ``failed`` what of its system is down for good, as Docker that does not start.
    ``measured`` is what its controller told last, from boot to boot, ``inventory`` what the blade told last that it is
    made of, in this boot or one before, and ``lost`` what it had before this boot and has no longer.
    """

    blade: str
    boot: str = ""
    power: str = "off"
    began: float = 0.0
    dhcp: float = 0.0
    loader: float = 0.0
    config: float = 0.0
    kernel: float = 0.0
    initrd: float = 0.0
    network: float = 0.0
    init: float = 0.0
    ignition: float = 0.0
    os: float = 0.0
    joined: float = 0.0
    left: float = 0.0
    over: float = 0.0
    cut: bool = False
    leaving: bool = False
    heard: float = 0.0
    address: str = ""
    mac: str = ""
    sent_b: int = 0
    doing: str = ""
    fetched: Mapping[str, Fetched] = field(default_factory=dict)
    fetching: Mapping[str, events.Transfer] = field(default_factory=dict)
    refused: tuple[events.Transfer, ...] = ()
    asked: events.Dhcp | None = None
    ticket: events.Ticket | None = None
    stuck: events.Stuck | None = None
    troubled: events.Trouble | None = None
    full: events.Space | None = None
    clock: str = ""
    got: float = 0.0
    removed: float = 0.0
    before: tuple[BladeState, ...] = ()
    held: str = ""
    without_disk: events.Trouble | None = None
    measured: events.Measured | None = None
    failed: events.UnitFailed | None = None
    inventory: events.Inventoried | None = None
    lost: tuple[events.HardwareChange, ...] = ()

    @property
    def trouble(self) -> str:
        """What went wrong last, in words."""
        if self.failed is not None:
            return str(self.failed)
        return self.troubled.detail if self.troubled is not None else ""

    @property
    def hot(self) -> str:
        """Which of its temperatures are above its controller's limits, in words; empty where none is."""
        return self.measured.hot if self.measured is not None else ""

    @property
    def seems_on(self) -> bool:
        """Whether it has power, as far as was heard: a blade that left in order is about to lose it."""
        return self.power == "on" and not self.left

    @property
    def is_unbelieving(self) -> bool:
        """Whether it could not speak to the lab over HTTPS when it last tried."""
        return self.troubled is not None and self.troubled.part == events.TLS

    @property
    def stage(self) -> str:
        """The stage it is in, ``joined`` when it is through, ``left`` or ``off``."""
        if self.power == "off":
            return "off"
        if self.left:
            return "left"
        if self.joined:
            return "joined"
        marks = (self.dhcp, self.kernel, self.init, self.ignition, self.os)
        for name, mark in zip(STAGES, marks, strict=False):
            if not mark:
                return name
        return "join"

    @property
    def step(self) -> str:
        """The step it is in, as finely as can be told now; ``joined``, ``left`` or ``off`` as in `stage`."""
        stage = self.stage
        if stage in ("off", "left", "joined"):
            return stage
        steps = self.steps()
        return steps[-1].name if steps else "firmware"

    def seconds(self) -> dict[str, float]:
        """Seconds per finished stage. A stage whose end the blade cannot tell is counted in the one after it."""
        marks = (self.dhcp, self.kernel, self.init, self.ignition, self.os, self.joined)
        result = {}
        since = self.began
        for name, mark in zip(STAGES, marks, strict=True):
            if mark and since:
                result[name] = max(0.0, mark - since)
                since = mark
        return result

    def steps(self) -> tuple[Step, ...]:
        """The steps so far, in order, each beginning where the one before it ends."""
        marks = (
            self.began, self.dhcp, self.loader, self.config, self.kernel, self.initrd, self.init,
            self.ignition or self.network, self.os,
        )  # fmt: skip
        begun: list[tuple[str, float]] = []
        for name, mark in zip(STEPS, marks, strict=True):
            if mark and (not begun or mark >= begun[-1][1]):
                begun.append((name, mark))
        ends = [mark for _, mark in begun[1:]] + [self.joined]
        return tuple(
            Step(name, began, ended, self.fetched.get(name, NOTHING))
            for (name, began), ended in zip(begun, ends, strict=False)
        )

    def fetch_s(self, step: str = "") -> float:
        """Seconds for which files came, those of one step or all; of one on its way, until some of it arrived last."""
        whole = sum(files.seconds for name, files in self.fetched.items() if step in ("", name))
        parts = (*self.fetching.values(), *self.refused)
        return whole + sum(one.seconds for one in parts if step in ("", step_of(one.path)))

    @property
    def total_s(self) -> float:
        """Power-on to joined, 0 while that has not happened."""
        return self.joined - self.began if self.joined and self.began else 0.0


def is_handed_over(blade: Blade, state: BladeState) -> bool:
    """Whether a blade has its kernel and its archives, and a system that will tell the lab nothing more."""
    if blade.is_node or blade.custom is None or state.power == "off":
        return False
    kernels, archives = (state.fetched.get(step, NOTHING).files for step in ("kernel", "initrd"))
    return kernels > 0 and archives >= len(blade.custom.initrds)


@dataclass(frozen=True)
class LabState:
    """All blades by name, whether the lab is up, and what concerns no single blade.

    ``swarm`` is when there was a swarm first, ``silent`` what was told of one that does not answer, None where it does;
    ``strangers`` the machines that asked and are not in the lab, by MAC,
    ``dead`` the parts that do not run. ``deaths`` are, by part, the last in a row for the same reason.
    """

    up: bool = False
    blades: Mapping[str, BladeState] = field(default_factory=dict)
    swarm: float = 0.0
    silent: events.Swarm | None = None
    strangers: Mapping[str, events.UnknownMachine] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()
    deaths: Mapping[str, tuple[events.Part, ...]] = field(default_factory=dict)

    def blade(self, name: str) -> BladeState:
        """A blade's state; one that was never heard of is off."""
        return self.blades.get(name, BladeState(name))
