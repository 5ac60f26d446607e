"""What a roll tells of each blade: which version it runs, which it is to run, and where its turn is.

PURE and total: folded from events, one value, empty where no roll was ever heard of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from labkit import events
from labkit.events import Event

SHOWN = 7
"""Digits of a version in a picture, as many as Git shows of a commit."""
UNDER_WAY = ("draining", "leaving", "booting", "settling")
BACK = "back "
STEPS = {
    "waiting": "waits for its turn", "draining": "is emptied", "leaving": "leaves", "booting": "boots",
    "settling": "settles in", "done": "has had its turn", "failed": "failed",
}  # fmt: skip


@dataclass(frozen=True)
class Rolling:
    """The last roll that was heard of. ``steps`` are the blades' latest steps, as `labkit.events.Roll` has them;
    ``runs`` and ``newest`` are versions by blade, ``before`` what each ran when the roll began. A blade whose version
    is not known is in none of them. ``goes_on`` says that it is not over.
    """

    goes_on: bool = False
    steps: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)
    newest: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)

    def phase(self, blade: str) -> str:
        """Where the blade's turn is, on the way there or back; empty for one that has none."""
        return self.steps.get(blade, "").removeprefix(BACK)

    def is_under_way(self, blade: str) -> bool:
        return self.phase(blade) in UNDER_WAY

    def has_newest(self, blade: str) -> bool:
        newest = self.newest.get(blade, "")
        return bool(newest) and self.runs.get(blade) == newest

    def turn(self, blade: str) -> str:
        """The blade's turn in a few words, empty for one that has none."""
        step = self.steps.get(blade, "")
        words = STEPS.get(self.phase(blade), self.phase(blade))
        return f"goes back: {words}" if step.startswith(BACK) else words

    def versions(self, blade: str) -> str:
        """``runs 8d2b64c``; with another that is to come ``5f0c1f6 → 8d2b64c``; empty where neither is known."""
        runs, newest = self.runs.get(blade, ""), self.newest.get(blade, "")
        if newest and runs != newest:
            return f"{runs[:SHOWN] or '?'} → {newest[:SHOWN]}"
        return f"runs {runs[:SHOWN]}" if runs else ""

    def __str__(self) -> str:
        """All of it in a line; empty where no roll was heard of."""
        if not self.newest:
            return ""
        have = sum(map(self.has_newest, self.newest))
        going = [f"{name} {self.turn(name)}" for name in self.steps if self.is_under_way(name)]
        head = "roll" if self.goes_on else "the last roll" if self.steps else "versions"
        return "; ".join([f"{head}: {have} of {len(self.newest)} run the newest", *going])


NONE = Rolling()


def pairs(versions: Iterable[object]) -> dict[str, tuple[str, str]]:
    """What `labkit.events.Roll` has in ``versions``: by blade what it runs, empty for unknown, and the newest."""
    split = [line.split() for line in versions if isinstance(line, str)]
    return {line[0]: ("" if line[1] == "-" else line[1], line[2]) for line in split if len(line) == 3}


def of_versions(known: Mapping[str, tuple[str, str]], going: Iterable[str] = ()) -> Rolling:
    """As it is before a roll of the blades in ``going``: what each runs, and the newest."""
    runs = {name: runs for name, (runs, _) in known.items() if runs}
    newest = {name: newest for name, (_, newest) in known.items()}
    return Rolling(steps=dict.fromkeys(going, "waiting"), runs=runs, newest=newest, before=runs)


def fold(rolling: Rolling, event: Event) -> Rolling:
    """The roll after one more event. A blade that boots without a turn runs what nobody has told of."""
    match event:
        case events.Roll(blade="", step="begun"):
            going = [name for name in event.detail.split(", ") if name]
            return replace(of_versions(pairs(event.versions), going), goes_on=True)
        case events.Roll(blade="", step="over"):
            return replace(rolling, goes_on=False)
        case events.Roll() if event.blade:
            return _fold_turn(rolling, event.blade, event.step)
        case events.BootStarted() if rolling.phase(event.blade) not in ("draining", "leaving", "booting"):
            return _forgotten(rolling, event.blade)
    return rolling


def _fold_turn(rolling: Rolling, blade: str, step: str) -> Rolling:
    was, runs = rolling.phase(blade), dict(rolling.runs)
    comes = rolling.before if step.startswith(BACK) else rolling.newest
    now = step.removeprefix(BACK)
    if now in ("settling", "done") and blade in comes:
        runs[blade] = comes[blade]
    elif now == "failed" and was not in ("waiting", "draining", "leaving"):  # it may have booted anything
        runs.pop(blade, None)
    return replace(rolling, steps={**rolling.steps, blade: step}, runs=runs)


def _forgotten(rolling: Rolling, blade: str) -> Rolling:
    without = {name: version for name, version in rolling.runs.items() if name != blade}
    steps = {name: step for name, step in rolling.steps.items() if name != blade or step == "waiting"}
    return replace(rolling, runs=without, steps=steps)
