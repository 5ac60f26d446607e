"""``./lab swarm …``: the swarm's nodes, managers, backups and services from the command line."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

from labkit.cli import arguments
from labkit.cli.answers import find_state, load_lab, say
from labkit.cli.swarm import deploy as stack_verb
from labkit.cli.swarm import lock, roll, view
from labkit.cli.swarm.move import move
from labkit.errors import ParameterError, SwarmError, on_file
from labkit.events import tables
from labkit.lab import Blade, Lab, NetworkKind
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.servers import client
from labkit.swarm import cluster
from labkit.swarm.engine import read_local_swarm
from labkit.swarm.membership import adoption, autolock, managers
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.membership.prune import judge_nodes
from labkit.swarm.membership.quorum import quorum
from labkit.swarm.node import Node
from labkit.swarm.recovery import backup
from labkit.swarm.recovery import recover as recovery
from labkit.swarm.registry import garbage, image_archive
from labkit.swarm.registry.push_client import PushClient, split
from labkit.swarm.services import compose, deploy
from labkit.swarm.services.compose_gaps import left_out

STDIN = Path("-")
REAL_ENGINE_DATA = Path("/var/lib/docker")
RENEW_S = 180.0
"""How long the lab's engine may take to stop, to start, and to take up its swarm."""


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Give ``./lab swarm`` its verbs; without one it lists the nodes."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=nodes)
    verb = arguments.sub_verbs(parser)
    sub = verb("nodes", nodes, "the members: hostname, blade, role, state, availability")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    sub = verb("prune", prune, "take Down nodes of this lab's blades off the list")
    sub.add_argument("--yes", action="store_true", help="do it; without this only say what would go")
    sub = verb(
        "managers", set_managers, "which blades manage, and what that survives; names make exactly those managers"
    )
    sub.add_argument("blade", nargs="*")
    sub.add_argument("--none", action="store_true", help="no blade: the controller alone")
    roll.add_verb(verb)
    view.add_verbs(verb)
    stack_verb.add_verb(verb)
    sub = verb("admit", admit, "let a blade that booted long ago, or by itself, join now")
    sub.add_argument("blade", nargs="+")
    sub = verb("recover", recover, "bring back a swarm without a quorum, or whose certificate has run out")
    sub.add_argument("--yes", action="store_true", help="do it; without this only say what would happen")
    sub = verb("adopt", adopt, "let labkit change a swarm that was there before it")
    sub.add_argument("--yes", action="store_true", help="agree; without this only say what would be changed")
    sub = verb("move", move, "ways to keep services when the controller's address has changed")
    sub.add_argument("--keep-address", action="store_true", help="the old one becomes a second one of the card")
    sub.add_argument("--anew", action="store_true", help="a new swarm, with every service deployed again")
    sub.add_argument("--secrets", type=arguments.path, metavar="FOLDER", help="the secrets, one file for each")
    sub.add_argument("--again", type=arguments.path, metavar="FILE", help="go on with --anew from what it wrote down")
    sub.add_argument("--yes", action="store_true", help="with --anew: do it; without this only say what would happen")
    lock.add_verbs(verb)
    sub = verb("backup", save, "save the swarm state of the lab's engine (as root)")
    sub.add_argument("file", type=arguments.path)
    sub = verb("restore", restore, "put a saved swarm state back (as root, the lab being down)")
    sub.add_argument("file", type=arguments.path)
    sub = verb("push", push, "put an image, as docker save writes it, into the lab's registry")
    sub.add_argument("file", nargs="?", type=arguments.path, default=STDIN, help="the tar file; standard input without")
    sub.add_argument("--name", help="under which name, as in app:1; without it the one it was saved under")
    sub = verb("gc", collect_garbage, "make room in the lab's registry: images that no service needs go")
    sub.add_argument("--yes", action="store_true", help="do it; without this only say what would go")
    sub = verb("export", export, "a service as files for docker stack deploy")
    sub.add_argument("service")
    sub.add_argument("folder", type=arguments.path)


def check_power(running: client.RunningLab, blades: Sequence[Blade], *, in_order: bool) -> None:
    """Raise SwarmError when switching these blades off would lose the managers' quorum.

    Where the swarm does not answer there is nothing to lose.
    """
    try:
        with running.engine() as engine:
            members = cluster.nodes(engine) if read_local_swarm(engine, settle_s=0).answers else []
    except SwarmError:
        return
    managers.check_power(members, [blade.name for blade in blades], in_order=in_order)


def nodes(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    with running.engine() as engine:
        found = read_local_swarm(engine)
        members = cluster.nodes(engine) if found.answers else []
    if not found.answers and found.state is not LocalState.NONE:
        raise found.error()
    if options.json:
        print(json.dumps([vars(node) for node in members], indent=1, default=str))
        return 0
    rows = [_row(node, running.lab) for node in members]
    heads = ["node", "blade", "role", "state", "availability", "id", ""]
    print(tables.grid(heads, rows) if rows else "there is no swarm yet")
    if rows:
        print(f"\n{quorum(members)}")
    return 0


def _row(node: Node, lab: Lab) -> list[str]:
    names = {blade.name for blade in lab.blades}
    notes = "lost since " + time.strftime("%H:%M:%S", time.localtime(node.lost)) if node.lost is not None else ""
    if node.blade not in names and not node.leader:
        notes = "not a blade of this lab" if node.role == "worker" else notes
    return [node.hostname, node.blade or "-", node.role, node.state, node.availability, node.id[:12], notes]


def prune(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    with running.engine() as engine:
        verdicts = judge_nodes(cluster.nodes(engine), {blade.name for blade in running.lab.blades})
        for verdict in verdicts:
            done = "stays"
            if verdict.goes:
                done = "would go"
                if options.yes:
                    done = "removed" if cluster.remove_node(engine, verdict.node.id) else "gone already"
            print(f"{verdict.node.hostname} {verdict.node.id[:12]} {done}: {verdict.why}")
    if not verdicts:
        print("every node is Ready: nothing to prune")
    elif not options.yes and any(verdict.goes for verdict in verdicts):
        print("nothing was removed; to do it: ./lab swarm prune --yes")
    return 0


def push(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    if options.file == STDIN and sys.stdin.isatty():
        raise ParameterError("no file is named", fix="docker save app:1 | ./lab swarm push")
    try:
        with tempfile.TemporaryFile() if options.file == STDIN else options.file.open("rb") as file:
            if options.file == STDIN:  # what says which image it is comes last in it
                shutil.copyfileobj(sys.stdin.buffer, file)
                file.seek(0)
            print(_push(running, file, options))
    except OSError as error:
        raise SwarmError(f"cannot be read: {error.strerror}", where=str(options.file), fix=image_archive.SAVE) from None
    return 0


def _push(running: client.RunningLab, file: IO[bytes], options: argparse.Namespace) -> str:
    """The name by which services may now ask for the image, with its digest."""
    where = "standard input" if options.file == STDIN else str(options.file)
    registry = PushClient(running.state.push)
    with image_archive.read(file, where) as image:
        name = options.name or next(iter(image.names), "")
        if not name:
            raise SwarmError("it was saved without a name", where=where, fix="give it one with --name app:1")
        repository, tag = split(name)
        digest = registry.push(image, repository, [tag])
    return f"{running.lab.network.registry}/{repository}:{tag}@{digest}"


def collect_garbage(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    verdicts = garbage.look_over(running)
    for verdict in verdicts:
        print(f"{verdict.manifest} {'goes' if verdict.goes else 'stays'}: {verdict.why}")
    if options.yes:
        freed_b = garbage.collect(running, verdicts)
        print(f"{sum(verdict.goes for verdict in verdicts)} images deleted, {freed_b} bytes freed")
    else:
        print("nothing was deleted; to do it: ./lab swarm gc --yes")
    return 0


def set_managers(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    if options.none and options.blade:
        raise ParameterError("--none and names contradict each other", fix="give one of them")
    with running.engine() as engine:
        if options.blade or options.none:
            print(managers.ensure_managers(engine, running.lab, options.blade))
        else:
            print(managers.look(engine, running.lab))
    return 0


def admit(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    for blade in client.choose_blades(running.lab, options.blade):
        print(f"{blade.name}: {'may join' if running.admit(blade) else 'has joined already, or never booted'}")
    return 0


def adopt(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    with running.engine() as engine:
        if adoption.may_change(cluster.swarm_labels(engine), own_engine=cluster.is_own_engine(running.lab)):
            print("labkit made this swarm, or you have agreed before: nothing to do")
            return 0
        print(cluster.terms(engine))
        if options.yes:
            cluster.agree(engine, running.lab.name)
    print("agreed" if options.yes else "nothing was changed; to agree: ./lab swarm adopt --yes")
    return 0


def recover(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    address, sock = str(running.lab.network.controller), running.state.manager_socket(running.lab)
    if options.yes:
        renew, is_locked = partial(_renew, running, address), partial(_is_locked, running)
        print(recovery.recover(sock, advertise=address, renew=renew, is_locked=is_locked, progress=print))
        return 0
    with running.engine() as engine:
        found = read_local_swarm(engine, advertise=address)
    print(recovery.explain(found))
    return 0 if found.answers else 1


def _renew(running: client.RunningLab, address: str) -> Path:
    """Start the controller's engine anew, without the certificate that has run out; the folder of a copy."""
    if running.lab.network.kind is NetworkKind.VIRTUAL:
        return Path(rpc.call(running.state.control, "renew_swarm", timeout_s=RENEW_S)["copy"])
    from labkit.servers.controller import own_engine

    with running.engine() as engine:
        data = Path(engine.info()["DockerRootDir"])
    return own_engine.renew_swarm(data, running.state.manager_socket(running.lab), advertise=address)


def _is_locked(running: client.RunningLab) -> bool:
    """Whether the state of the controller's engine is locked with a key. Raises FileError where only root may read."""
    if running.lab.network.kind is NetworkKind.VIRTUAL:
        return bool(rpc.call(running.state.control, "swarm_locked")["locked"])
    with running.engine() as engine:
        return backup.is_locked(Path(engine.info()["DockerRootDir"]))


def save(options: argparse.Namespace) -> int:
    lab, state = load_lab(options), find_state(options)
    data, keys = _engine_data(lab, state), autolock.KeptKeys(state.unlock_keys).read()
    size_b = backup.save(data, options.file, keys)
    print(f"{options.file}: {size_b} bytes; it holds the swarm's keys, so keep it as you would keep a password")
    if backup.is_locked(data):
        print("the swarm is locked with a key: " + ("that is in the file, too" if keys else lock.NOT_IN_IT))
    return 0


def restore(options: argparse.Namespace) -> int:
    lab, state = load_lab(options), find_state(options)
    data = _engine_data(lab, state)
    keys = backup.restore(options.file, data, state.manager_socket(lab))
    if keys:
        state.make()
        autolock.KeptKeys(state.unlock_keys).add(*keys)
    if backup.is_locked(data):
        print("its swarm is locked with a key: " + ("./lab up unlocks it" if keys else lock.ASKED_FOR))
    print("put back; start the engine (./lab up), and if its swarm does not answer then: ./lab swarm recover --yes")
    return 0


def export(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    with running.engine() as engine:
        service = deploy.read(engine, options.service)
    files = compose.export(service)
    for name, content in files.items():
        with on_file(options.folder / name):
            options.folder.mkdir(parents=True, exist_ok=True)
            (options.folder / name).write_bytes(content)
        print(options.folder / name)
    missing = left_out(service.spec)
    for words in missing:
        say(f"not in the file: {words}")
    return 1 if missing else 0


def _engine_data(lab: Lab, state: State) -> Path:
    return state.data / "engine" if lab.network.kind is NetworkKind.VIRTUAL else REAL_ENGINE_DATA
