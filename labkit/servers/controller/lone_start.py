"""A virtual lab that starts after everything was cut off while blades managed its swarm as well.

Such a blade's share of the swarm's state was in its memory, and its machine ended with the lab's last supervisor: the
processes of a lab end with it. So once a lab starts, those managers are gone for good, the controller would wait for
them for ever, and to let it go on alone is what a person would be told to do. In a real lab they may still run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError, SwarmError
from labkit.events import Event, Swarm, Trouble
from labkit.lab import ChassisKind, Lab, NetworkKind
from labkit.lab.state import State

TOLD = "the blades that managed it went with all they had in memory, and the controller goes on as its only manager"
MOST_S = 60.0
"""How long the lab's start waits for it. An engine takes half a minute and more to begin a swarm anew."""
_UNDER_WAY: set[asyncio.Task[None]] = set()
"""What is referred to by nobody else may be collected in the middle (`asyncio.create_task`)."""
FIX = "./lab swarm recover says what can be done; services, configs and secrets are kept"


async def ensure_leader(lab: Lab, state: State, emit: Callable[[Event], None]) -> None:
    """Let the controller of a virtual lab that starts lead its swarm, where its fellow managers are blades that went
    with the lab's last supervisor; returns when it does, or after `MOST_S`, and it goes on.

    None of its blades may have been switched on yet. What cannot be done is told; a swarm that is locked with a key is
    left as it is, since Docker makes no new cluster of one.
    """
    if lab.network.kind is not NetworkKind.VIRTUAL or lab.chassis.kind is not ChassisKind.VIRTUAL:
        return
    data = state.data / "engine"
    addresses = {str(lab.network.controller), *(str(blade.address) for blade in lab.blades)}

    async def bring_back() -> None:
        try:
            if await asyncio.to_thread(go_on_alone, state.docker, data, str(lab.network.controller), addresses):
                emit(Swarm(action="recovered", detail=TOLD))
        except LabkitError as error:
            emit(Trouble(part="engine", detail=error.what, fix=FIX))

    task = asyncio.create_task(bring_back())
    await asyncio.wait({task}, timeout=MOST_S)
    _UNDER_WAY.add(task)
    task.add_done_callback(_UNDER_WAY.discard)


def go_on_alone(sock: Path, data: Path, advertise: str, own: set[str]) -> bool:
    """Make the engine at ``sock``, with its files in ``data``, the only manager of its swarm, where that has no leader
    and its other managers are all at addresses that are our ``own``; whether that was done. Raises SwarmError.
    """
    if not (_kept(data) - {advertise}):
        return False
    from labkit.swarm.engine import engine, read_local_swarm  # brings the Docker SDK, as in `LockKeeper`
    from labkit.swarm.membership.local_state import LocalState
    from labkit.swarm.recovery import backup, recover

    if backup.is_locked(data):
        return False
    with engine(sock) as client:
        found = read_local_swarm(client, advertise=advertise)
        if found.state is not LocalState.LEADERLESS:
            return False
        others = _managers(client.info()) - {advertise}
        if not others:  # the only manager takes a moment to lead
            return False
        if strangers := sorted(others - own):
            what = f"its managers at {', '.join(strangers)} cannot be reached, and are no blades of this lab"
            raise SwarmError(f"{found.what}; {what}", fix=FIX)
    recover.recover(sock, advertise=advertise, renew=_never)
    return True


def _kept(data: Path) -> set[str]:
    """The addresses of all managers as the engine has them on its disk (``state.json``, swarmkit's node/node.go): none
    where there is no swarm, and "" where that file cannot be read, so that the engine is asked.
    """
    try:
        listed = json.loads((data / "swarm" / "state.json").read_bytes())
        return {str(one["addr"]).rpartition(":")[0] for one in listed}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, TypeError, KeyError):
        return {""}


def _managers(info: dict[str, Any]) -> set[str]:
    """The addresses of all managers that the engine knows."""
    listed = info["Swarm"].get("RemoteManagers") or ()
    return {str(one.get("Addr", "")).rpartition(":")[0] for one in listed} - {""}


def _never() -> Path:
    raise SwarmError("its certificate has run out as well", fix="./lab swarm recover renews it")
