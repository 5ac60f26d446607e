"""The swarm as the doctor and ``./lab status`` see it: what state it is in, and what will be wrong with it later."""

from __future__ import annotations

import contextlib

import docker

from labkit.diagnosis.doctor.facts import SeenSwarm
from labkit.diagnosis.doctor.probe import NotLooked
from labkit.errors import FileError, SwarmError
from labkit.lab import Lab
from labkit.lab.state import State
from labkit.machines.host.routes import reached_networks
from labkit.swarm.engine import api, engine, read_local_swarm
from labkit.swarm.membership import address_pool, autolock
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.recovery import certificate

ASK_S = 10
"""How long the engine may take for an answer."""


def see_swarm(lab: Lab, state: State) -> SeenSwarm:
    """Look at the swarm of the controller's engine, which answers. Raises NotLooked where it cannot be asked."""
    try:
        with engine(state.manager_socket(lab), timeout_s=ASK_S) as client:
            found = read_local_swarm(client, advertise=str(lab.network.controller))
            covers, pool = _overlays(client, lab) if found.answers else ((), "")
            lock = _lock(client, lab, state) if found.answers else ("", "")
    except SwarmError as error:
        raise NotLooked(error.what) from None
    is_well = found.answers or found.state is LocalState.NONE
    ends = certificate.served_until(found.address) if found.answers else None
    return SeenSwarm(found.what, is_well, "" if is_well else found.fix, ends, covers, pool, *lock)


def _lock(client: docker.DockerClient, lab: Lab, state: State) -> tuple[str, str]:
    """`autolock.judge` of the swarm, and of the key that the lab keeps as far as we may read it."""
    has, kept = autolock.is_on(client), False
    with contextlib.suppress(FileError):
        kept = has and autolock.read_key(client) in autolock.KeptKeys(state.unlock_keys).read()
    return autolock.judge(has, lab.swarm.autolock, kept=kept)


def _overlays(client: docker.DockerClient, lab: Lab) -> tuple[tuple[str, ...], str]:
    """The overlay networks that cover the lab's own or one that this machine has a route to, and the pool if it covers
    the lab's own."""
    subnets = [
        (str(raw["Name"]), str(config.get("Subnet", "")))
        for raw in api(client).networks()
        if raw.get("Driver") == "overlay"
        for config in (raw.get("IPAM") or {}).get("Config") or ()
    ]
    pools = [str(pool) for pool in api(client).inspect_swarm().get("DefaultAddrPool") or ()]
    own = lab.network.subnet
    clashing = [pool for pool in pools if address_pool.overlapping([("", pool)], [own])]
    return address_pool.overlapping(subnets, (own, *reached_networks())), ", ".join(clashing)
