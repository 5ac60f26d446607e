"""The systemd units and scripts that bring a blade into the swarm at boot and take it out again at shutdown.

Two mistakes of the article are put right here. Its join line lacked a space behind ``--token``; ours has no token on
any command line at all. Its leave unit was ordered before ``shutdown.target`` only, so nothing kept Docker and the
network alive while it ran; ours is ordered *after* them, and systemd stops units in the opposite order of their start
(systemd.unit(5), "Before=, After="), so the conversation with the lab happens while both still work.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from labkit.boot.artifacts.text import render_text

JOIN_UNIT = "docker-swarm-join.service"
LEAVE_UNIT = "docker-swarm-leave.service"
HELLO_UNIT = "labkit-hello.service"
FOLDER = "/etc/labkit"
TALK = f"{FOLDER}/lab.sh"
CA = f"{FOLDER}/ca.crt"
"""Where a blade has the certificate of the lab's authority, in a lab that speaks TLS."""
CONSOLE = "/dev/console"


@dataclass(frozen=True)
class UnitFile:
    """A unit that is enabled at first boot."""

    name: str
    contents: str


@dataclass(frozen=True)
class Script:
    """A file for the blade: absolute path, permission bits, text."""

    path: str
    mode: int
    text: str


@cache
def swarm_units() -> tuple[UnitFile, ...]:
    """The units: say hello, join, leave."""
    return tuple(UnitFile(name, render_text(name, folder=FOLDER)) for name in (HELLO_UNIT, JOIN_UNIT, LEAVE_UNIT))


@cache
def swarm_scripts(root: str) -> tuple[Script, ...]:
    """The scripts the units run, which speak to the lab below the URL ``root``; over HTTPS they believe its authority.

    They need nothing but a POSIX shell, curl and sed, which Container Linux has.
    """
    ca = CA if root.startswith("https://") else ""
    return tuple(
        Script(f"{FOLDER}/{name}", 0o755, render_text(name, root=root, folder=FOLDER, ca=ca, console=CONSOLE))
        for name in ("lab.sh", "hello", "join", "leave")
    )
