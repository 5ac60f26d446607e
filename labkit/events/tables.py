"""States of blades as tables in plain text, and for programs. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.events.blade_kinds import DOCKER
from labkit.events.stages import STAGES, BladeState, LabState
from labkit.lab import Lab


def summary(blade: BladeState) -> dict[str, Any]:
    """A blade's state for JSON: its marks and words, its stage and step, and what each step took and fetched."""
    plain = {key: value for key, value in vars(blade).items() if isinstance(value, str | int | float)}
    steps = [
        {
            "step": step.name,
            "began": step.began,
            "seconds": round(step.seconds, 3) if step.ended else None,
            "files": step.fetched.files,
            "bytes": step.fetched.sent_b,
            "bytes_per_s": round(step.fetched.rate_b_s),
        }
        for step in blade.steps()
    ]
    told = {"trouble": blade.trouble, "stage": blade.stage, "step": blade.step}
    return {**plain, **told, "total_s": round(blade.total_s, 3), "steps": steps}


def grid(head: list[str], rows: list[list[str]], width: int | None = None) -> str:
    """A table in plain text; columns as wide as they need. Those that do not fit into a ``width``, in letters, go on
    below, in tables that begin with the first column again.
    """
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    parts: list[list[int]] = [[0]]
    for column in range(1, len(head)):
        part = parts[-1]
        if width and len(part) > 1 and sum(widths[one] + 2 for one in part) + widths[column] > width:
            parts.append([0])
        parts[-1].append(column)
    return "\n\n".join(_part(lines, {column: widths[column] for column in part}) for part in parts)


def _part(lines: list[list[str]], widths: Mapping[int, int]) -> str:
    """Some columns of a table, each with its width."""
    text = ["  ".join(line[column].ljust(width) for column, width in widths.items()).rstrip() for line in lines]
    return "\n".join([text[0], "  ".join("─" * width for width in widths.values()), *text[1:]])


def _place(blade: BladeState) -> str:
    stage = "put out" if blade.removed else blade.stage
    if blade.failed is not None:
        return f"{stage}: {'no Docker' if blade.failed.unit == DOCKER else 'failed'}"
    return f"{stage}, held" if blade.held else stage


def table(
    lab: Lab, state: LabState, extra: Mapping[str, Mapping[str, str]] | None = None, width: int | None = None
) -> str:
    """The blades of a lab: MAC, address, seconds per stage, and further columns (blade to title to text); as wide as
    `grid` has it."""
    more = extra or {}
    titles = list(dict.fromkeys(title for cells in more.values() for title in cells))
    head = ["blade", "MAC", "address", *(f"{name} s" for name in STAGES), "total s", "stage", *titles]
    rows = []
    for blade in lab.blades:
        now = state.blade(blade.name)
        took = now.seconds()
        rows.append(
            [blade.name, blade.macs[0], now.address or str(blade.address)]
            + [f"{took[name]:.1f}" if name in took else "-" for name in STAGES]
            + [f"{now.total_s:.1f}" if now.total_s else "-", _place(now)]
            + [more.get(blade.name, {}).get(title, "-") for title in titles]
        )
    return grid(head, rows, width)
