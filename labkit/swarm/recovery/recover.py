"""A swarm that is there and does not answer, brought back through the controller's engine, with all it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labkit.errors import SwarmError
from labkit.swarm import cluster
from labkit.swarm.engine import engine, read_local_swarm
from labkit.swarm.membership import managers
from labkit.swarm.membership.local_state import LocalState, LocalSwarm
from labkit.swarm.membership.quorum import Quorum, quorum

Progress = Callable[[str], None]

RECOVERABLE = (LocalState.LEADERLESS, LocalState.EXPIRED)


def explain(found: LocalSwarm) -> str:
    """What `recover` would do with a swarm in this state, for the person who is to say yes."""
    if found.answers:
        return "the swarm has its quorum: nothing to recover"
    if found.state is LocalState.LEADERLESS:
        return LEADERLESS.format(address=found.wanted or found.address)
    if found.state is LocalState.EXPIRED:
        return EXPIRED.format(what=found.what, address=found.wanted or found.address)
    return str(found.error())


def recover(
    sock: Path,
    *,
    advertise: str,
    renew: Callable[[], Path],
    is_locked: Callable[[], bool] = lambda: False,
    timeout_s: float = 60.0,
    progress: Progress = lambda line: None,
) -> Quorum:
    """Let this engine go on as the only manager of its swarm (``--force-new-cluster``), at its address ``advertise``.

    Nodes, services, configs and secrets stay as this engine knows them, workers that run go on and find it again by
    its address; what other managers alone had agreed on is lost. ``renew`` is how an engine is started anew whose
    certificate has run out (`labkit.swarm.recovery.renew`); it returns the folder of the copy it took before.
    ``is_locked`` says whether the engine's state is locked with a key (`labkit.swarm.recovery.backup.is_locked`).
    Raises SwarmError while the swarm answers, and in a state in which this would not help or would harm.
    """
    with engine(sock, timeout_s=max(60, int(timeout_s))) as client:
        found = read_local_swarm(client, advertise=advertise)
        if found.answers:
            raise SwarmError("the swarm has its quorum: there is nothing to recover", fix="./lab swarm nodes shows it")
        if found.state not in RECOVERABLE:
            raise found.error()
        if found.moved:
            raise SwarmError(
                f"this engine's swarm is at {found.address}, the lab has it at {advertise}: it would be made at one "
                "address and known by the other",
                fix=f"set network.controller in lab.yaml to {found.address} first",
            )
        if is_locked():
            # The engine forgets the key, fails, and takes itself for one without a swarm until it is started anew: it
            # would delete this one where it is given another then (Init in moby's daemon/cluster/swarm.go).
            raise SwarmError(f"{found.what}; {LOCKED}", fix=LOCKED_FIX)
        if found.state is LocalState.LEADERLESS:
            progress(f"the managers have lost their quorum; {advertise} goes on alone")
            return managers.force_alone(client, advertise=advertise, timeout_s=timeout_s)
    progress("the certificate has run out; the engine is started anew, which takes some seconds")
    copy = renew()
    progress(f"as it was before, the swarm's state is kept in {copy}; remove that when all is well")
    with engine(sock) as client:
        return quorum(cluster.nodes(client))


def take_up(sock: Path, *, advertise: str, copy: Path) -> Quorum:
    """Let an engine that was started without its note (`labkit.swarm.recovery.renew`) take up its swarm as the only
    manager. Raises SwarmError that names the ``copy``."""
    try:
        with engine(sock, timeout_s=60) as client:
            return managers.force_alone(client, advertise=advertise)
    except SwarmError as error:
        raise SwarmError(
            f"the swarm was not taken up: {error.what}",
            fix=f"its state is kept in {copy}; look at the engine's log before you try again",
        ) from None


LOCKED = "it is locked with a key (autolock), and Docker makes no new cluster of one that is"
LOCKED_FIX = "bring back managers that are gone, unlocked; sudo ./lab swarm backup FILE keeps what there is"
LEADERLESS = """\
The managers have lost their quorum: nothing can be changed, services run on as they are.
If enough of the managers that are gone can be switched on again with their state, do that and wait.
A diskless blade cannot: its state went with its memory. Then let the controller go on alone:
    ./lab swarm recover --yes
It becomes the only manager at {address}, with all services it knows; running workers find it again by themselves.
Blades that were managers join again, in their role, at their next boot; what is left of them is removed then.
A swarm that is locked with a key cannot be brought back so, and is not touched."""

EXPIRED = """\
Of this swarm {what}.
Its services, configs and secrets are whole, and so is what its workers run. To get a new certificate:
    ./lab swarm recover --yes
That keeps a copy of the swarm's state, starts the controller's engine anew, which ends the containers on this engine
for some seconds, and makes it the only manager at {address}. Blades whose certificates have run out as well have to be
booted: they join again by themselves.
A swarm that is locked with a key cannot be brought back so, and is not touched."""
