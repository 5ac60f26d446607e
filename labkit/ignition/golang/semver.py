"""Semantic versions as Go's tools read them: leading zeros and signs are taken, and three numbers are a must.

Source: coreos/go-semver.
"""

from __future__ import annotations

import re

_IDENTIFIER = re.compile(r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*")


def semver(text: str) -> str | None:
    """A semantic version, numbers made plain (``01.0.0`` is ``1.0.0``); None if it is none."""
    numbers, _, metadata = text.partition("+")
    numbers, _, pre_release = numbers.partition("-")
    parts = numbers.split(".", 2)
    if len(parts) != 3 or not all(re.fullmatch("[+-]?[0-9]{1,18}", part) for part in parts):
        return None
    if any(part and not _IDENTIFIER.fullmatch(part) for part in (metadata, pre_release)):
        return None
    shown = ".".join(str(int(part)) for part in parts)
    return shown + (f"-{pre_release}" if pre_release else "") + (f"+{metadata}" if metadata else "")
