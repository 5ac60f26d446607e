"""How requests spread over replicas, as bars."""

from __future__ import annotations

from collections.abc import Mapping

from labkit.pictures.svg import BLUE, FAINT, LINE, Picture, rect, shorten, text

LEFT_PX, BAR_PX, ROW_PX = 190, 380, 26


def draw_request_bars(counts: Mapping[str, int], *, title: str = "Requests by replica") -> Picture:
    """A bar a replica, as long as its share of the most-asked one."""
    most, total = max([1, *counts.values()]), max(1, sum(counts.values()))
    rows, lines = [], []
    for number, (name, count) in enumerate(sorted(counts.items())):
        y = number * ROW_PX
        share = f"{count} ({100 * count / total:.0f} %)"
        rows.append(text(0, y + 17, shorten(name, 27)))
        rows.append(rect(LEFT_PX, y + 4, BAR_PX, 18, FAINT, edge=LINE, radius=3))
        rows.append(rect(LEFT_PX, y + 4, BAR_PX * count / most, 18, BLUE, radius=3, tip=f"{name}: {share}"))
        rows.append(text(LEFT_PX + BAR_PX + 10, y + 17, share))
        lines.append(f"{name:30} {'█' * round(24 * count / most):24} {share}")
    return Picture(title, "\n".join(lines), LEFT_PX + BAR_PX + 90, max(1, len(counts)) * ROW_PX, "".join(rows))
