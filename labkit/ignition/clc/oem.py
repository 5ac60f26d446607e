"""Where an ``oem:///`` config goes on today's systems.

Container Linux read ``oem:///x`` from /usr/share/oem/x of its initramfs, then from the OEM partition. Flatcar still
knows the scheme, but only the first place. Fedora CoreOS does not: its live system takes /config.ign of an initrd.

Sources: flatcar/scripts, patches 0012 to 0016 of sys-apps/ignition; fedora-coreos-config, 35coreos-ignition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..report import IgnitionError

System = Literal["flatcar", "fcos"]


@dataclass(frozen=True)
class Carried:
    """How a config reaches the machine: its path in an extra initrd, and the kernel argument that names it, if any."""

    initrd_path: str
    argument: str

    def __str__(self) -> str:
        named = f"named by the kernel argument {self.argument}" if self.argument else "named by no kernel argument"
        return f"the config is {self.initrd_path} of an extra initrd, {named}"


def carry(url: str, system: System) -> Carried:
    """Move a boot's ``coreos.config.url=oem:///NAME`` to a system of today. Raises `IgnitionError` for another URL."""
    name = url.removeprefix("oem:///")
    if name == url or not name or ".." in name.split("/"):
        raise IgnitionError(f"{url} does not name a file of the OEM folder", fix="oem:///NAME")
    if system == "fcos":
        return Carried("config.ign", "")
    return Carried(f"usr/share/oem/{name}", f"ignition.config.url={url}")
