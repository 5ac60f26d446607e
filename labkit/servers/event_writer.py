"""The one writer of a lab's ``events.jsonl``: it numbers what parts, clients and the supervisor itself tell."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time

from labkit import events
from labkit.diagnosis.stuck import Watch
from labkit.events import Event, Inventoried, Stream, Trouble, kept_inventories
from labkit.lab import Lab
from labkit.lab.process.steady import Jumps
from labkit.lab.state import State, owner_of


class EventWriter:
    """Writes events, and has each seen by ``watch``. Parts write theirs, a line each, into the descriptor ``pipe``.

    ``inventoried`` gets the names under which an inventory was kept since somebody looked there last.
    """

    def __init__(self, lab: Lab, state: State) -> None:
        past = list(events.read(state.events))
        self.seq = max((event.seq for event in past), default=0)
        self.watch, self._jumps = Watch(lab, past), Jumps()
        self.stream = Stream(state.events)
        os.chown(state.events, *owner_of(state.path))
        self.inventoried: list[str] = []
        self._read, self.pipe = os.pipe()

    def emit(self, event: Event) -> None:
        """Give an event its number and write it. Nothing else writes the stream."""
        self.tell_clock()
        self.seq += 1
        event = dataclasses.replace(event, seq=self.seq, time=event.time or time.time())
        lost = self.stream.lost
        if self.stream.write(event) and lost:
            self.stream.lost = 0
            self.emit(Trouble(part="supervisor", detail=f"{lost} events could not be written: {self.stream.why}"))
        self.watch.take(event)
        if isinstance(event, Inventoried) and (event.blade or event.macs):
            self.inventoried.append(event.blade or kept_inventories.name_of(event.macs[0]))

    def tell_clock(self) -> None:
        """Have an event of it where this machine's clock was set."""
        if moved := self._jumps.by_s():
            self.emit(events.Clock(by_s=round(moved, 3)))

    def take(self, line: str) -> None:
        """Write the event in a line; of one that is none, that it came."""
        try:
            event = events.decode(line)
        except ValueError as error:
            event = Trouble(part="supervisor", detail=f"{error}: {line[:200]!r}")
        if event is not None:
            self.emit(event)

    async def read_parts(self) -> None:
        """Write what the parts tell, until cancelled. May be begun anew when it has died."""
        pipe = os.fdopen(os.dup(self._read), "rb", buffering=0)  # a copy: this may have to begin anew
        reader = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        try:
            while line := await reader.readline():
                self.take(line.decode(errors="replace"))
        finally:
            transport.close()

    @property
    def unwritten(self) -> str:
        """How many events could not be written since one last could, and why; empty for none."""
        return f"{self.stream.lost} events: {self.stream.why}" if self.stream.lost else ""
