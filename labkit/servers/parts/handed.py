"""What the supervisor has handed to our own parts, and how a part that runs is given it anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labkit.errors import ControlError
from labkit.lab.process import rpc
from labkit.lab.process.handover import hand, hand_anew

RELOAD_S = 10.0


class Handed:
    """The values of all parts (`labkit.lab.process.handover`). They stay as long as this process lives."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[int, Path, Callable[[], object]]] = {}

    def lay(self, part: str, control: Path, given: Callable[[], object]) -> int:
        """Lay down what a part is given; the descriptor of it. ``control`` is the part's socket."""
        value = hand(given())
        self._parts[part] = value, control, given
        return value

    async def anew(self) -> list[str]:
        """Give each part what it is given now; the parts that did not answer, which get it when they start again."""
        silent = []
        for part, (value, control, given) in self._parts.items():
            hand_anew(value, given())
            try:
                await rpc.acall(control, "reload", timeout_s=RELOAD_S)
            except ControlError:
                silent.append(part)
        return silent
