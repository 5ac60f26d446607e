"""What to know of a lab's systems before a blade is switched on. PURE: the words of `labkit.boot.systems` for a lab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from labkit.boot.systems import HEIRS, NO_MEMORY_TOLD, SYSTEMS, needed_mib, too_small, untrusted
from labkit.lab import Flavour, Lab


@dataclass(frozen=True)
class Advice:
    """What is amiss, and what to do about it."""

    what: str
    fix: str


def least_mib(lab: Lab) -> int:
    """The memory that each blade has to have for the hungriest of the lab's systems to boot."""
    return max(map(needed_mib, lab.blades), default=0) or SYSTEMS[Flavour.LABOS].memory_mib


def memory_advice(lab: Lab, told_mib: Mapping[str, int] = NO_MEMORY_TOLD) -> list[Advice]:
    """For each blade that has too little memory for its system, as `labkit.boot.systems.too_small` knows it."""
    return [Advice(what, fix) for _, what, fix in too_small(lab, told_mib)]


def signature_advice(lab: Lab) -> list[Advice]:
    """For each blade with Secure Boot whose kernel shim refuses."""
    return [Advice(what, fix) for _, what, fix in untrusted(lab)]


def ended_advice(lab: Lab) -> list[Advice]:
    """For each system of a lab that is no longer made."""
    return list(_ended(lab))


def _ended(lab: Lab) -> Iterator[Advice]:
    for os in Flavour:
        names = [blade.name for blade in lab.blades if blade.os is os]
        if names and SYSTEMS[os].ended:
            yield Advice(f"{SYSTEMS[os].ended}; {', '.join(names)} boot{'s' if len(names) == 1 else ''} it", HEIRS)
