"""What blades without a network say of it: the last lines of their consoles, where the lab has those.

A blade whose system has no driver for its card, or whose Ignition stopped the boot, tells nobody but its console. The
consoles of virtual blades are files of the lab, so the lab reads there what a person would.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from labkit.events import Event, Trouble

PART = "console"
MOST_B = 1 << 20
"""So much of a console is read at once; a blade that says more in a moment says nothing to us in it."""

_KERNEL = re.compile(r"\[ *\d+\.\d+\] labos: (.*?)\s*$", re.MULTILINE)
"""A line of the blade OS in the kernel's log: it goes to every console, so one of them has each line once."""
_NO_DRIVER = re.compile(r"network: NO CARD\b[^;]*(?:; PCI ids without driver: ?(.*))?")
_NO_ADDRESS = re.compile(r"network: no address yet; ?(.*?);?$")
_STOPPED = re.compile(r"BOOT STOPPED: (.*)")


class Consoles:
    """Reads what is new on each blade's console, by its path."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._read_b: dict[str, int] = {}
        self.follow(paths)

    def follow(self, paths: Mapping[str, Path]) -> None:
        """Read these from now on; one that was not read before from its end."""
        self._paths = paths
        self._read_b = {blade: self._read_b.get(blade, size(path)) for blade, path in paths.items()}

    def read(self) -> list[Event]:
        """What was said since the last time that a person should hear."""
        found: list[Event] = []
        for blade, path in self._paths.items():
            found += [trouble for line in _KERNEL.findall(self._new(blade, path)) if (trouble := heard(blade, line))]
        return found

    def _new(self, blade: str, path: Path) -> str:
        """The whole lines that came since."""
        length = size(path)
        if length < self._read_b[blade]:
            self._read_b[blade] = 0
        start = max(self._read_b[blade], length - MOST_B)
        if start == length:
            return ""
        with path.open("rb") as file:
            file.seek(start)
            lines, newline, _ = file.read(length - start).rpartition(b"\n")
        self._read_b[blade] = start + len(lines) + len(newline)
        return lines.decode(errors="replace").replace("\r", "")


def size(path: Path) -> int:
    """The bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def heard(blade: str, line: str) -> Trouble | None:
    """What a line of the blade OS means for a person; None for one that is only told in passing."""
    console = f"./lab console {blade} --log has all that it said"
    if match := _NO_DRIVER.match(line):
        ids = f": {match[1]} (PCI ids)" if match[1] else ""
        fix = "boot it by a card that labos has a driver for, or with another system (os: in lab.yaml)"
        return Trouble(blade=blade, part=PART, detail=f"its system has no driver for its network card{ids}", fix=fix)
    if match := _NO_ADDRESS.match(line):
        fix = f"plug the cable into a card of its macs: in lab.yaml; {console}"
        return Trouble(blade=blade, part=PART, detail=f"its system gets no address: {match[1]}", fix=fix)
    if match := _STOPPED.match(line):
        return Trouble(blade=blade, part=PART, detail=f"its system stopped the boot: {match[1]}", fix=console)
    return None
