"""What changed from one run to another: parameters, versions, the bytes that were served, and how long everything took.

PURE: two records in, words out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.events.stages import STAGES
from labkit.events.tables import grid

SIGNIFICANT_S = 0.05


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, bool]:
    """A text, and whether both runs did the same: the same parameters and the same bytes. Times may always differ."""
    parts, same = [], True
    for title, key in (("Parameters", "parameters"), ("What was served", "artifacts"), ("Images", "images")):
        rows = list(_changed(before[key], after[key]))
        same = same and not rows
        parts.append(_part(title, rows, "no difference"))
    parts.append(_part("Versions", list(_changed(before["versions"], after["versions"])), "no difference"))
    parts.append(_part("Seconds", list(_times(before, after)), "none were measured"))
    return "\n\n".join(parts), same


def _part(title: str, rows: list[list[str]], nothing: str) -> str:
    return f"{title}: {nothing}" if not rows else f"{title}\n{grid(['', 'before', 'after', ''], rows)}"


def _changed(before: Any, after: Any, name: str = "") -> Iterator[list[str]]:
    """A row for each leaf of two trees that differs."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _changed(before.get(key), after.get(key), f"{name} {key}".strip())
    elif before != after:
        yield [name, _word(before), _word(after), ""]


def _word(value: Any) -> str:
    if value is None:
        return "-"
    word = value if isinstance(value, str) else json.dumps(value)
    return word[:16] if len(word) == 64 else word  # the first digits of a SHA-256 are enough to tell it


def _times(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[list[str]]:
    yield _time("the whole run", before["seconds"], after["seconds"])
    old = {row["name"]: row["seconds"] for row in before["chapters"]}
    for row in after["chapters"]:
        if row["name"] in old:
            yield _time(row["name"], old[row["name"]], row["seconds"])
    for blade, now in after["blades"].items():
        then = before["blades"].get(blade, {}).get("seconds", {})
        for stage in STAGES:
            if stage in then and stage in now["seconds"]:
                yield _time(f"{blade} {stage}", then[stage], now["seconds"][stage])


def _time(name: str, before: float, after: float) -> list[str]:
    change = after - before
    words = "" if abs(change) < SIGNIFICANT_S else f"{change:+.1f}"
    return [name, f"{before:.1f}", f"{after:.1f}", words]
