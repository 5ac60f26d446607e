"""``./lab up``, ``down``, ``clean`` and ``status``: the lab as a whole."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from labkit import events
from labkit.cli import at_boot
from labkit.cli.answers import agrees, answer, find_state, lab_path, load_lab, say, terminal_width
from labkit.cli.phases import Phases
from labkit.diagnosis.listeners import silent
from labkit.errors import MachineError, ParameterError, SwarmError
from labkit.events import folding, tables
from labkit.lab import Lab
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.servers import client, lifecycle
from labkit.workbook import next_steps


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words, as_json=…)``, which gives their parsers."""
    sub = verb("up", up, "start the lab: network, boot server, engine, registry, chassis")
    sub.add_argument("--yes", action="store_true", help="in a real lab: let this machine's own Docker be the manager")
    at_boot.add_options(sub)
    verb("down", down, "end the lab and everything it started")
    sub = verb("clean", clean, "end the lab and remove everything it has made except runs/: swarm, images, keys, logs")
    sub.add_argument("--yes", action="store_true", help="do not ask")
    verb("status", status, "what runs, and how far each blade is", as_json=True)


def up(options: argparse.Namespace) -> int:
    """Start the lab, and say what to do next; or see to it that it starts when this machine boots."""
    if options.run_up is not None or options.dry_run:
        return at_boot.run(options)
    with Phases() as progress:
        running = client.ensure_lab(options.lab, state_path=options.state, own_engine=options.yes, progress=progress)
    print(f"{running}\n\n{next_steps.after_up(running.lab)}")
    return 0


def down(options: argparse.Namespace) -> int:
    """End the lab; what it keeps is said."""
    was_up = lifecycle.down(find_state(options), say)
    if not was_up:
        load_lab(options)  # with the wrong file we have looked in the wrong place
    print("the lab is down; its images and its swarm are kept: ./lab up" if was_up else "the lab was not up")
    return 0


def clean(options: argparse.Namespace) -> int:
    """End the lab and remove what it has made, once a person agrees. Raises ParameterError, MachineError."""
    from labkit.workbook.copies import FOLDER, own_notebooks

    state = find_state(options)
    disks = ", its virtual blades' disks" if state.disks.exists() else ""
    going = f"its swarm, its images{disks} and all of {state.path}"
    if not options.yes and not agrees(f"take the lab down, and remove {going}?"):
        raise ParameterError("nothing was removed", where=str(state.path), fix="./lab clean --yes")
    there = {path.name for path in state.path.iterdir()} if state.path.is_dir() else set()
    if (there - {FOLDER} and "run" not in there) or lab_path(options).is_relative_to(state.path):
        fix = "remove by hand what may go"
        raise MachineError("this is not a folder of a lab's own", where=str(state.path), fix=fix)
    own = own_notebooks(state)
    removed = lifecycle.clean(state, say, keep=(FOLDER,) if own else ())
    removed += at_boot.clean(state)
    if own:
        say(f"kept, since they are yours: {', '.join(own)} in {state.path / FOLDER}")
    if not removed:
        load_lab(options)  # as with down
    print("\n".join(f"removed: {folder}" for folder in removed) or "there was nothing to remove")
    return 0


def status(options: argparse.Namespace) -> int:
    """Print what runs; 1 where a part is down, or does not answer."""
    lab, state = load_lab(options), find_state(options)
    status, starts = control.status(state, ask=True), at_boot.look(state)
    if status is None:
        answer({"up": False}, options.json, f"the lab is not up; start it with ./lab up\n{at_boot.told(starts)}")
        return 1
    now = folding.fold_all(events.read(state.events))
    said = {name: silent(status["answers"], name) for name in status["parts"]} | {"unwritten": status["unwritten"]}
    # Their process ids are those of the lab's own namespace, and mean nothing here: only --json has them.
    parts = ", ".join(name if pid else f"{name} DOWN" for name, pid in status["parts"].items())
    wrong = "".join(f"\n{name}: {why}" for name, why in said.items() if why)
    well = all(status["parts"].values()) and not wrong
    seen, line = _swarm_line(lab, state)
    kind = status["accelerator"] or "real machines"
    text = f"lab '{status['name']}' is up ({kind})\nparts: {parts}{wrong}\n{line}\n{at_boot.told(starts)}"
    text += f"\n\n{tables.table(lab, now, width=terminal_width())}"
    if not options.json:
        ports = _published(client.RunningLab(lab, state)) if well else {}
        text += f"\n\n{next_steps.from_here(lab, now, ports, wrong=not well)}"
    rows = {blade.name: tables.summary(now.blade(blade.name)) for blade in lab.blades}
    answer({"up": True, **status, "swarm": seen, "at_boot": vars(starts), "blades": rows}, options.json, text)
    return 0 if well else 1


def _published(running: client.RunningLab) -> dict[str, list[int]]:
    """The ports that services have published; none where there is no swarm, or we may not ask its engine."""
    from labkit.swarm.services.ports import published_ports

    try:
        with running.engine() as engine:
            return published_ports(engine)
    except SwarmError:
        return {}


def _swarm_line(lab: Lab, state: State) -> tuple[dict[str, Any], str]:
    """What state the swarm is in, for programs and for a person; where that cannot be known, why."""
    from labkit.diagnosis.doctor.probe import NotLooked
    from labkit.servers.controller.seen_swarm import see_swarm

    try:
        seen = see_swarm(lab, state)
    except NotLooked as error:
        return {"what": "", "why": str(error)}, f"swarm: not looked at: {error}"
    until = f"; certified until {time.strftime('%Y-%m-%d', time.gmtime(seen.ends))}" if seen.ends is not None else ""
    return vars(seen), f"swarm: {seen.what}{until}" + (f"\n  fix: {seen.fix}" if seen.fix else "")
