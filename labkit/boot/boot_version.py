"""What a boot brings, as one short word: two boots with the same one run the same image with the same config.

PURE. It tells which blades run what a boot would bring now, without a look into them: it counts all that decides what
runs, and nothing that is another in each boot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from labkit.boot.boot_plan import plan
from labkit.boot.overlay import BaseConfig, BootSecrets
from labkit.boot.systems import Release
from labkit.lab import Blade, Lab
from labkit.lab.secret import Secret

LENGTH = 16


def boot_version(
    lab: Lab,
    blade: Blade,
    base: BaseConfig | None = None,
    *,
    ca: str = "",
    release: Release | None = None,
    images: Mapping[str, str],
) -> str:
    """The version of what this blade would run after a boot now, as 16 hexadecimal digits.

    Kernel, image, kernel arguments and config count; the boot's identity, its ticket and the loader that brings it all
    do not. ``images`` tells the versions of image files by their served names (`labkit.images.identities`). Raises
    PlanError as `plan` does.
    """
    made = plan(lab, blade, "", BootSecrets(Secret("")), base, ca=ca, release=release)
    files = [images.get(name, "") for name in (made.kernel, *made.initrds, made.fetched) if name]
    config = made.ignition.reveal() if made.ignition is not None else ""
    whole = json.dumps([made.os, files, made.arguments, config])
    return hashlib.sha256(whole.encode()).hexdigest()[:LENGTH]
