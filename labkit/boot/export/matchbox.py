"""matchbox (https://matchbox.psdn.io): groups and profiles for blades that boot by iPXE. Its JSON has no comments, so
a text beside it says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from labkit.boot.boot_plan import BootPlan
from labkit.boot.export.rules import Wanted, cards, head, text
from labkit.errors import ParameterError
from labkit.lab import Blade, BootMethod

FOLDER = "/var/lib/matchbox"
ASSETS = f"{FOLDER}/assets"
"""What it serves below ``/assets``."""

Plans = Mapping[str, BootPlan]
"""The blades' plans, by name."""


def render(wanted: Wanted, plans: Callable[[], Plans]) -> Mapping[str, str]:
    """The files below matchbox's data folder; ``files`` of ``wanted`` is the folder of its assets.

    Raises ParameterError for a blade that boots by anything but iPXE, before any plan is made.
    """
    others = [blade for blade in wanted.lab.blades if blade.boot is not BootMethod.IPXE]
    if others:
        what = f"matchbox boots by iPXE, and lab.yaml has boot: {others[0].boot}"
        raise ParameterError(what, where=others[0].name, fix="write boot: ipxe in lab.yaml; or ./lab export nginx")
    network = wanted.lab.network
    address = f"{network.server}:{network.http_port}"
    copied = [
        f"Copy groups/ and profiles/ to {FOLDER}/, and let matchbox answer where the lab's own server does:",
        f"MATCHBOX_ADDRESS={address}. DHCP and TFTP are another server's, such as ./lab export dnsmasq, which sends",
        f"iPXE to {network.http_root}/boot.ipxe: matchbox's own script. It has no loader for UEFI HTTP boot.",
    ]
    files = {"README.txt": text(head(wanted, "matchbox", copied))}
    made = plans()
    for blade in wanted.lab.blades:
        profile = _profile(made[blade.name], f"/assets/{blade.name}", network.http_root)
        files[f"profiles/{blade.name}.json"] = _json(profile)
        for name, mac in cards(blade):
            files[f"groups/{name}.json"] = _json(_group(blade, name, mac))
    return files


def _group(blade: Blade, name: str, mac: str) -> dict[str, object]:
    return {"id": name, "name": name, "profile": blade.name, "selector": {"mac": mac}}


def _profile(plan: BootPlan, root: str, http_root: str) -> dict[str, object]:
    """A boot as matchbox writes it into iPXE's script. What a system fetches itself lies among the assets, too."""
    names = [path.rsplit("/", 1)[-1] for path in plan.initrds]
    arguments = [argument.replace(f"{http_root}/", f"{http_root}{root}/") for argument in plan.arguments]
    return {
        "id": plan.blade,
        "name": plan.blade,
        "boot": {
            "kernel": f"{root}/{plan.kernel}",
            "initrd": [f"--name {name} {root}/{path}" for name, path in zip(names, plan.initrds, strict=True)],
            "args": [*(f"initrd={name}" for name in names), *arguments],
        },
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
