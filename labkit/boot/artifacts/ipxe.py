"""The iPXE script: kernel and initrds over HTTP, tried again when the network falters (https://ipxe.org/scripting)."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.boot.artifacts.text import render_text


def render_script(*, blade: str, root: str, kernel: str, initrds: Sequence[str], arguments: Sequence[str]) -> str:
    """A script that boots ``kernel`` with ``initrds``, all paths below the URL ``root``.

    UEFI kernels find their initrds by name, so each is named on the command line too; BIOS kernels ignore that.
    """
    names = [path.rsplit("/", 1)[-1] for path in initrds]
    return render_text(
        "boot.ipxe",
        blade=blade,
        root=root,
        kernel=kernel,
        initrds=list(zip(names, initrds, strict=True)),
        arguments=[*(f"initrd={name}" for name in names), *arguments],
    )
