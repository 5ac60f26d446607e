"""The stage of a rehearsal, on the supervisor's side: namespaces, a card for the blade, and the walk.

In a virtual lab the card is plugged into the lab's bridge, and the lab's own servers answer. In a real one it is joined
to a boot server of the same making (`scratch`). Both are users of their own, with capabilities that reach no further
than the namespaces they are in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

from labkit import images
from labkit.errors import ControlError
from labkit.lab import Blade, Lab, NetworkKind
from labkit.lab.process import rpc
from labkit.lab.process.handover import VARIABLE, hand
from labkit.lab.state import State
from labkit.machines.host.sandbox import Sandbox, User, Users, of_python, spawn
from labkit.machines.virtual import network
from labkit.netboot.boot_client.walkthrough import Task
from labkit.netboot.settings import Settings

LONGEST_S = 240.0
START_S = 30.0
END_S = 5.0

PlugIn = Callable[[int], Awaitable[None]]
"""Gives the namespace of a process its card."""


async def rehearse(lab: Lab, state: State, blade: Blade, firmware: str, users: Users) -> list[dict[str, Any]]:
    """Rehearse a blade that is off; what the walk said, a line a step. Raises ControlError."""
    task = Task(mac=blade.macs[0], firmware=firmware, server=str(lab.network.server))
    if lab.network.kind is NetworkKind.INTERFACE:
        async with scratch_server(lab, state, users.of("bootd")) as server:

            async def join(pid: int) -> None:
                await asyncio.to_thread(network.make_scratch_link, lab, task.mac, server.pid, pid)
                await start_serving(server)

            return await walk(blade, task, users.of("visitor"), join)

    async def plug_in(pid: int) -> None:
        await asyncio.to_thread(network.make_rehearsal_link, blade.slot, task.mac, pid)

    await rpc.acall(state.bootd, "rehearse", timeout_s=10, blade=blade.name)
    try:
        return await walk(blade, task, users.of("visitor"), plug_in)
    finally:
        await rpc.acall(state.bootd, "rehearsed", timeout_s=10, blade=blade.name)


async def walk(blade: Blade, task: Task, user: User, plug_in: PlugIn) -> list[dict[str, Any]]:
    """Run the walk in a namespace with the blade's card. Raises ControlError when it does not come to an end."""
    capabilities = ("net_admin", "net_bind_service")
    sandbox = of_python(
        "labkit.netboot.boot_client.walkthrough", user=user, capabilities=capabilities, namespaces=("net",)
    )
    async with running(sandbox) as process:
        await plug_in(process.pid)
        line = json.dumps(asdict(task)).encode() + b"\n"
        try:
            said, errors = await asyncio.wait_for(process.communicate(line), LONGEST_S)
        except TimeoutError:
            what = f"the rehearsal of {blade.name} came to no end"
            raise ControlError(what, fix="./lab events shows how far it came") from None
    lines = [json.loads(text) for text in said.splitlines()]
    if not lines or "ok" not in lines[-1]:
        raise ControlError(f"the rehearsal of {blade.name} failed: {_end(errors)}")
    return lines


@contextlib.asynccontextmanager
async def scratch_server(lab: Lab, state: State, user: User) -> AsyncIterator[asyncio.subprocess.Process]:
    """A boot server in a namespace, which waits for its card (see `start_serving`)."""
    # net_raw: before Linux 5.7 a socket is bound to a card by those who have it only (socket(7)).
    capabilities = ("net_admin", "net_bind_service", "net_raw")
    shows = (state.run, *images.shown_to_servers(lab))
    module = "labkit.diagnosis.rehearsal.temporary_server"
    sandbox = of_python(module, user=user, capabilities=capabilities, namespaces=("net",), shows=shows)
    given = hand(Settings.of(lab, state))
    try:
        async with running(sandbox, given, LABKIT_STATE=str(state.path)) as process:
            try:
                yield process
            finally:
                assert process.stdin is not None
                process.stdin.close()  # its word to end: killed, it would leave its books behind
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), END_S)
    finally:
        os.close(given)


async def start_serving(process: asyncio.subprocess.Process) -> None:
    """Let a scratch server begin, now that it has its card. Raises ControlError with its reason when it cannot."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(b"go\n")
    if await asyncio.wait_for(process.stdout.readline(), START_S) != b"serving\n":
        raise ControlError(f"the rehearsal's boot server did not start: {_end(await process.stderr.read())}")


@contextlib.asynccontextmanager
async def running(sandbox: Sandbox, given: int = -1, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process from when it says ``ready``; it ends with the block. ``given`` is what `handover.hand` laid down."""
    pipe, handed = asyncio.subprocess.PIPE, (given,) if given >= 0 else ()
    env = {**env, VARIABLE: str(given)}
    process = await spawn(sandbox, stdin=pipe, stdout=pipe, stderr=pipe, env=env, pass_fds=handed)
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
