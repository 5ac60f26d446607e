"""``./lab doctor``, ``rehearse``, ``why``, ``boot-report`` and ``events``: what happened, and what is wrong."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from labkit import events
from labkit.cli import arguments
from labkit.cli import boot_report as report
from labkit.cli.answers import answer, find_state, load_lab, say, terminal_width
from labkit.diagnosis.why import Why, why
from labkit.errors import PlanError, on_file
from labkit.lab import Blade, Lab
from labkit.lab.process import control
from labkit.servers import client
from labkit.workbook import next_steps

if TYPE_CHECKING:
    from labkit.diagnosis.rehearsal.outcome import Rehearsal


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words, as_json=…)``, which gives a verb's parser."""
    verb("doctor", doctor, "look at this machine and its network before anything boots", as_json=True)
    sub = verb("rehearse", rehearse, "walk a blade's boot by packets alone, without switching it on", as_json=True)
    sub.add_argument("blade")
    sub.add_argument("--firmware", default="", help="bios, ipxe, uefi or http (default: the blade's own)")
    sub = verb("why", tell_why, "where a blade stands, what was seen of it, and the next step", as_json=True)
    sub.add_argument("blade")
    sub = verb("boot-report", boot_report, "the blades' boots: seconds, bytes and rates of each step", as_json=True)
    sub.add_argument("blade", nargs="*", help="blades (default: all)")
    sub.add_argument("--all", action="store_true", help="every boot on record, not only the last")
    sub.add_argument("--svg", type=arguments.path, metavar="FILE", help="write the timeline as a picture, too")
    sub = verb("events", tell_events, "what has happened", as_json=True)
    sub.add_argument("blade", nargs="?")
    sub.add_argument("-f", "--follow", action="store_true", help="keep following, as things happen")


def doctor(options: argparse.Namespace) -> int:
    """Look at everything; 1 when something has to be mended before a boot."""
    from labkit.diagnosis.doctor import checks, examination, findings
    from labkit.servers.controller.seen_swarm import see_swarm

    lab, state = load_lab(options), find_state(options)
    found = checks.examine(lab, examination.look(lab, state, say, see_swarm))
    answer([vars(finding) for finding in found], options.json, findings.render(found))
    well = findings.is_well(found)
    if well and not options.json:
        say(next_steps.after_doctor(up=control.status(state) is not None))
    return 0 if well else 1


def rehearse(options: argparse.Namespace) -> int:
    """Walk a blade's boot; 1 when it would end on the way."""
    from labkit.diagnosis.rehearsal import outcome

    running = client.connect(options.lab, options.state)
    (blade,) = client.choose_blades(running.lab, [options.blade])
    found = outcome.rehearse(running, blade, firmware=options.firmware)
    _answer_with_configs(found, running.lab, blade, options)
    if found.ok and not options.json:
        say(next_steps.after_rehearsal(blade.name))
    return 0 if found.ok else 1


def tell_why(options: argparse.Namespace) -> int:
    """Tell of a blade; 1 when something is wrong with it, or the lab is down."""
    lab, state = load_lab(options), find_state(options)
    (blade,) = client.choose_blades(lab, [options.blade])
    stream = list(events.read(state.events))
    record = report.Record.of(stream)
    is_up = control.status(state) is not None
    told = why(lab, blade, record.state, stream, record.usual(lab), time.time(), up=is_up)
    _answer_with_configs(told, lab, blade, options)
    return 0 if told.well else 1


def _answer_with_configs(told: Rehearsal | Why, lab: Lab, blade: Blade, options: argparse.Namespace) -> None:
    """What is told of a blade, and the configs of a person's own that it boots with, or what is wrong with them."""
    from labkit.netboot import configs

    try:
        looked = configs.look(lab, blade)
        rows, merged = [f"  {line}" for line in looked.lines()], looked.as_json()
    except PlanError as error:
        rows, merged = [f"  {line}" for line in str(error).splitlines()], {"wrong": vars(error)}
    lines = [str(told), *(["", f"its configs: {configs.names(lab, blade)}", *rows] if blade.config else [])]
    answer({**told.as_json(), "configs": merged}, options.json, "\n".join(lines))


def boot_report(options: argparse.Namespace) -> int:
    """Report the last boots, or all of them."""
    from labkit.pictures.timeline import draw_timeline

    lab, state = load_lab(options), find_state(options)
    names = [blade.name for blade in client.choose_blades(lab, options.blade)]
    record = report.Record.of(events.read(state.events))
    boots, usual = report.choose_boots(record, names, every=options.all), record.usual(lab)
    now = time.time() if control.status(state) is not None else 0.0
    if options.svg:
        with on_file(options.svg):
            options.svg.write_text(draw_timeline(boots, usual=usual, now=now) + "\n", encoding="utf-8")
        say(f"the picture is in {options.svg}")
    answer(report.as_json(boots, usual), options.json, report.render_text(boots, usual, terminal_width()))
    return 0


def tell_events(options: argparse.Namespace) -> int:
    """Print the events, one a line; with ``--follow`` as they come."""
    lab, state = load_lab(options), find_state(options)
    chosen = {blade.name for blade in client.choose_blades(lab, options.blade and [options.blade])}
    if options.follow:
        stream: Iterator[events.Event | None] = events.follow(state.events)
    else:
        stream = events.read(state.events)
    seen = False
    for event in stream:
        if event is None or (options.blade and event.blade not in chosen):
            continue
        seen = True
        print(events.encode(event) if options.json else events.describe(event), flush=options.follow)
    if not seen:
        say(f"nothing has happened yet{f' to {options.blade}' if options.blade else ''} in {state.path}")
    return 0
