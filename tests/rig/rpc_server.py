"""A part of a lab, as others reach it: verbs on a socket, answered by a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from labkit.lab.process import rpc


class RpcServer:
    """Answers from the moment it is made until `close`, which returns when everybody who asked has been answered."""

    def __init__(self, path: Path, verbs: Mapping[str, rpc.Handler]) -> None:
        self._sock = rpc.listen(path)
        self._verbs = verbs
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()

    async def _serve(self) -> None:
        server = await rpc.serve(self._sock, self._verbs)
        await asyncio.to_thread(self._end.wait)
        server.close()
        # Who has been answered may not have been hung up on yet: a loop that ends here would leave the connection open.
        while talks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(talks)
        await asyncio.sleep(0)  # one more round: a connection is closed in the one after its talk

    def close(self) -> None:
        self._end.set()
        self._thread.join()
