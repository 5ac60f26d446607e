"""The systemd units and scripts that bring a blade into the swarm at boot and take it out again at shutdown.

Two mistakes of the article are put right here. Its join line lacked a space behind ``--token``; ours has no token on
any command line at all. Its leave unit was ordered before ``shutdown.target`` only, so nothing kept Docker and the
network alive while it ran; ours is ordered *after* them, and systemd stops units in the opposite order of their start
(systemd.unit(5), "Before=, After="), so the conversation with the lab happens while both still work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from labkit.boot.artifacts.text import render_text

JOIN_UNIT = "docker-swarm-join.service"
LEAVE_UNIT = "docker-swarm-leave.service"
HELLO_UNIT = "labkit-hello.service"
CLOCK_UNIT = "labkit-clock.service"
MEMBER_UNIT = "labkit-member.service"
MEMBER_TIMER = "labkit-member.timer"
PRUNE_UNIT = "labkit-prune.service"
PRUNE_TIMER = "labkit-prune.timer"
DISK_UNIT = "labkit-disk.service"
FAILED_UNIT = "labkit-failed@.service"
FAILED = "labkit-failed@%n.service"
"""That unit, as another one names it (systemd.unit(5), "Specifiers")."""
INVENTORY_UNIT = "labkit-inventory.service"
TIMED = {PRUNE_UNIT: PRUNE_TIMER, MEMBER_UNIT: MEMBER_TIMER}
"""Units that a timer starts, again and again."""
FOLDER = "/etc/labkit"
TALK = "lab.sh"
"""The script that the others source: how a blade talks to its lab."""
CA = f"{FOLDER}/ca.crt"
"""Where a blade has the certificate of the lab's authority, in a lab that speaks TLS."""
CONSOLE = "/dev/console"
NETWORKD = ("systemd-networkd.service", "systemd-resolved.service")
PLACES = {"folder": FOLDER, "console": CONSOLE, "data": "/var/lib/docker", "run": "/run"}
"""Where the scripts find and put things on a blade."""
WIPE = f"{FOLDER}/disk-wipe"
"""Where a blade has what a person lets this one boot wipe, by its mark."""
DISK_LABEL = "labkit-docker"
"""The label of a filesystem that is labkit's own: ext4 takes 16 bytes (mke2fs(8), -L)."""
SCRIPTS = (TALK, "clock.sh", "clock", "hello", "join", "leave", "prune", "member", "failed", "inventory", "hand-in")


@dataclass(frozen=True)
class UnitFile:
    """A unit, which is enabled at first boot unless another one starts it."""

    name: str
    contents: str
    enabled: bool = True


@dataclass(frozen=True)
class DropIn:
    """A part of a unit that the system has already: ``name`` ends in ``.conf`` (systemd.unit(5))."""

    unit: str
    name: str
    contents: str


@dataclass(frozen=True)
class Script:
    """A file for the blade: absolute path, permission bits, text."""

    path: str
    mode: int
    text: str


@cache
def swarm_units(scripts: str = FOLDER, network: tuple[str, ...] = NETWORKD) -> tuple[UnitFile, ...]:
    """The units: set the clock, say hello, join, leave, keep room, join again after having been put out, say what
    failed, and tell what the blade is made of.

    They run what lies in the folder ``scripts``, and are stopped before the units ``network``, which the blade's
    network is made by.
    """
    names = (CLOCK_UNIT, HELLO_UNIT, JOIN_UNIT, LEAVE_UNIT, FAILED_UNIT, *TIMED, *TIMED.values(), INVENTORY_UNIT)
    values = {"scripts": scripts, "network": " ".join(network), "failed": FAILED, "hello": HELLO_UNIT}
    started = (FAILED_UNIT, *TIMED)
    return tuple(UnitFile(name, render_text(f"units/{name}", **values), name not in started) for name in names)


FAILURES = (
    # Its own limit, of some starts in ten seconds, an engine that takes seconds to fail never reaches.
    DropIn(
        "docker.service", "10-labkit-failed.conf",
        f"[Unit]\nOnFailure={FAILED}\nStartLimitIntervalSec=300\nStartLimitBurst=5\n",
    ),
    DropIn("emergency.target", "10-labkit-failed.conf", f"[Unit]\nWants={FAILED}\n"),
)  # fmt: skip
"""What lets a blade say that its Docker does not start, or its system came up no further than to its emergency shell:
systemd starts `FAILED_UNIT` when a unit has failed for good, after its last restart (systemd.unit(5), OnFailure=)."""


@cache
def swarm_scripts(root: str, clear: str = "", scripts: str = FOLDER, *, disk: bool = False) -> tuple[Script, ...]:
    """The scripts in the folder ``scripts``, which speak to the lab below the URL ``root``; over HTTPS they believe its
    authority.

    They have the time from ``clear``, which is the same without TLS: a blade whose clock is wrong believes no
    certificate. With ``disk`` Docker may find again what it had before this boot. They need nothing but a POSIX shell,
    curl, GNU's core utilities, grep and sed, which Container Linux has.
    """
    values = {
        **PLACES, "root": root, "clear": clear or root, "scripts": scripts,
        "ca": CA if root.startswith("https://") else "", "disk": disk,
    }  # fmt: skip
    return tuple(Script(f"{scripts}/{name}", 0o755, render_text(f"scripts/{name}", **values)) for name in SCRIPTS)


def disk_script(device: str, scripts: str = FOLDER) -> Script:
    """The script that puts Docker's data on a disk that is labkit's, or empty.

    Beside what the other scripts use it needs util-linux and e2fsprogs, which all systems of the lab have.
    """
    text = render_text("scripts/disk", **PLACES, disk=device, label=DISK_LABEL)
    return Script(f"{scripts}/disk", 0o755, text)


def disk_unit(scripts: str = FOLDER) -> tuple[UnitFile, DropIn]:
    """The unit that runs that script before Docker, and what Docker has to know at a shutdown."""
    unit = UnitFile(DISK_UNIT, render_text(f"units/{DISK_UNIT}", scripts=scripts, hello=HELLO_UNIT))
    mounts = "var-lib-docker.mount var-lib-docker-swarm.mount"
    return unit, DropIn("docker.service", "10-labkit-disk.conf", f"[Unit]\nAfter={mounts}\n")


def autologin(consoles: Iterable[str]) -> tuple[DropIn, ...]:
    """A shell without password on each console, for a system that knows no kernel argument for it.

    As the kernel names them after ``console=``. VGA, ``tty0``, has its logins on ``tty1`` and on.
    """
    text = (
        "[Service]\nExecStart=\nExecStart=-/usr/sbin/agetty --autologin core --noclear "
        "--keep-baud 115200,57600,38400,9600 %I $TERM\n"
    )
    found = {}
    for console in consoles:
        name = console.partition(",")[0]
        virtual = name.removeprefix("tty").isdigit()
        unit = f"getty@{'tty1' if name == 'tty0' else name}.service" if virtual else f"serial-getty@{name}.service"
        found[unit] = DropIn(unit, "10-labkit-autologin.conf", text)
    return tuple(found.values())
