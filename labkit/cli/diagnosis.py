"""``labkit doctor``, ``rehearse``, ``why`` and ``boot-report``: asking what is wrong, from the command line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from labkit import events
from labkit.cli import arguments
from labkit.cli import boot_report as report
from labkit.diagnosis.why import why
from labkit.errors import on_file
from labkit.lab import Lab, lab_yaml
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.servers import client


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words, as_json=…)``, which gives a verb's parser."""
    verb("doctor", doctor, "look at this machine and its network before anything boots", as_json=True)
    sub = verb("rehearse", rehearse, "walk a blade's boot by packets alone, without switching it on", as_json=True)
    sub.add_argument("blade")
    sub.add_argument("--firmware", default="", help="bios, ipxe, uefi or http (default: what the blade has)")
    sub = verb("why", tell_why, "where a blade stands, what was seen of it, and the next step", as_json=True)
    sub.add_argument("blade")
    sub = verb("boot-report", boot_report, "the blades' boots: seconds, bytes and rates of each step", as_json=True)
    sub.add_argument("blade", nargs="*", help="blades (default: all)")
    sub.add_argument("--all", action="store_true", help="every boot on record, not only the last")
    sub.add_argument("--svg", type=arguments.path, metavar="FILE", help="write the timeline as a picture, too")


def doctor(options: argparse.Namespace) -> int:
    """Look at everything; 1 when something has to be mended before a boot."""
    from labkit.diagnosis.doctor import examination, findings

    lab, state = _lab_and_state(options)
    found = findings.examine(lab, examination.look(lab, state, _say))
    _print([vars(finding) for finding in found], options.json, findings.render(found))
    return 0 if findings.is_well(found) else 1


def rehearse(options: argparse.Namespace) -> int:
    """Walk a blade's boot; 1 when it would end on the way."""
    from labkit.diagnosis.rehearsal import outcome

    running = client.connect(options.lab, options.state)
    (blade,) = client.choose_blades(running.lab, [options.blade])
    found = outcome.rehearse(running, blade, firmware=options.firmware)
    _print(found.as_json(), options.json, str(found))
    return 0 if found.ok else 1


def tell_why(options: argparse.Namespace) -> int:
    """Tell of a blade; 1 when something is wrong with it, or the lab is down."""
    lab, state = _lab_and_state(options)
    (blade,) = client.choose_blades(lab, [options.blade])
    stream = list(events.read(state.events))
    record = report.Record.of(stream)
    is_up = control.status(state) is not None
    told = why(lab, blade, record.state, stream, record.usual(lab), time.time(), up=is_up)
    _print(told.as_json(), options.json, str(told))
    return 0 if told.well else 1


def boot_report(options: argparse.Namespace) -> int:
    """Report the last boots, or all of them."""
    from labkit.pictures.timeline import draw_timeline

    lab, state = _lab_and_state(options)
    names = [blade.name for blade in client.choose_blades(lab, options.blade)]
    record = report.Record.of(events.read(state.events))
    boots, usual = report.choose_boots(record, names, every=options.all), record.usual(lab)
    now = time.time() if control.status(state) is not None else 0.0
    if options.svg:
        with on_file(options.svg):
            options.svg.write_text(draw_timeline(boots, usual=usual, now=now) + "\n", encoding="utf-8")
        _say(f"the picture is in {options.svg}")
    _print(report.as_json(boots, usual), options.json, report.render_text(boots, usual))
    return 0


def _lab_and_state(options: argparse.Namespace) -> tuple[Lab, State]:
    path = client.find_lab(options.lab)
    return lab_yaml.load(path), client.find_state(path, options.state)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(value: Any, as_json: bool, text: str) -> None:
    print(json.dumps(value, indent=1, default=str) if as_json else text)
