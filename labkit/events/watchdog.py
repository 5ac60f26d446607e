"""A part of the lab ends when something in it has died that it cannot do without, and is started anew.

A boot server whose TFTP thread is gone, or a swarmd that looks at no swarm, lives and is of no use; nobody sees
it. So every fault that nothing caught ends the whole process: its traceback goes to the part's log, its reason into the
events, and the supervisor, which sees the process end, starts it again. What a part may not lose at such a moment it
has on disk or with others, since it may be killed at any time.

What is no such fault, and only told, with the server going on:

- what goes wrong with one packet, request or connection: who sends a bad one must not be able to restart a server. Each
  server catches that where it handles one; asyncio's own reports name a transport, a protocol or a socket.
- an error that was foreseen (a LabkitError) in a task that nobody waited for.
- a fault inside a library, in a callback of its own, of which no line is labkit's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError
from labkit.events import Event, Trouble

FAULT = 70
"""The exit status: EX_SOFTWARE of sysexits.h."""
LONGEST = 600
"""Characters of a reason: an event has to fit into PIPE_BUF."""
OURS = str(Path(__file__).parents[1]) + os.sep
ASYNCIO = str(Path(asyncio.__file__).parent) + os.sep
ONE_CLIENT = ("client", "transport", "protocol", "socket", "asyncgen")
"""Keys of a report to an event loop (`asyncio.loop.call_exception_handler`) that make it one about one client."""


class Vital:
    """Watches over the part of that name. ``leave`` ends the process; None where it must not end and only tells."""

    def __init__(
        self, part: str, emit: Callable[[Event], None], leave: Callable[[int], object] | None = os._exit
    ) -> None:
        self._part, self._emit, self._leave = part, emit, leave
        self._lock = threading.Lock()

    def watch(self) -> None:
        """From now on, a thread that dies ends the part."""
        threading.excepthook = self._thread_died

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run an event loop in which nothing dies unseen. Raises LabkitError, and KeyboardInterrupt."""

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(self.reported)
            await main

        self.watch()
        try:
            asyncio.run(watched())
        except LabkitError:
            raise
        except Exception as error:
            self.end("it", error)

    def reported(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take a report to the event loop: the part ends, or what went wrong is told (see above)."""
        error, what = context.get("exception"), str(context.get("message", "a report without words"))
        if error is None:  # no fault: a task or a socket that was left over
            print(f"{self._part}: {what}", file=sys.stderr, flush=True)
        elif "lasting" in context or (_is_ours(error) and not any(key in context for key in ONE_CLIENT)):
            self.end(what, error)
        else:
            self.tell(what, error)

    def tell(self, what: str, error: BaseException) -> None:
        """Put a fault into the log and the events. Never raises."""
        with contextlib.suppress(Exception):  # nobody reads any more
            traceback.print_exception(error, file=sys.stderr)
            sys.stderr.flush()
        with contextlib.suppress(Exception):
            self._emit(Trouble(part=self._part, detail=f"{what}: {reason(error)}"[:LONGEST]))

    def end(self, what: str, error: BaseException) -> None:
        """End the part. Of several faults at once the first one is told."""
        if self._leave is None:
            self.tell(what, error)
        elif self._lock.acquire(blocking=False):
            self.tell(what, error)
            self._leave(FAULT)

    def _thread_died(self, caught: threading.ExceptHookArgs) -> None:
        if caught.exc_value is not None and not isinstance(caught.exc_value, SystemExit):
            name = caught.thread.name if caught.thread is not None else "without a name"
            self.end(f"the thread {name} died", caught.exc_value)


def lasting(task: asyncio.Task[Any], what: str) -> None:
    """A task that is to last: when it ends, other than by being cancelled, so does the part. ``what`` names it."""

    def ended(task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            error = task.exception() or RuntimeError("it came to an end by itself")
            task.get_loop().call_exception_handler({"message": f"{what} died", "exception": error, "lasting": True})

    task.add_done_callback(ended)


def raise_lost(error: OSError) -> None:
    """Raise an error again that says that a socket is gone for good. Any other is a passing trouble of a network."""
    if error.errno in (errno.EBADF, errno.ENOTSOCK):
        raise error


def reason(error: BaseException) -> str:
    """An exception with the place it came from, on one line."""
    said = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{place}"


def _is_ours(error: BaseException) -> bool:
    """Whether an exception left a callback or a task of labkit's: the first frame that is not asyncio's says so."""
    if isinstance(error, LabkitError):
        return False
    frames = (frame.filename for frame in traceback.extract_tb(error.__traceback__))
    return next((name for name in frames if not name.startswith(ASYNCIO)), "").startswith(OURS)
