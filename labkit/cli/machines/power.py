"""``./lab power``: pressing blades' buttons from the command line, and saying beforehand what would be pressed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from labkit.cli.answers import answer, find_state, load_lab, say
from labkit.cli.machines import bmc
from labkit.cli.swarm import verbs as swarm
from labkit.errors import ParameterError
from labkit.lab import Blade
from labkit.lab.process import control
from labkit.machines import power
from labkit.machines.power import ways
from labkit.servers import client
from labkit.workbook import next_steps

STATES = ("on", "off", "shutdown", "reset", "pxe", "status", "release", *bmc.VERBS)
ASKED = ("status", "sensors", "log")
DRY_RUN = "press nothing; only say which blade, by what, and what would be pressed"


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb with ``verb(name, run, words)``, which gives its parser."""
    sub = verb("power", press, "press blades' power buttons")
    sub.add_argument(
        "state_wanted",
        metavar="STATE",
        choices=STATES,
        help="on, off, shutdown, reset, pxe (the next boot is from the network, once), status, "
        "release (let a blade boot again that is held since it booted in a circle), "
        "sensors (°C, fans and watts), log (what its BMC has noted), "
        "identify and identify-off (the lamp by which it is found in its rack)",
    )
    sub.add_argument("blade", nargs="*", help="blades (default: all)")
    sub.add_argument("--force", action="store_true", help="even if the swarm's managers lose their quorum by it")
    sub.add_argument("--dry-run", action="store_true", help=DRY_RUN)
    sub.add_argument("--json", action="store_true", help="with status, sensors and log: print JSON")


def press(options: argparse.Namespace) -> int:
    """Press a button of each blade, or ask for its power."""
    wanted = options.state_wanted
    if options.json and (wanted not in ASKED or options.dry_run):
        raise ParameterError("--json is of what is asked, not of what is pressed", fix="./lab power status --json")
    if options.dry_run:
        return _dry_run(options)
    running = client.connect(options.lab, options.state)
    blades = client.choose_blades(running.lab, options.blade)
    if wanted in bmc.VERBS:
        return bmc.run(running, blades, wanted, named=bool(options.blade), as_json=options.json)
    if not options.force:
        check_quorum(running, blades, wanted)
    if options.json:
        answer([{"blade": blade.name, "power": running.power_state(blade)} for blade in blades], True, "")
        return 0
    for blade in blades:
        if wanted == "status":
            print(f"{blade.name}: {_told_state(running, blade)}")
        elif wanted == "release":
            print(f"{blade.name}: {'may boot again' if running.release(blade) else 'is not held'}")
        else:
            running.power(blade, wanted, say)
            print(f"{blade.name}: {wanted}", flush=True)
    for blade in blades if wanted == "on" else ():
        if ways.is_hand(blade.bmc):
            took_s = running.wait_power(blade, "on", timeout_s=client.BOOT_S)
            print(f"{blade.name}: asked for an address after {took_s:.0f} s")
    if wanted in ("on", "off", "shutdown", "reset"):
        say(next_steps.after_power([blade.name for blade in blades], wanted))
    return 0


def _dry_run(options: argparse.Namespace) -> int:
    """Say what would be pressed, and refuse what would be refused. The lab need not be up."""
    lab, state = load_lab(options), find_state(options)
    blades = client.choose_blades(lab, options.blade)
    if not options.force and control.status(state) is not None:
        check_quorum(client.RunningLab(lab, state), blades, options.state_wanted)
    for blade in blades:
        if options.state_wanted == "status":
            print(f"{blade.name}: would press nothing, and ask {ways.way(blade.bmc, 'status')}")
        elif options.state_wanted in bmc.VERBS:
            print(bmc.dry_run(blade, options.state_wanted))
        elif options.state_wanted == "release":
            print(f"{blade.name}: would press nothing, and be let boot again where it is held")
        else:
            print(ways.dry_run(blade.name, blade.bmc, options.state_wanted))
    return 0


def check_quorum(running: client.RunningLab, blades: Sequence[Blade], state: str) -> None:
    """Raise SwarmError where the swarm's managers lose their quorum by what is pressed."""
    if state in ("off", "reset", "shutdown"):
        swarm.check_power(running, blades, in_order=state == "shutdown")


def _told_state(running: client.RunningLab, blade: Blade) -> str:
    """A blade's power; where nobody can tell, with why not, and what was heard of it."""
    state = running.power_state(blade)
    if state != power.UNKNOWN:
        return state
    return f"{state}, {ways.silent(blade.bmc)}; last heard of it: {running.stages().blade(blade.name).stage}"


def run_presses(blades: Sequence[Blade], *, day_two: bool) -> Iterator[str]:
    """What ``./lab run`` would press, in order: each chapter switches on what is off, and the last one takes a blade
    down in order and pulls the plug on another, of those that run a replica then. Raises PowerError for what a blade's
    kind cannot do.
    """
    for blade in blades:
        yield f"{ways.dry_run(blade.name, blade.bmc, 'on')}, where it is off"
    for blade, state in product(blades, ("shutdown", "off", "on")) if day_two else ():
        yield f"{ways.dry_run(blade.name, blade.bmc, state)}, where it runs a replica and chapter 5 chooses it"
