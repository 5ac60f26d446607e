"""The stage of a rehearsal, on the supervisor's side: namespaces, a card for the blade, and the walk.

In a virtual lab the card is plugged into the lab's bridge, and the lab's own servers answer. In a real one it is joined
to a boot server of the same making (`scratch`). Both run as the lab's owner, with capabilities that reach no further
than the namespaces they are in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

from labkit import rpc
from labkit.chassis import network
from labkit.errors import ControlError
from labkit.lab import Blade, Lab, NetworkKind
from labkit.parts import confined
from labkit.rehearse.walk import Task
from labkit.state import State

LONGEST_S = 240.0
START_S = 30.0
END_S = 5.0

Owner = tuple[int, int]
PlugIn = Callable[[int], Awaitable[None]]
"""Gives the namespace of a process its card."""


async def rehearse(lab: Lab, state: State, blade: Blade, firmware: str, owner: Owner) -> list[dict[str, Any]]:
    """Rehearse a blade that is off; what the walk said, a line a step. Raises ControlError."""
    task = Task(mac=blade.macs[0], firmware=firmware, server=str(lab.network.server))
    if lab.network.kind is NetworkKind.INTERFACE:
        async with scratch_server(lab, owner) as server:

            async def join(pid: int) -> None:
                await asyncio.to_thread(network.make_scratch_link, lab, task.mac, server.pid, pid)
                await start_serving(server)

            return await walk(blade, task, owner, join)

    async def plug_in(pid: int) -> None:
        await asyncio.to_thread(network.make_rehearsal_link, blade.slot, task.mac, pid)

    await rpc.acall(state.bootd, "rehearse", timeout_s=10, blade=blade.name)
    try:
        return await walk(blade, task, owner, plug_in)
    finally:
        await rpc.acall(state.bootd, "rehearsed", timeout_s=10, blade=blade.name)


async def walk(blade: Blade, task: Task, owner: Owner, plug_in: PlugIn) -> list[dict[str, Any]]:
    """Run the walk in a namespace with the blade's card. Raises ControlError when it does not come to an end."""
    command = confined(owner, "net_admin", "net_bind_service", module="labkit.rehearse.walk")
    async with in_namespace(command) as process:
        await plug_in(process.pid)
        line = json.dumps(asdict(task)).encode() + b"\n"
        try:
            said, errors = await asyncio.wait_for(process.communicate(line), LONGEST_S)
        except TimeoutError:
            what = f"the rehearsal of {blade.name} came to no end"
            raise ControlError(what, fix="labkit events tells how far it came") from None
    lines = [json.loads(text) for text in said.splitlines()]
    if not lines or "ok" not in lines[-1]:
        raise ControlError(f"the rehearsal of {blade.name} failed: {_end(errors)}")
    return lines


@contextlib.asynccontextmanager
async def scratch_server(lab: Lab, owner: Owner) -> AsyncIterator[asyncio.subprocess.Process]:
    """A boot server in a namespace, which waits for its card (see `start_serving`)."""
    # net_raw: before Linux 5.7 a socket is bound to a card by those who have it only (socket(7)).
    capabilities = ("net_admin", "net_bind_service", "net_raw")
    command = ["env", f"LABKIT_LAB={lab.path}", *confined(owner, *capabilities, module="labkit.rehearse.scratch")]
    async with in_namespace(command) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()  # its word to end: killed, it would leave its state folder behind
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), END_S)


async def start_serving(process: asyncio.subprocess.Process) -> None:
    """Let a scratch server begin, now that it has its card. Raises ControlError with its reason when it cannot."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(b"go\n")
    if await asyncio.wait_for(process.stdout.readline(), START_S) != b"serving\n":
        raise ControlError(f"the rehearsal's boot server did not start: {_end(await process.stderr.read())}")


@contextlib.asynccontextmanager
async def in_namespace(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process in a network namespace of its own (unshare(1)), from when it says ``ready``; it ends with the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "unshare", "--net", "--", *command, stdin=pipe, stdout=pipe, stderr=pipe
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        if await asyncio.wait_for(process.stdout.readline(), START_S) != b"ready\n":
            raise ControlError(f"a process of the rehearsal did not start: {_end(await process.stderr.read())}")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _end(text: bytes) -> str:
    return text.decode(errors="replace").strip()[-400:]
