"""What a lab file says now, beside what a lab that is up was started with. PURE.

Blades come and go while a lab runs (`labkit.servers.changed_lab`); what else is changed waits for a restart. Two things
do not count: the chassis, of which only pictures speak, and a blade's ``config``, which is looked up at each boot
(`labkit.netboot.configd`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from labkit.lab.model import Blade, Lab

KEYS = {
    "lost_after_s": "lost_after", "window_s": "window", "drained": "controller", "roll_blade_s": "roll_blade",
    "folder": "share", "mirrors": "mirror", "memory_mib": "memory", "open": "",
}  # fmt: skip
"""Fields that ``lab.yaml`` calls by another name, or that are no key of their own."""
SECTIONS = ("network", "swarm", "storage", "images")
OTHERS = ("path", "chassis", "blades", *SECTIONS)


@dataclass(frozen=True)
class Changes:
    """``added`` and ``removed`` are blades; ``keys`` what else of ``lab.yaml`` is another, as ``network: dns``."""

    added: tuple[Blade, ...]
    removed: tuple[Blade, ...]
    keys: tuple[str, ...] = ()


def changes(old: Lab, new: Lab) -> Changes:
    """What is another in a lab file. A blade is the same by its name."""
    before, after = ({blade.name: blade for blade in lab.blades} for lab in (old, new))
    keys = _differing(old, new, OTHERS)
    for section in SECTIONS:
        keys += [f"{section}: {key}" for key in _differing(getattr(old, section), getattr(new, section))]
    for name in before.keys() & after.keys():
        keys += [f"{key} of {name}" for key in _differing(before[name], after[name], ("config",))]
    return Changes(
        added=tuple(blade for blade in new.blades if blade.name not in before),
        removed=tuple(blade for blade in old.blades if blade.name not in after),
        keys=tuple(sorted(dict.fromkeys(keys))),
    )


def _differing(old: Any, new: Any, but: tuple[str, ...] = ()) -> list[str]:
    """The keys of the fields in which two values of one dataclass differ."""
    fields = [field.name for field in dataclasses.fields(old) if field.name not in but]
    return [key for name in fields if getattr(old, name) != getattr(new, name) and (key := KEYS.get(name, name))]
