"""Whether this machine can run a lab: a few looks that need no root and change nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit import images, up
from labkit.errors import ImageError, MachineError
from labkit.images.store import check_sizes
from labkit.lab import ChassisKind, Lab

KVM = Path("/dev/kvm")
NEED_DISK_GB = 10
SPARE_MEMORY_MIB = 1536
"""What the lab's own servers and the engine take beside the blades."""


@dataclass(frozen=True)
class Finding:
    """One look: ``words`` say what was found, ``fix`` what to do where it is not good."""

    what: str
    good: bool
    words: str
    fix: str = ""


def look_at_machine(lab: Lab) -> tuple[Finding, ...]:
    """Look at programs, images, disk, memory, root and, for a virtual chassis, hardware virtualisation."""
    return tuple(_look(lab))


def _look(lab: Lab) -> Iterator[Finding]:
    yield _programs(lab)
    yield _images(lab)
    yield _disk()
    if lab.chassis.kind is ChassisKind.VIRTUAL:
        yield _memory(lab)
        yield _kvm()
    yield _root()


def _programs(lab: Lab) -> Finding:
    try:
        up.check_programs(lab)
    except MachineError as error:
        return Finding("programs", False, error.what, error.fix)
    return Finding("programs", True, "everything the lab runs is installed")


def _images(lab: Lab) -> Finding:
    try:
        for folder in {path.parent for name, path in images.catalogue(lab).items() if name.startswith("labos/")}:
            check_sizes(folder)
    except ImageError as error:
        return Finding("images", True, f"{error.what}: the first run builds it, which takes about ten minutes")
    return Finding("images", True, "built, and their files are all there")


def _disk() -> Finding:
    place = images.cache_folder()
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    fix = "" if free_gb >= NEED_DISK_GB else "free some space, or set LABKIT_CACHE to a folder on another disk"
    return Finding("disk", not fix, f"{free_gb:.0f} GB free at {place}, {NEED_DISK_GB} are enough", fix)


def _memory(lab: Lab) -> Finding:
    need = sum(blade.memory_mib for blade in lab.blades) + SPARE_MEMORY_MIB
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) // 1024
    fix = "" if free >= need else "boot fewer blades at once, or give them less with memory_mib in lab.yaml"
    return Finding("memory", not fix, f"{free} MiB free, {need} MiB for all blades and the lab's servers", fix)


def _kvm() -> Finding:
    if os.access(KVM, os.R_OK | os.W_OK):
        return Finding("virtualisation", True, "there is /dev/kvm; the lab tries it out and does without if it fails")
    why = "you may not use /dev/kvm" if KVM.exists() else "there is no /dev/kvm"
    return Finding("virtualisation", True, f"{why}: everything is emulated, and a boot takes 40 to 90 seconds")


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding("root", True, "you are root")
    done = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False) if shutil.which("sudo") else None
    if done is not None and done.returncode == 0:
        return Finding("root", True, "sudo works without asking")
    return Finding("root", False, "starting a lab needs root, and sudo would ask", "in a terminal: ./lab up")
