"""``labkit swarm …``: the swarm's nodes, managers, backups and services from the command line."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from labkit.cli import arguments
from labkit.errors import ParameterError, SwarmError, on_file
from labkit.events import stages
from labkit.lab import Blade, Lab, NetworkKind, lab_yaml
from labkit.lab.state import State
from labkit.servers import client
from labkit.swarm import cluster
from labkit.swarm.membership import backup, managers
from labkit.swarm.membership.prune import judge_nodes
from labkit.swarm.membership.quorum import quorum
from labkit.swarm.node import Node
from labkit.swarm.registry import garbage, image_archive
from labkit.swarm.registry.push_client import PushClient, split
from labkit.swarm.services import compose, deploy

STDIN = Path("-")
REAL_ENGINE_DATA = Path("/var/lib/docker")


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Give ``labkit swarm`` its verbs; without one it lists the nodes."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=nodes)
    verbs = parser.add_subparsers(metavar="VERB")

    def verb(name: str, run: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=words, description=words)
        sub.set_defaults(run=run)
        return sub

    sub = verb("nodes", nodes, "the members: hostname, blade, role, state, availability")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    sub = verb("prune", prune, "take Down nodes of this lab's blades off the list")
    sub.add_argument("--yes", action="store_true", help="do it; without this only say what would go")
    sub = verb("managers", set_managers, "which blades manage and what that survives; names make those managers")
    sub.add_argument("blade", nargs="*")
    sub.add_argument("--none", action="store_true", help="no blade: the controller alone")
    sub = verb("admit", admit, "let a blade that booted long ago, or by itself, join now")
    sub.add_argument("blade", nargs="+")
    sub = verb("recover", recover, "go on alone when the managers have lost their quorum")
    sub.add_argument("--yes", action="store_true", help="do it; without this only say what would happen")
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
            members = cluster.nodes(engine) if cluster.has_swarm(engine) else []
    except SwarmError:
        return
    managers.check_power(members, [blade.name for blade in blades], in_order=in_order)


def nodes(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    with running.engine() as engine:
        members = cluster.nodes(engine) if cluster.has_swarm(engine) else []
    if options.json:
        print(json.dumps([vars(node) for node in members], indent=1, default=str))
        return 0
    rows = [_row(node, running.lab) for node in members]
    heads = ["node", "blade", "role", "state", "availability", "id", ""]
    print(stages.grid(heads, rows) if rows else "there is no swarm yet")
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
        print("nothing was removed; to do it: labkit swarm prune --yes")
    return 0


def push(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    if options.file == STDIN and sys.stdin.isatty():
        raise ParameterError("no file is named", fix="docker save app:1 | labkit swarm push")
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
        print("nothing was deleted; to do it: labkit swarm gc --yes")
    return 0


def set_managers(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    if options.none and options.blade:
        raise ParameterError("--none and names contradict each other", fix="give one of them")
    wanted = options.blade if options.blade or options.none else None
    with running.engine() as engine:
        print(managers.ensure_managers(engine, running.lab, wanted))
    return 0


def admit(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    for blade in client.choose_blades(running.lab, options.blade):
        print(f"{blade.name}: {'may join' if running.admit(blade) else 'has joined already, or never booted'}")
    return 0


def recover(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    address = str(running.lab.network.controller)
    with running.engine() as engine:
        if not options.yes:
            good = managers.leads(engine)
            print("the swarm has its quorum: nothing to recover" if good else RECOVERY.format(address=address))
            return 0 if good else 1
        print(managers.recover(engine, advertise=address, progress=print))
    return 0


RECOVERY = """\
The managers have lost their quorum: nothing can be changed, services run on as they are.
If enough of the managers that are gone can be switched on again with their state, do that and wait.
A diskless blade cannot: its state went with its memory. Then let the controller go on alone:
    labkit swarm recover --yes
It becomes the only manager at {address}, with all services it knows; running workers find it again by themselves.
Blades that were managers join again, in their role, at their next boot; what is left of them is removed then."""


def save(options: argparse.Namespace) -> int:
    lab, state = _lab_and_state(options)
    size_b = backup.save(_engine_data(lab, state), options.file)
    print(f"{options.file}: {size_b} bytes; it holds the swarm's keys, so keep it as you would keep a password")
    return 0


def restore(options: argparse.Namespace) -> int:
    lab, state = _lab_and_state(options)
    backup.restore(options.file, _engine_data(lab, state), state.manager_socket(lab))
    print("put back; start the engine (./lab up), and if it finds no leader: labkit swarm recover --yes")
    return 0


def export(options: argparse.Namespace) -> int:
    running = client.connect(options.lab, options.state)
    with running.engine() as engine:
        files = compose.export(deploy.read(engine, options.service))
    for name, content in files.items():
        with on_file(options.folder / name):
            options.folder.mkdir(parents=True, exist_ok=True)
            (options.folder / name).write_bytes(content)
        print(options.folder / name)
    return 0


def _lab_and_state(options: argparse.Namespace) -> tuple[Lab, State]:
    path = client.find_lab(options.lab)
    return lab_yaml.load(path), client.find_state(path, options.state)


def _engine_data(lab: Lab, state: State) -> Path:
    return state.data / "engine" if lab.network.kind is NetworkKind.VIRTUAL else REAL_ENGINE_DATA
