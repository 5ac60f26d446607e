"""``pxelinux.cfg/default`` and ``pxelinux.cfg/01-<mac>``: what PXELINUX reads to find its kernel.

PXELINUX asks for its configuration by client UUID, then by hardware type and MAC, then by IP address in hexadecimal,
shortened digit by digit, then for ``default`` (https://wiki.syslinux.org/wiki/index.php?title=PXELINUX).
"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.boot.artifacts.text import render_text


def render_config(*, label: str, kernel: str, initrds: Sequence[str], arguments: Sequence[str], hint: str = "") -> str:
    """A PXELINUX configuration that boots one label after a second and a half, or at once on Enter.

    ``initrds`` are loaded one behind the other; ``hint`` stands as a comment above the kernel's arguments.
    """
    return render_text(
        "pxelinux.cfg", label=label, kernel=kernel, initrds=list(initrds), arguments=list(arguments), hint=hint
    )


def config_name(mac: str) -> str:
    """The file PXELINUX asks for first that we serve: ``01-`` (Ethernet, RFC 1700) and the MAC with dashes."""
    return "pxelinux.cfg/01-" + mac.lower().replace(":", "-")


def render_message(*, blade: str, os: str) -> str:
    """``boot.msg``, shown above the prompt. Plain ASCII with CRLF: it goes to a firmware's text console."""
    return render_text("boot.msg", blade=blade, os=os).replace("\n", "\r\n")
