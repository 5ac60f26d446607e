"""Amounts as a person reads them."""

from __future__ import annotations


def size(count_b: float) -> str:
    """Bytes for a person: ``670 B``, ``93.9 MB``; a kilobyte is 1,000 bytes."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count_b >= factor:
            return f"{count_b / factor:.1f} {unit}"
    return f"{count_b:.0f} B"


def room(mib: int) -> str:
    """Room for data, as much of it as one wants to know: ``820 MiB``, ``4.6 GiB``, ``45 GiB``."""
    if mib < 1024:
        return f"{mib} MiB"
    return f"{mib / 1024:.1f} GiB" if mib < 10 * 1024 else f"{mib / 1024:.0f} GiB"


def about(seconds: float) -> str:
    """A length of time as a person says it: ``2 days``, ``1 minute``; its sign does not count."""
    units = (("year", 31_557_600), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    unit, length_s = next(((unit, length) for unit, length in units if abs(seconds) >= length), units[-1])
    count = round(abs(seconds) / length_s)
    return f"{count} {unit}{'s' * (count != 1)}"
