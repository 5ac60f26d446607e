"""The rows of a benchmark, as a table or as JSON.

With ``--json`` an executable prints one object ``{"holds": bool, "rows": [...]}``, each row with ``what``, ``ours``,
``peers`` (name to value), ``ratio`` and ``goal``; ``better`` says whether the ratio has to be at least the goal
(``more``) or at most (``less``). Rows without a goal are there to be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One line: a value of ours beside those of the peers, in ``unit``; ``ratio`` is ours by the peer that counts."""

    what: str
    unit: str
    ours: float
    peers: Mapping[str, float]
    ratio: float | None = None
    goal: float | None = None
    better: Literal["more", "less"] = "more"

    @property
    def holds(self) -> bool:
        if self.ratio is None or self.goal is None:
            return True
        return self.ratio >= self.goal if self.better == "more" else self.ratio <= self.goal


def figures(value: float) -> str:
    """Three figures that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(rows: Sequence[Row]) -> int:
    """Print all rows as the command line wants them; the exit status: 1 where a goal was missed."""
    holds = all(row.holds for row in rows)
    if "--json" in sys.argv[1:]:
        print(json.dumps({"holds": holds, "rows": [asdict(row) for row in rows]}, ensure_ascii=False))
        return 0 if holds else 1
    width = max(len(row.what) for row in rows)
    print(f"{'what':<{width}}  {'ours':>14}  {'ratio':>6} {'goal':>7}      peers")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        goal = "" if row.goal is None else f"{'≥' if row.better == 'more' else '≤'} {row.goal:g}"
        verdict = "" if row.goal is None else "ok" if row.holds else "NO"
        peers = ", ".join(f"{name} {figures(value)}" for name, value in row.peers.items())
        ours = f"{figures(row.ours)} {row.unit}"
        print(f"{row.what:<{width}}  {ours:>14}  {ratio:>6} {goal:>7} {verdict:<3}  {peers}")
    print("holds" if holds else "does not hold")
    return 0 if holds else 1


def progress(text: str) -> None:
    """A word to whoever waits, apart from the table."""
    print(text, file=sys.stderr, flush=True)
