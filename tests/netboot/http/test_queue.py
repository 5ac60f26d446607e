"""So many at once: order, room, and those who give up while they wait."""

from __future__ import annotations

import asyncio

import pytest

from labkit.netboot.http.queue import Queue


async def nothing() -> None:
    pass


def test_the_order_is_that_of_coming() -> None:
    async def storm() -> None:
        queue, done = Queue(2), []

        async def one(number: int) -> None:
            await queue.enter(nothing, 60)
            assert queue.running <= 2
            await asyncio.sleep(0)
            done.append(number)
            queue.leave()

        await asyncio.gather(*(one(number) for number in range(20)))
        assert done == list(range(20))
        assert (queue.running, queue.waiting) == (0, 0)

    asyncio.run(storm())


def test_who_gives_up_while_waiting_takes_no_room() -> None:
    async def storm() -> None:
        queue = Queue(1)
        await queue.enter(nothing, 60)

        async def gone() -> None:
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await queue.enter(gone, 0.001)
        waiting = asyncio.ensure_future(queue.enter(nothing, 60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (queue.running, queue.waiting) == (1, 0)
        last = asyncio.ensure_future(queue.enter(nothing, 60))
        await asyncio.sleep(0)
        queue.leave()
        await last
        assert (queue.running, queue.waiting) == (1, 0)
        queue.leave()

    asyncio.run(storm())


def test_who_gives_up_at_its_very_turn_hands_it_on() -> None:
    async def storm() -> None:
        queue = Queue(1)
        await queue.enter(nothing, 60)

        async def room_is_made() -> None:
            queue.leave()
            await asyncio.sleep(0.01)
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await queue.enter(room_is_made, 0.001)
        await asyncio.wait_for(queue.enter(nothing, 60), 5)
        assert (queue.running, queue.waiting) == (1, 0)

    asyncio.run(storm())
