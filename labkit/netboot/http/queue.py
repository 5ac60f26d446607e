"""So many at once, and the others in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Queue:
    """Lets ``most`` in at once. For one event loop."""

    def __init__(self, most: int) -> None:
        self._room = asyncio.Semaphore(most)
        self.running = self.waiting = 0

    async def enter(self, meanwhile: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Wait for one's turn, and do ``meanwhile`` every so often. What that raises ends the waiting.

        Whoever entered has to `leave`.
        """
        turn = asyncio.ensure_future(self._room.acquire())
        self.waiting += 1
        try:
            await asyncio.sleep(0)
            while not turn.done():
                await asyncio.wait({turn}, timeout=every_s)
                if not turn.done():
                    await meanwhile()
        except BaseException:
            if not turn.cancel():
                self._room.release()  # it was our turn by then
            raise
        finally:
            self.waiting -= 1
        self.running += 1

    def leave(self) -> None:
        """Make room for the next."""
        self.running -= 1
        self._room.release()
