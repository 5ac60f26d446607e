"""``./lab swarm move``: what to do with a swarm whose controller has another address than before."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from labkit.errors import ParameterError, SwarmError, on_file
from labkit.lab import NetworkKind
from labkit.lab.process import rpc
from labkit.lab.state import write_whole
from labkit.servers import client
from labkit.servers.client import RunningLab
from labkit.servers.controller import own_engine
from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import engine, need_manager, read_local_swarm
from labkit.swarm.membership import autolock
from labkit.swarm.membership.local_state import LocalState, LocalSwarm
from labkit.swarm.recovery import backup, redeploy
from labkit.swarm.recovery import move as moving

RESTART_S = 120.0
LEADS_S = 60.0


def move(options: argparse.Namespace) -> int:
    """Say which ways there are, or go the one that was chosen."""
    running = client.connect(options.lab, options.state)
    if options.keep_address and options.anew:
        raise ParameterError("--keep-address and --anew are two ways", fix="choose one of them")
    if options.again is not None:
        return _again(running, options)
    with running.engine() as docker:
        found = read_local_swarm(docker, advertise=str(running.lab.network.controller))
    if found.state is not LocalState.ELSEWHERE or not (options.keep_address or options.anew):
        print(moving.explain(found, str(running.lab.network.subnet)))
        return 0 if found.answers else 1
    return _keep(running, found) if options.keep_address else _anew(running, options, found)


def _keep(running: RunningLab, found: LocalSwarm) -> int:
    """Give the controller's card the swarm's address as a second one, and start its engine anew."""
    lab = running.lab
    is_virtual = lab.network.kind is NetworkKind.VIRTUAL
    taken = {str(blade.address): blade.name for blade in lab.blades}
    if is_virtual:  # in a real lab the server is this machine as well
        taken[str(lab.network.server)] = "the server"
    if owner := taken.get(found.address):
        raise SwarmError(f"{found.address} is the address of {owner} by now", fix="give that another one in lab.yaml")
    if is_virtual:
        copy = rpc.call(running.state.control, "engine_address", timeout_s=RESTART_S, address=found.address)["copy"]
    else:
        copy = str(own_engine.add_address(lab.network.interface, found.address))
    print(f"the controller's card has {found.address} as well; the swarm's state as it was is kept in {copy}")
    sock = running.state.manager_socket(lab)
    deadline = time.monotonic() + LEADS_S
    while not (now := _look(sock)).answers and time.monotonic() < deadline:
        time.sleep(1)
    print(now.what + (f"\n  fix: {now.fix}" if now.fix else ""))
    return 0 if now.answers else 1


def _look(sock: Path) -> LocalSwarm:
    with engine(sock) as docker:
        return read_local_swarm(docker)


def _anew(running: RunningLab, options: argparse.Namespace, found: LocalSwarm) -> int:
    """Write down what the old swarm runs, end it after a copy, make a new one and deploy everything again."""
    lab, sock = running.lab, running.state.manager_socket(running.lab)
    if not _look(sock).answers:
        raise SwarmError(
            f"the swarm at {found.address} has to answer once more, and it does not: {found.words or found.what}",
            fix="./lab swarm move --keep-address, then this again",
        )
    values = _secrets(options.secrets)
    with engine(sock) as docker:
        inventory = moving.take_inventory(docker)
        moving.check_alone(docker)
        number, blades, members = need_manager(docker).node, {blade.name for blade in lab.blades}, cluster.nodes(docker)
    availability = next(node.availability for node in members if node.id == number)
    others = [node.hostname for node in members if node.id != number and node.blade not in blades]
    moving.check_secrets(inventory, values)
    names = ", ".join(spec["Name"] for spec in inventory.services) or "none"
    print(f"services to be deployed again: {names}")
    for name in inventory.bound_to_nodes:
        print(f"{name} is placed by nodes or their labels: labels that you gave nodes have to be given again")
    for name in others:
        print(f"{name} is no blade of this lab: it has to join the new swarm by hand")
    if not options.yes:
        print("nothing was changed; to do it: ./lab swarm move --anew --yes")
        return 0
    kept = running.state.path / f"swarm-{found.address}.json"
    write_whole(kept, json.dumps(inventory.as_json(), indent=1), mode=0o600)
    if lab.network.kind is NetworkKind.VIRTUAL:
        copy = rpc.call(running.state.control, "engine_address", timeout_s=RESTART_S, address=found.address)["copy"]
    else:
        copy = str(kept.with_suffix(".tar.gz"))
        with engine(sock) as docker:
            data = Path(docker.info()["DockerRootDir"])
        backup.save(data, Path(copy), autolock.KeptKeys(running.state.unlock_keys).read())
    print(f"the old swarm's state is kept in {copy}, what it ran in {kept}")
    deadline = time.monotonic() + LEADS_S
    while not _look(sock).answers and time.monotonic() < deadline:
        time.sleep(1)
    with engine(sock, timeout_s=60) as docker:
        moving.leave(docker)
        state = cluster.ensure_swarm_of(docker, lab)
        spec_changes.change_node(docker, state.node, lambda spec: spec.update(Availability=availability))  # as it was
        made = moving.deploy_again(docker, inventory, values, progress=print)
    if lab.network.kind is NetworkKind.VIRTUAL:
        rpc.call(running.state.control, "engine_address", timeout_s=RESTART_S, address="")
    print(f"{len(made)} services deployed again; boot the blades: ./lab power reset")
    return 0


def _again(running: RunningLab, options: argparse.Namespace) -> int:
    """Go on with a move that was cut off after the new swarm was made."""
    with on_file(options.again):
        inventory = redeploy.of_json(json.loads(options.again.read_text()))
    with running.engine() as docker:
        print(cluster.ensure_swarm_of(docker, running.lab))
        made = moving.deploy_again(docker, inventory, _secrets(options.secrets), progress=print)
    print(f"{len(made)} services deployed again")
    return 0


def _secrets(folder: Path | None) -> dict[str, bytes]:
    """The values of secrets by name: the files of a folder."""
    if folder is None:
        return {}
    with on_file(folder):
        return {entry.name: Path(entry.path).read_bytes() for entry in os.scandir(folder) if entry.is_file()}
