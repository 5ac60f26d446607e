"""Inputs made at random, for as long as there is time: what each fuzzer goes round in, and what it says at its end."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MINUTES = float(os.environ.get("LABKIT_FUZZ_MINUTES", "30"))
"""How long each goes at night (``./lab test --soak``)."""
ONLY = os.environ.get("LABKIT_FUZZ_ROUND")
"""One round alone: the one that failed."""
FEW = 6
"""Rounds among the fast tests."""


class Fuzz:
    """One fuzzer's rounds, each with a source of chance of its own, so that a round that failed can be had again."""

    def __init__(self, name: str, *, night: bool) -> None:
        self.name, self.night = name, night
        self.counts: Counter[str] = Counter()
        self.round = 0
        self._began, self._memory_mib = time.monotonic(), 0

    def rounds(self) -> Iterator[random.Random]:
        """Until the time is up, or a few."""
        while True:
            if ONLY is not None:
                self.round = int(ONLY)
            yield random.Random(f"{self.name} {self.round}")
            if ONLY is not None or not (self.night or self.round + 1 < FEW):
                return
            if self.night and time.monotonic() - self._began > MINUTES * 60:
                return
            self.round += 1
            self._memory_mib = self._memory_mib or (_memory_mib() if self.round == FEW else 0)

    def count(self, kind: str, inputs: int = 1) -> None:
        """So many inputs ended so."""
        self.counts[kind] += inputs

    def total(self) -> str:
        """What was tried, in a line; the memory of this process after the first rounds and at the end."""
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.counts.most_common())
        minutes = (time.monotonic() - self._began) / 60
        memory = f"; {self._memory_mib} MiB at first, {_memory_mib()} at the end" if self._memory_mib else ""
        return f"{self.name}: {self.counts.total():,} inputs in {minutes:.1f} min ({kinds}){memory}"


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A seed with one to five faults: bits, numbers at their ends, parts that are missing, doubled or elsewhere."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
        match chance.randrange(6):
            case 0:
                data[at:to] = chance.randbytes(to - at)
            case 1:
                data[at:to] = bytes((chance.choice((0, 1, 127, 128, 254, 255)),)) * (to - at)
            case 2:
                del data[at:to]
            case 3:
                data[at:at] = data[at:to]
            case 4:
                del data[at:]
            case 5:
                part = data[at:to]
                del data[at:to]
                here = chance.randrange(len(data) + 1)
                data[here:here] = part
    return bytes(data)


def _memory_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
