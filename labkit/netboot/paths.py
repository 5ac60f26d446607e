"""The names clients ask for, made plain."""

from __future__ import annotations

LONGEST = 512


def plain(path: str) -> str | None:
    """A path below the server's root without leading slashes, ``.`` and doubled slashes; ``\\`` counts as ``/``.

    None for a path that no file of ours can have: empty, too long, with ``..``, or with control characters.
    """
    if len(path) > LONGEST or any(ord(char) < 32 or ord(char) == 127 for char in path):
        return None
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
    return None if not parts or ".." in parts else "/".join(parts)
