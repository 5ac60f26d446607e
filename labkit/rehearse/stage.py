"""The stage of a rehearsal, on the supervisor's side: a namespace, a card plugged into the bridge, and the walk in it.

The walk runs as the lab's owner with two capabilities, which reach no further than the namespace it is in.
"""

from __future__ import annotations

import asyncio
import json
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


def command(owner: tuple[int, int]) -> list[str]:
    """The walk in a network namespace of its own (unshare(1))."""
    walk = confined(owner, "net_admin", "net_bind_service", module="labkit.rehearse.walk")
    return ["unshare", "--net", "--", *walk]


async def rehearse(lab: Lab, state: State, blade: Blade, firmware: str, owner: tuple[int, int]) -> list[dict[str, Any]]:
    """Rehearse a blade that is off; what the walk said, a line a step. Raises ControlError."""
    if lab.network.kind is not NetworkKind.VIRTUAL:
        raise ControlError(
            f"a rehearsal cannot hear this machine's own servers over {lab.network.interface}",
            fix=f"labkit doctor looks at the network, labkit explain {blade.name} at the files",
        )
    await rpc.acall(state.bootd, "rehearse", timeout_s=10, blade=blade.name)
    try:
        task = Task(mac=blade.macs[0], firmware=firmware, server=str(lab.network.server))
        return await walk(blade, task, owner)
    finally:
        await rpc.acall(state.bootd, "rehearsed", timeout_s=10, blade=blade.name)


async def walk(blade: Blade, task: Task, owner: tuple[int, int]) -> list[dict[str, Any]]:
    """Make the namespace and the card, and run the walk. Raises ControlError when it does not come to an end."""
    process = await asyncio.create_subprocess_exec(
        *command(owner), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        if await asyncio.wait_for(process.stdout.readline(), LONGEST_S) == b"ready\n":
            await asyncio.to_thread(network.make_rehearsal_link, blade.slot, task.mac, process.pid)
        line = json.dumps(asdict(task)).encode() + b"\n"
        said, errors = await asyncio.wait_for(process.communicate(line), LONGEST_S)
    except TimeoutError:
        raise ControlError(f"the rehearsal of {blade.name} came to no end", fix="labkit events tells how far") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = [json.loads(text) for text in said.splitlines()]
    if not lines or "ok" not in lines[-1]:
        raise ControlError(f"the rehearsal of {blade.name} failed: {errors.decode(errors='replace').strip()[-400:]}")
    return lines
