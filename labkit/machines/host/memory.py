"""Whether the blades of a virtual lab fit into this machine's memory, and what would."""

from __future__ import annotations

import re
from pathlib import Path

from labkit.lab import ChassisKind, Lab

LAB_MIB = 1500
"""What the lab's own servers and engine take beside the blades."""
LEAST_MIB = 1536
"""The least a blade of the blade OS boots with: its system and its images live in memory."""


def available_mib(text: str | None = None) -> int:
    """Memory that is free or can be made free, in MiB (proc(5), meminfo); ``text`` is what that says."""
    printed = Path("/proc/meminfo").read_text() if text is None else text
    found = re.search(r"^MemAvailable:\s+(\d+) kB", printed, re.MULTILINE)
    return int(found[1]) >> 10 if found else 0


def wanted_mib(lab: Lab) -> int:
    """What a virtual lab takes with all its blades on; 0 for a real one."""
    if lab.chassis.kind is not ChassisKind.VIRTUAL:
        return 0
    return LAB_MIB + sum(blade.memory_mib for blade in lab.blades)


def shortage(lab: Lab, free_mib: int, least_mib: int = LEAST_MIB) -> tuple[str, str]:
    """What is lacking and what to do about it; twice nothing where all blades fit. ``least_mib`` is what the hungriest
    system of theirs needs.
    """
    wanted = wanted_mib(lab)
    if free_mib >= wanted:
        return "", ""
    what = f"{free_mib:,} MiB are free; the blades take {wanted - LAB_MIB:,}, the lab {LAB_MIB:,}"
    fit, all_of_them = max(0, free_mib - LAB_MIB) // least_mib, len(lab.blades)
    if fit >= all_of_them:
        return what, f"memory: {least_mib}M at the top of lab.yaml: with that all {all_of_them} fit"
    if fit:
        return what, f"fewer blades at once: with memory: {least_mib}M at the top of lab.yaml there is room for {fit}"
    return what, f"end other programs: one blade with its lab needs {LAB_MIB + least_mib:,} MiB"
