"""Amounts as a person reads them."""

from __future__ import annotations


def size(count_b: float) -> str:
    """Bytes for a person: ``670 B``, ``93.9 MB``; a kilobyte is 1,000 bytes."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count_b >= factor:
            return f"{count_b / factor:.1f} {unit}"
    return f"{count_b:.0f} B"
