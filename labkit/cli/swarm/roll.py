"""``./lab swarm roll``: every blade boots the newest image and config, one after the other."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from labkit import events
from labkit.cli import arguments
from labkit.errors import LabkitError, SwarmError
from labkit.pictures.event_text import clock, in_words
from labkit.servers import client
from labkit.swarm.roll.survey import Survey, after, table
from labkit.swarm.roll.turns import Phase, Roll, Seen

WORDS = "let every blade boot the newest image and config, one after the other, while services go on"


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add it with ``verb(name, run, words)``, which gives a verb's parser."""
    sub = verb("roll", roll, WORDS)
    sub.add_argument("blade", nargs="*", help="blades (default: all that are on)")
    sub.add_argument(
        "--parallel", type=arguments.count, default=1, metavar="N", help="this many at once, as far as services allow"
    )
    sub.add_argument("--dry-run", action="store_true", help="only say which blades would boot, and what is in the way")
    sub.add_argument("--no-spread", action="store_true", help="leave replicas where they are at the end")
    sub.add_argument("--no-back", action="store_true", help="leave a blade that fails as it is, to look into it")
    sub.add_argument("--json", action="store_true", help="with --dry-run: print JSON")


def roll(options: argparse.Namespace) -> int:
    """0 when every blade runs the newest; an error that says which blades have what when one does not."""
    from labkit.servers import roll as shell

    running = client.connect(options.lab, options.state)
    if options.dry_run:
        found = _survey(running, options)
        if not options.json:
            print("nothing was done: this was a dry run" if found.roll(limit_s=0).turns else "no blade has to boot")
        return int(bool(found.obstacles))
    with shell.alone(running.state.run / "roll.lock"):
        _take_up(running)
        found = _survey(running, options)
        begun = found.roll(limit_s=running.lab.swarm.roll_blade_s, parallel=options.parallel)
        if not begun.turns:
            print("no blade has to boot")
            return 0
        _carry_out(running, options, found, begun)
    return 0


def _survey(running: client.RunningLab, options: argparse.Namespace) -> Survey:
    """What the roll is about, printed. Raises SwarmError where something is in the way, unless that is asked for as
    JSON."""
    from labkit.servers import roll as shell

    blades = client.choose_blades(running.lab, options.blade)
    found = shell.prepare(running, blades, named=bool(options.blade))
    if options.dry_run and options.json:
        told = {"blades": [vars(row) for row in found.rows], "obstacles": found.obstacles, "notes": found.notes}
        print(json.dumps(told, indent=1))
        return found
    print(table(found.rows))
    for note in found.notes:
        print(f"note: {note}")
    if found.obstacles:
        more = "".join(f"\n    {obstacle}" for obstacle in found.obstacles)
        raise SwarmError(f"no blade was touched, since{more}", fix="mend that first; then ./lab swarm roll again")
    return found


def _take_up(running: client.RunningLab) -> None:
    """What a roll that was killed has left. A swarm that does not answer is told of by what follows."""
    from labkit.servers.drains import take_up

    with suppress(SwarmError):
        for name in take_up(running):
            print(f"{name} was being emptied by a roll that was broken off, and has got back its availability")


def _carry_out(running: client.RunningLab, options: argparse.Namespace, found: Survey, begun: Roll) -> None:
    from labkit.servers import roll as shell
    from labkit.servers.roll_back import take_back

    over, seen = _roll(running, found, begun)
    if over.stopped:
        blade, what = over.stopped.partition(":")[0], f"the roll stopped at {over.stopped}"
        if not options.no_back:
            what += f"\n{take_back(running, found, over, seen, _say)}"
        fix = f"./lab why {blade} tells more; then ./lab swarm roll again: who has the newest is left alone"
        raise SwarmError(what, fix=fix)
    if not options.no_spread:
        shell.spread(running, lambda line: print(line, flush=True))


def _roll(running: client.RunningLab, found: Survey, begun: Roll) -> tuple[Roll, Seen]:
    """Carry a roll out and print how it goes; the roll that is over, and what was seen last.

    At its end, also at Ctrl-C, it prints who has what.
    """
    from labkit.servers import roll as shell

    versions = tuple(f"{row.blade} {row.runs or '-'} {row.wanted}" for row in found.rows)
    _tell(running, events.Roll(step="begun", detail=", ".join(turn.blade for turn in begun.turns), versions=versions))
    now, seen = begun, Seen()
    try:
        for now, seen in shell.carry_out(running, begun, _say):  # noqa: B007 - how far it came is told below
            pass
    except BaseException:
        print(_broken_off(now), flush=True)
        with suppress(LabkitError):  # the lab may be what is gone
            _tell(running, events.Roll(step="over", detail=_broken_off(now)))
        raise
    finally:
        print(table(after(found, now, seen)), flush=True)
    _tell(running, events.Roll(step="over", detail=now.stopped))
    return now, seen


def _broken_off(roll: Roll) -> str:
    """What a person has to know of a roll that nobody carries out any more."""
    untouched = [turn.blade for turn in roll.under_way if turn.phase is Phase.DRAINING]
    left = ", ".join(turn.blade for turn in roll.under_way if turn.phase is not Phase.DRAINING)
    words = f"{left} is under way, and is not seen to its end" if left else "no blade is under way"
    words += f"; {', '.join(untouched)} was being emptied, and goes on as it was" if untouched else ""
    return f"the roll is broken off: {words}; ./lab swarm roll goes on where it was"


def _tell(running: client.RunningLab, event: events.Roll) -> None:
    running.emit(replace(event, time=time.time()))


def _say(event: events.Roll) -> None:
    print(f"{clock(event.time)}  {event.blade}: {in_words(event)}", flush=True)
