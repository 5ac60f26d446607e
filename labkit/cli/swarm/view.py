"""``./lab swarm logs`` and ``./lab swarm top``: what services say, and what blades carry."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace

from labkit.cli import arguments
from labkit.events import tables
from labkit.events.amounts import size
from labkit.lab.plain_text import shown
from labkit.pictures.event_text import clock
from labkit.servers import client
from labkit.swarm.engine import api
from labkit.swarm.observe.log_entries import Entry
from labkit.swarm.observe.usage import Usage, usage

TAIL = 50


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words)``, which gives a verb's parser."""
    sub = verb("logs", logs, "what the replicas of a service say, by replica and blade")
    sub.add_argument("service")
    sub.add_argument("-f", "--follow", action="store_true", help="keep following them")
    sub.add_argument("--tail", type=arguments.lines, default=TAIL, metavar="N", help=f"last lines of each ({TAIL})")
    sub.add_argument("--blade", help="only what was said on this blade")
    sub.add_argument("--replica", type=arguments.count, metavar="N", help="only the replica of this number")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, one object per line")
    sub = verb("top", top, "memory, load and tasks by blade")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def logs(options: argparse.Namespace) -> int:
    """Print the lines. What a container wrote reaches no terminal but as plain text (`shown`); JSON escapes all."""
    from labkit.swarm.observe import service_logs

    running = client.connect(options.lab, options.state)
    if options.blade:
        client.choose_blades(running.lab, [options.blade])
    with running.engine() as engine:
        found: Iterable[Entry]
        if options.follow:
            found = service_logs.follow_entries(engine, options.service, tail=options.tail)
        else:
            found = service_logs.last_entries(engine, options.service, tail=options.tail)
        for entry in found:
            if _is_meant(entry, options):
                print(json.dumps(asdict(entry)) if options.json else line(entry), flush=options.follow)
    return 0


def _is_meant(entry: Entry, options: argparse.Namespace) -> bool:
    """The engine's own words are meant for everybody: they say what is missing."""
    if not entry.replica:
        return True
    is_replica = not options.replica or entry.replica.endswith(f".{options.replica}")
    return is_replica and (not options.blade or entry.blade == options.blade)


def line(entry: Entry) -> str:
    """An entry for a person."""
    if not entry.replica:
        return f"the engine: {shown(entry.words)}"
    mark = "!" if entry.stream == "stderr" else " "
    return f"{clock(entry.time)}  {shown(entry.replica)} on {shown(entry.blade) or '-'} {mark}| {shown(entry.words)}"


def top(options: argparse.Namespace) -> int:
    """Print a table; blades of this lab are asked for what they measure."""
    from labkit.servers.blade_shell import measure

    running = client.connect(options.lab, options.state)
    with running.engine() as engine:
        found = usage(api(engine).nodes(), api(engine).tasks())
    there = {one.blade for one in found if one.state == "ready"}
    measured = measure(running.state, [blade for blade in running.lab.blades if blade.name in there])
    found = tuple(replace(one, measured=measured.get(one.blade)) for one in found)
    print(json.dumps([asdict(one) for one in found], indent=1) if options.json else table(found))
    return 0


def table(found: Iterable[Usage]) -> str:
    """Who carries what, for a person."""
    heads = ["node", "state", "tasks", "load", "processors", "memory used", "of", "reserved", "may use"]
    return tables.grid(heads, [_row(one) for one in found])


def _row(one: Usage) -> list[str]:
    tasks = f"{one.tasks}" + (f" (+{one.starting})" if one.starting else "")
    state = one.state if one.availability == "active" else f"{one.state}, {one.availability}"
    used = [f"{one.measured.load:.2f}", size(one.measured.used_b)] if one.measured is not None else ["-", "-"]
    most = "no limit" if one.unlimited else size(one.limit_b)
    return [
        one.blade or one.node, state, tasks, used[0], f"{one.cpus:g}", used[1],
        size(one.measured.total_b if one.measured is not None else one.memory_b),
        size(one.reserved_b), most if one.tasks or one.starting else "-",
    ]  # fmt: skip
