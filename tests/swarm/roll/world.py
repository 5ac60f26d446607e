"""A rack that does what a roll asks of it, a second a tick, and what goes wrong in it as a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from labkit.swarm.node import Node
from labkit.swarm.roll.steps import step
from labkit.swarm.roll.turns import Action, BladeNow, Drain, DrainNow, Phase, Press, Roll, Seen, Tell, Undrain

OLD, NEW = "old", "new"
DRAIN_S, LEAVE_S, BOOT_S = 3, 5, 30


@dataclass
class Rack:
    """Blades by name, each in the swarm with the old version at first; ``managers`` of them manage beside the
    controller. A service ``web`` is whole while ``bears`` says so of the names of the blades that run.
    """

    names: tuple[str, ...] = ("blade1", "blade2", "blade3")
    managers: frozenset[str] = frozenset()
    bears: Callable[[frozenset[str]], str] = lambda running: ""
    hangs: frozenset[str] = frozenset()  # never goes off
    lost: frozenset[str] = frozenset()  # does not come back
    stuck: frozenset[str] = frozenset()  # has a task that does not move
    strands: frozenset[str] = frozenset()  # the services of which something has nowhere to go
    brings: dict[str, str] = field(default_factory=dict)  # what its boot brings, if not the newest
    newest: Callable[[], str] = lambda: NEW
    now: float = 0.0
    blades: dict[str, BladeNow] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    due: dict[str, tuple[float, str]] = field(default_factory=dict)
    drains: dict[str, float] = field(default_factory=dict)
    pressed: list[tuple[str, str]] = field(default_factory=list)
    told: list[Tell] = field(default_factory=list)
    away: list[frozenset[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.names:
            self.blades[name] = BladeNow(power="on", boot=f"{name}.0", version=OLD)
            self._joins(name)

    def _joins(self, name: str) -> None:
        role = "manager" if name in self.managers else "worker"
        self.nodes[name] = Node(
            id=f"{name}@{self.now:g}", hostname=name, blade=name, boot=self.blades[name].boot, role=role, state="ready",
            raft=role == "manager", manager="10.0.0.9:2377" if role == "manager" else "", created=self.now,
        )  # fmt: skip

    def seen(self) -> Seen:
        controller = Node(id="c", hostname="controller", role="manager", state="ready", availability="drain", raft=True,
                          manager="10.0.0.2:2377", leader=True)  # fmt: skip
        running = frozenset(name for name, node in self.nodes.items() if node.availability == "active")
        return Seen(blades=dict(self.blades), nodes=(controller, *self.nodes.values()), managers=self.managers,
                    services={"web": self.bears(running)}, drains=self.drained())  # fmt: skip

    def drained(self) -> dict[str, DrainNow]:
        """How far the blades that are emptied are; all at once would run elsewhere, `DRAIN_S` later."""
        found = {}
        for name, began in self.drains.items():
            done = self.now - began >= DRAIN_S and name not in self.stuck
            words = "moved: web.1 to blade9" if done else "still moving: web.1"
            found[name] = DrainNow(done=done, words=words, stranded=self.strands)
        return found

    def do(self, action: Action) -> None:
        """Do what a step says."""
        match action:
            case Press():
                self.press(action)
            case Tell():
                self.told.append(action)
            case Drain(blade):
                self.drains[blade] = self.now
                self.nodes[blade] = replace(self.nodes[blade], availability="drain")
            case Undrain(blade):
                self.drains.pop(blade, None)
                self.nodes[blade] = replace(self.nodes[blade], availability="active")

    def press(self, action: Press) -> None:
        name = action.blade
        self.pressed.append((name, action.button))
        self.drains.pop(name, None)
        if action.button == "shutdown" and name not in self.hangs:
            if name in self.nodes:
                self.nodes[name] = replace(self.nodes[name], availability="drain")
            self.due[name] = (self.now + LEAVE_S, "off")
        if action.button in ("on", "reset"):
            boot = f"{name}.{len(self.pressed)}"
            self.blades[name] = BladeNow(power="on", boot=boot, version=self.brings.get(name) or self.newest())
            self.due[name] = (self.now + BOOT_S, "up")

    def tick(self) -> None:
        self.now += 1
        for name, (at, what) in list(self.due.items()):
            if self.now < at:
                continue
            del self.due[name]
            if what == "off":
                self.nodes.pop(name, None)
                self.blades[name] = replace(self.blades[name], power="off")
            elif name not in self.lost:
                self._joins(name)
        self.away.append(frozenset(set(self.names) - set(self.nodes)))

    def run(self, roll: Roll, *, most_s: int = 5000, meanwhile: Callable[[Rack], None] = lambda rack: None) -> Roll:
        """Until the roll is over, which it has to be within ``most_s``."""
        for _ in range(most_s):
            roll, actions = step(roll, self.seen(), self.now)
            for action in actions:
                self.do(action)
            if roll.over:
                return roll
            self.tick()
            meanwhile(self)
        raise AssertionError(f"not over after {most_s} s: {roll}")


def phases(roll: Roll) -> list[Phase]:
    return [turn.phase for turn in roll.turns]
