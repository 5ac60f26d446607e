"""What a roll is made of: its turns, what is seen of the blades, and what it asks to be done. PURE."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.swarm.node import Node, find_node


class Phase(enum.StrEnum):
    """Where a blade's turn is."""

    WAITING = "waiting"
    DRAINING = "draining"
    LEAVING = "leaving"
    BOOTING = "booting"
    SETTLING = "settling"
    DONE = "done"
    FAILED = "failed"


UNDER_WAY = (Phase.DRAINING, Phase.LEAVING, Phase.BOOTING, Phase.SETTLING)


@dataclass(frozen=True, kw_only=True)
class BladeNow:
    """A blade as it is seen now: its power (empty where nobody asked), its current boot and what that brought.

    ``end`` says why this boot cannot get into the swarm, as soon as that is known.
    """

    power: str = ""
    boot: str = ""
    version: str = ""
    end: str = ""


@dataclass(frozen=True, kw_only=True)
class DrainNow:
    """How far a blade that is emptied is: whether it is ``done``, and in ``words`` what moved, or what does not.
    ``stranded`` are the services of which something has nowhere to go: they are missed until the blade is back.
    """

    done: bool = False
    words: str = "its tasks were only just asked to move"
    stranded: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at everything. ``services`` says of each, by name, why it is not whole; nothing where it is.

    ``managers`` are the blades that shall be managers, ``drains`` has those that are emptied. ``silent`` says why the
    swarm does not answer just now; what it would have said is not known then.
    """

    blades: Mapping[str, BladeNow] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    services: Mapping[str, str] = field(default_factory=dict)
    managers: frozenset[str] = frozenset()
    drains: Mapping[str, DrainNow] = field(default_factory=dict)
    silent: str = ""

    def blade(self, name: str) -> BladeNow:
        """What is seen of a blade; nothing of one that was never heard of."""
        return self.blades.get(name, BladeNow())

    def node(self, name: str) -> Node | None:
        """The Ready node of a blade's current boot."""
        node = find_node(self.nodes, name, self.blade(name).boot)
        return node if node is not None and node.ready else None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One blade's turn. Times are seconds on a clock that only goes forward.

    ``began`` and ``since`` are when the turn and its phase began, ``boot`` the boot that is to be replaced, and
    ``settled`` since when all is in order, None while it is not. ``awaited`` is a blade that is on its way with the
    right version already. ``member`` says whether it was in the swarm when its turn began.
    """

    blade: str
    awaited: bool = False
    phase: Phase = Phase.WAITING
    began: float = 0.0
    since: float = 0.0
    boot: str = ""
    member: bool = False
    settled: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Roll:
    """A whole roll. ``wanted`` is the version each blade should have, ``whole`` the services that were whole before it,
    ``reachable`` how many managers could be reached. ``stopped`` says why no further turn begins, ``idle`` since when
    nothing is under way and nothing may begin. ``back`` is that of a blade which goes back to what it ran before.
    """

    turns: tuple[Turn, ...]
    wanted: Mapping[str, str]
    whole: frozenset[str]
    reachable: int
    limit_s: float
    parallel: int = 1
    stopped: str = ""
    idle: float | None = None
    back: bool = False

    @property
    def under_way(self) -> tuple[Turn, ...]:
        return tuple(turn for turn in self.turns if turn.phase in UNDER_WAY)

    @property
    def waiting(self) -> tuple[Turn, ...]:
        return tuple(turn for turn in self.turns if turn.phase is Phase.WAITING)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return not self.under_way and (bool(self.stopped) or not self.waiting)


@dataclass(frozen=True)
class Press:
    """Press a blade's button: ``shutdown`` (the soft one), ``on`` or ``reset``."""

    blade: str
    button: str


@dataclass(frozen=True)
class Tell:
    """Say that a blade's turn has come to a step: a `Phase`, with what there is to say."""

    blade: str
    step: str
    detail: str = ""


@dataclass(frozen=True)
class Drain:
    """Begin to empty a blade in one boot of it: its services start elsewhere, then it is drained."""

    blade: str
    boot: str


@dataclass(frozen=True)
class Undrain:
    """Empty a blade no further, and give it back the availability that it had."""

    blade: str


Action = Press | Tell | Drain | Undrain
