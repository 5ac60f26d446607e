"""What a blade gets that is held: an explanation on its screen, and no kernel.

Its loader asks again every two minutes, so that a blade that is let go boots by itself.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from labkit.boot.artifacts import grub, pxelinux
from labkit.boot.artifacts.text import render_text, screen_line
from labkit.boot.boot_plan import Rendered, Resource
from labkit.boot.loaders import FILES, SCRIPT, SIGNED
from labkit.lab import Blade, Lab

AGAIN_S = 120
WIDTH = 76
"""Columns of a firmware's text console, less a margin."""


def resources(lab: Lab, blade: Blade, why: str, files: Mapping[str, Resource]) -> Mapping[str, Resource]:
    """Of the files of a boot the loaders, with configurations that say ``why`` it is held."""
    lines = [
        *textwrap.wrap(f"{blade.name} is held: {why}", WIDTH),
        "It gets no kernel. On the machine that runs labkit:",
        f"  ./lab why {blade.name}            says where its boots end",
        f"  ./lab power release {blade.name}  lets it boot again",
        f"It asks again every {AGAIN_S} seconds.",
    ]
    plain = [screen_line(line) for line in lines]
    quoted = [grub.quoted(line) for line in plain]
    signed = Rendered(render_text("held.grub.cfg", blade=blade.name, lines=quoted, again_s=AGAIN_S).encode())
    menu = Rendered(render_text("held.cfg", blade=blade.name, again_s=AGAIN_S).encode())
    script = render_text("held.ipxe", lines=plain, root=lab.network.http_root, script=SCRIPT, again_s=AGAIN_S)
    message = "\r\n" + "".join(f"  {line}\r\n" for line in plain) + "\r\n"
    return {
        **{name: files[name] for name in (*FILES, *SIGNED) if name in files},
        "boot.msg": Rendered(message.encode("ascii")),
        SCRIPT: Rendered(script.encode()),
        "pxelinux.cfg/default": menu,
        **{pxelinux.config_name(mac): menu for mac in blade.macs},
        grub.CONFIG: signed,
        **{grub.config_name(mac): signed for mac in blade.macs},
    }
