"""Keeping a lab's server processes running: start, restart what dies, stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit.errors import MachineError
from labkit.events import Event
from labkit.events import Part as PartEvent
from labkit.lab.state import text_of
from labkit.machines.host.sandbox import Sandbox, spawn

RESTART_S = (0.2, 1.0, 3.0, 10.0)
STEADY_S = 30.0


@dataclass(frozen=True)
class PartSpec:
    """How a part is run.

    ``prepare`` is called before each start. ``plug_in`` gets the process id of a part whose sandbox waits, once it is
    in its own namespaces, and prepares what it needs there; then the part goes on. ``ready`` is awaited after each
    start until it returns True.
    """

    name: str
    sandbox: Sandbox
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: Sequence[int] = ()
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_s: float = 30.0
    prepare: Callable[[], object] | None = None
    plug_in: Callable[[int], Awaitable[None]] | None = None


class Part:
    """One running part: restarted with growing pauses when it dies, until `stop`."""

    def __init__(self, spec: PartSpec, emit: Callable[[Event], None]) -> None:
        self.spec = spec
        self.process: asyncio.subprocess.Process | None = None
        self._emit = emit
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._hold = asyncio.Lock()

    @property
    def pid(self) -> int:
        """Its process id, 0 while it is not running."""
        return self.process.pid if self.process and self.process.returncode is None else 0

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises MachineError with the end of its log when it is not."""
        await self._spawn_ready()
        self._emit(PartEvent(part=self.spec.name, state="started", pid=self.pid))
        self._task = asyncio.create_task(self._keep())

    async def _spawn_ready(self) -> None:
        await self._spawn()
        began = asyncio.get_running_loop().time()
        while self.spec.ready is not None and not await self.spec.ready():
            if not self.pid:
                raise MachineError(f"{self.spec.name} ended at once: {self._log_end()}", where=str(self.spec.log))
            if asyncio.get_running_loop().time() - began > self.spec.ready_s:
                raise MachineError(
                    f"{self.spec.name} is not ready after {self.spec.ready_s:g} s: {self._log_end()}",
                    where=str(self.spec.log),
                )
            await asyncio.sleep(0.05)

    async def stop(self, *, grace_s: float = 5.0) -> None:
        """SIGTERM, then after ``grace_s`` SIGKILL. Nothing starts it again, also when it was just being started."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """It does not run for as long as the block lasts, and runs again after it, however that ended.

        One block waits for the other. Raises MachineError when it does not start; it is tried again from then on.
        """
        async with self._hold:
            await self.stop()
            try:
                yield
            finally:
                self._stopping = False
                try:
                    await self.start()
                except (OSError, MachineError) as error:
                    self._emit(PartEvent(part=self.spec.name, state="died", detail=str(error)))
                    self._task = asyncio.create_task(self._keep())
                    raise

    async def _spawn(self) -> None:
        if self.spec.prepare is not None:
            try:
                self.spec.prepare()
            except OSError as error:
                what = f"{self.spec.name} cannot have its folders: {error.strerror}"
                raise MachineError(what, where=str(error.filename)) from None
        pipe = asyncio.subprocess.PIPE if self.spec.sandbox.waits else asyncio.subprocess.DEVNULL
        with self.spec.log.open("ab") as log:
            self.process = await spawn(
                self.spec.sandbox, stdin=pipe, stdout=log, stderr=log, env=self.spec.env, pass_fds=self.spec.pass_fds
            )
        if self.spec.sandbox.waits:
            await self._plug_in(self.process)

    async def _plug_in(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        try:
            if self.spec.plug_in is not None and process.returncode is None:
                await self.spec.plug_in(process.pid)
            with contextlib.suppress(ConnectionError):  # it has ended, which is seen in a moment
                process.stdin.write(b"go\n")
                await process.stdin.drain()
        finally:
            process.stdin.close()  # without its word, it ends

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            assert self.process is not None
            began = loop.time()
            status = await self.process.wait()
            if self._stopping:
                return
            failures = 1 if loop.time() - began > STEADY_S else failures + 1
            self._emit(PartEvent(part=self.spec.name, state="died", detail=f"status {status}: {self._log_end()}"))
            await asyncio.sleep(RESTART_S[min(failures, len(RESTART_S)) - 1])
            try:
                await self._spawn_ready()
            except Exception as error:  # whatever it is: who keeps a part must not die of it
                self._emit(PartEvent(part=self.spec.name, state="died", detail=str(error)))
                continue
            self._emit(PartEvent(part=self.spec.name, state="started", pid=self.pid))

    def _log_end(self, length: int = 400) -> str:
        return text_of(self.spec.log).strip()[-length:]
