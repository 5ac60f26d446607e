"""The names clients ask for, made plain."""

from __future__ import annotations

import re

LONGEST = 512
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def plain(path: str) -> str | None:
    """A path below the server's root without leading slashes, ``.`` and doubled slashes; ``\\`` counts as ``/``.

    None for a path that no file of ours can have: empty, too long, with ``..``, or with control characters.
    """
    if len(path) > LONGEST or CONTROL.search(path):
        return None
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    return None if not parts or ".." in parts else "/".join(parts)
