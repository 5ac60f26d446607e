"""Where releases lie in the cache, and which of them is in use.

::

    <cache>/releases/<os>/<version>/    the files under their published names, signatures/, manifest.json
    <cache>/releases/<os>/current       the version in use, a line of text
    <cache>/releases/<os>/previous      the one before it
"""

from __future__ import annotations

import re
from pathlib import Path

CURRENT, PREVIOUS = "current", "previous"


def age(version: str) -> list[tuple[int, int, str]]:
    """Sorts versions, the oldest first: numbers in their order (3815.2.10 behind 3815.2.9), and words behind them."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"[.+_-]", version)]


def place_of(os: str, cache: Path) -> Path:
    """Where all releases of a system lie."""
    return cache / "releases" / os


def version_in_use(os: str, cache: Path, *, which: str = CURRENT) -> str:
    """The version in use, or the one before it; empty where there is none."""
    try:
        return (place_of(os, cache) / which).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
