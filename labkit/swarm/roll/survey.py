"""What a roll is about, before anything happens: each blade, what it runs and should run, and what stands in the way.

PURE.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from labkit import events
from labkit.events import Event, tables
from labkit.swarm.membership.quorum import quorum
from labkit.swarm.roll.turns import Phase, Roll, Seen, Turn

What = Literal["roll", "wait", "has it", "off"]


@dataclass(frozen=True)
class Row:
    """A blade before the roll. ``runs`` and ``wanted`` are versions (`labkit.boot.boot_version`), ``runs`` empty where
    that is not known; ``what`` is what becomes of it, ``why`` says it in words.
    """

    blade: str
    runs: str
    wanted: str
    what: What
    why: str


def table(rows: Sequence[Row]) -> str:
    """Which blade runs what, what it should run, and what becomes of it, as a person reads it."""
    heads = ["blade", "runs", "newest", ""]
    return tables.grid(heads, [[row.blade, row.runs or "-", row.wanted, row.why] for row in rows])


@dataclass(frozen=True)
class Survey:
    """All chosen blades in the order of their turns. ``obstacles`` are reasons not to begin at all, ``notes`` what a
    person should know beforehand.
    """

    rows: tuple[Row, ...]
    whole: frozenset[str]
    reachable: int
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def roll(self, *, limit_s: float, parallel: int = 1) -> Roll:
        """The roll that begins now."""
        turns = [Turn(blade=row.blade, awaited=row.what == "wait") for row in self.rows if row.what in ("roll", "wait")]
        wanted = {row.blade: row.wanted for row in self.rows}
        return Roll(
            turns=tuple(turns), wanted=wanted, whole=self.whole, reachable=self.reachable, limit_s=limit_s,
            parallel=parallel,
        )  # fmt: skip


def survey(
    chosen: Sequence[str],
    seen: Seen,
    wanted: Mapping[str, str],
    wrong: Mapping[str, str],
    *,
    named: Collection[str] = (),
    unfinished: Collection[str] = (),
    fresh: Collection[str] = (),
) -> Survey:
    """What becomes of the ``chosen`` blades.

    ``wanted`` is what a boot would bring each now, ``wrong`` why it cannot be planned. A blade that is off stays so,
    unless a person ``named`` it or a roll before left it ``unfinished``. ``fresh`` are those whose boot began so
    recently that they may still be on their way.
    """
    rows = [
        _row(name, seen, wanted[name], is_meant=name in named or name in unfinished, is_fresh=name in fresh)
        for name in chosen
        if name not in wrong
    ]
    whole = frozenset(name for name, why in seen.services.items() if not why)
    held = quorum(seen.nodes)
    going = [row.blade for row in rows if row.what == "roll"]
    obstacles = [f"{name} could not boot: {wrong[name]}" for name in chosen if name in wrong]
    if seen.silent:
        obstacles.append(seen.silent)
    elif not held.held:
        obstacles.append(f"the swarm has no quorum: {held}")
    by_hand = [
        node.blade
        for node in seen.nodes
        if node.ready and node.role == "manager" and node.blade in going and node.blade not in seen.managers
    ]
    for name in by_hand:
        keep = " ".join(sorted({*seen.managers, name}))
        obstacles.append(
            f"{name} was made a manager by hand and would come back as a worker: ./lab swarm managers {keep}"
        )
    notes = [f"{name} is not whole and not waited for: {why}" for name, why in sorted(seen.services.items()) if why]
    notes += [
        f"{node.blade} was being emptied by a roll that was broken off: it gets back its availability, {node.rolling}"
        for node in seen.nodes
        if node.rolling and not node.leaving
    ]
    takers = {node.blade or node.hostname for node in seen.nodes if node.ready and node.availability == "active"}
    if len(takers) == 1 and takers <= set(going):
        notes.append(f"{min(takers)} is the only node that takes tasks: what runs on it stops while it boots")
    return Survey(tuple(rows), whole, held.reachable, tuple(obstacles), tuple(notes))


def _row(name: str, seen: Seen, wanted: str, *, is_meant: bool, is_fresh: bool) -> Row:
    blade = seen.blade(name)
    if blade.power == "off":
        if is_meant:
            return Row(name, "", wanted, "roll", "it is off, and is switched on")
        return Row(name, "", wanted, "off", "it is off, and stays so: whenever it is switched on it boots the newest")
    if seen.node(name) is None:
        if blade.version == wanted and is_fresh:
            return Row(name, blade.version, wanted, "wait", "it is on its way with the newest, and is waited for")
        return Row(name, blade.version, wanted, "roll", "it is on and not in the swarm")
    if blade.version == wanted:
        return Row(name, blade.version, wanted, "has it", "it runs the newest")
    known = "it runs another version" if blade.version else "what it runs is not known"
    return Row(name, blade.version, wanted, "roll", known)


def unfinished_of(stream: Iterable[Event], *, is_real: bool = False) -> frozenset[str]:
    """The blades that a roll asked to leave and has not switched on again: it was broken off in between.

    When a virtual lab starts, all its blades are off, and none of them for that; ``is_real`` ones stay as they were.
    """
    left: set[str] = set()
    for event in stream:
        match event:
            case events.LabEvent(state="starting") if not is_real:
                left.clear()
            case events.Roll(step=Phase.LEAVING.value | "back leaving"):
                left.add(event.blade)
            case events.Roll() | events.Power(state="on") | events.BootStarted():
                left.discard(event.blade)
    return frozenset(left)


def after(survey: Survey, roll: Roll, seen: Seen) -> tuple[Row, ...]:
    """Which blades have what once a roll is over, or was broken off."""
    turns = {turn.blade: turn for turn in roll.turns}
    rows = []
    for row in survey.rows:
        turn, now = turns.get(row.blade), seen.blade(row.blade)
        if turn is None:
            rows.append(row)
        elif turn.phase is Phase.DONE:
            rows.append(Row(row.blade, row.wanted, row.wanted, "has it", "it was rolled"))
        elif turn.phase is Phase.WAITING:
            rows.append(Row(row.blade, row.runs, row.wanted, "roll", "its turn did not come"))
        else:
            rows.append(Row(row.blade, now.version, row.wanted, "roll", turn.why or f"broken off while {turn.phase}"))
    return tuple(rows)
