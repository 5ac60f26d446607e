"""What a machine boots that is not in the lab, where the lab has ``discover: true``: labos without Docker, which looks
at the machine, tells the lab once, and waits to be taken in. PURE.

It is the same for every such machine, and there is no secret in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address
from urllib.parse import quote

from labkit.boot.artifacts import units
from labkit.boot.artifacts.text import render_text
from labkit.boot.boot_plan import BootPlan, Resource, resources
from labkit.boot.systems import SYSTEMS, files_of
from labkit.lab import Blade, Bmc, BootMethod, Flavour, Lab
from labkit.lab.secret import Secret

METHOD = BootMethod.LPXELINUX
"""How it is brought up: this one has a loader for PXE ROMs, iPXE and UEFI, over HTTP where that is quick."""
UNIT = "labkit-discover.service"
WITHOUT = ("docker.service", "docker.socket", "containerd.service")
SCRIPTS = ("inventory", "discover")
MACHINE = Blade(name="machine", slot=0, macs=(), address=IPv4Address(0), bmc=Bmc(""), boot=METHOD, autologin=False)
"""What stands for all of them."""


def discovery_plan(lab: Lab) -> BootPlan:
    """The boot of any machine that is not in the lab. Its consoles are the usual ones and those of the lab's blades:
    the kernel leaves out what the machine does not have.
    """
    system, files = SYSTEMS[Flavour.LABOS], files_of(MACHINE, None)
    every = (console for blade in (MACHINE, *lab.blades) for console in blade.console)
    consoles = {console.partition(",")[0]: console for console in every}
    return BootPlan(
        blade=MACHINE.name,
        boot="",
        method=METHOD,
        os=Flavour.LABOS,
        nbp="",
        kernel=files.kernel,
        initrds=(*files.initrds, files.archive),
        arguments=(
            *system.first_boot,
            *system.arguments,
            *(f"systemd.mask={unit}" for unit in WITHOUT),
            *(f"console={console}" for console in consoles.values()),
        ),
        ignition=Secret(_config(lab)),
    )


def discovery_files(lab: Lab) -> Mapping[str, Resource]:
    """Every path that such a machine may ask for, as `labkit.boot.boot_plan.resources` has them for a blade."""
    return resources(lab, MACHINE, discovery_plan(lab))


def _config(lab: Lab) -> str:
    values = {"root": lab.network.http_root, "scripts": units.FOLDER}
    files = {f"{units.FOLDER}/{name}": (0o755, render_text(f"scripts/{name}", **values)) for name in SCRIPTS}
    files["/etc/hostname"] = (0o644, f"{MACHINE.name}\n")
    config = {
        "ignition": {"version": SYSTEMS[Flavour.LABOS].writes},
        "storage": {
            "files": [
                {"path": path, "mode": mode, "overwrite": True, "contents": {"source": "data:," + quote(text)}}
                for path, (mode, text) in files.items()
            ]
        },
        "systemd": {"units": [{"name": UNIT, "enabled": True, "contents": render_text(f"units/{UNIT}", **values)}]},
    }
    return json.dumps(config, sort_keys=True, separators=(",", ":"))
