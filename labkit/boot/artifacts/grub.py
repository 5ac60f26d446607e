"""``grub/grub.cfg`` and ``grub/grub.cfg-01-<mac>``: what GRUB reads to find its kernel.

Debian's signed GRUB for the network has ``/grub`` as its prefix and a configuration of its own inside, which reads
``grub/x86_64-efi/grub.cfg`` where that is there, and else ``grub/grub.cfg``. A GRUB without one inside asks by MAC,
then by IP address in hexadecimal, shortened digit by digit, and last for ``grub.cfg`` (GRUB manual, "Network").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labkit.boot.artifacts.text import render_text

CONFIG = "grub/grub.cfg"
TRIES = 3
"""So often a boot is tried before the machine begins anew; GRUB's TFTP asks many times in each."""
AGAIN_S = 20
"""So long what went wrong stands on the screen before that."""


def render_config(*, blade: str, kernel: str, initrds: Sequence[str], arguments: Sequence[str]) -> str:
    """A script that boots ``kernel`` with ``initrds`` over TFTP, all paths below the server's root.

    What does not work is tried again, and then the machine starts anew: nobody may sit at it.
    """
    return render_text(
        "grub.cfg",
        blade=blade,
        kernel="/" + kernel,
        initrds=["/" + path for path in initrds],
        arguments=[quoted(argument) for argument in arguments],
        tries=range(1, TRIES + 1),
        again_s=AGAIN_S,
    )


def config_name(mac: str) -> str:
    """The file a GRUB without a configuration inside asks for first: ``01-`` (Ethernet) and the MAC with dashes."""
    return f"{CONFIG}-01-" + mac.lower().replace(":", "-")


def quoted(argument: str) -> str:
    """A kernel argument as a word of GRUB's script, which has a shell's quotes (GRUB manual, "Quoting").

    For the kernel GRUB puts an argument with a blank between double quotes, and a backslash before a quote, which no
    kernel knows. So an argument goes without its double quotes: ``dyndbg="file a"`` arrives as ``"dyndbg=file a"``,
    which is the same to the kernel (`Documentation/admin-guide/kernel-parameters.rst`).
    """
    plain = argument.replace('"', "")
    if re.fullmatch(r"[A-Za-z0-9_.,:/=@%+-]+", plain):
        return plain
    return "'" + plain.replace("'", r"'\''") + "'"
