"""``./lab disk``: a person's yes to wipe a blade's disk, at its next boot and no other."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit.cli.answers import agrees, connect, say
from labkit.errors import ParameterError
from labkit.lab.process import rpc
from labkit.servers import client

AGAIN = "./lab power shutdown {0}, and once it is off ./lab power on {0}"


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb with ``verb(name, run, words)``, which gives its parser."""
    sub = verb("disk", disk, "let a blade's next boot wipe its disk, or keep it")
    words = "wipe (at its next boot, and at no other), keep (take that back)"
    sub.add_argument("wish", metavar="WISH", choices=("wipe", "keep"), help=words)
    sub.add_argument("blade", help="the blade")
    sub.add_argument("--yes", action="store_true", help="do not ask")


def disk(options: argparse.Namespace) -> int:
    """Let a blade's next boot wipe its disk, once a person agrees, or take that back. Raises ParameterError."""
    running = connect(options)
    [blade] = client.choose_blades(running.lab, [options.blade])
    if blade.disk is None:
        fix = "name it there (docs/lab-yaml.md shows how), then ./lab down and ./lab up"
        raise ParameterError(f"{blade.name} has no disk in lab.yaml", where=str(running.lab.path), fix=fix)
    told = rpc.call(running.state.bootd, "disk", blade=blade.name)
    words = str(told["words"])
    if not told["found"]:
        what = f"no boot of {blade.name} has found {blade.disk.device}" + (f": {words}" if words else " so far")
        fix = f"boot it once: what is on its disk is looked at, and left alone; ./lab why {blade.name} then tells of it"
        raise ParameterError(what, fix=fix)
    if options.wish == "keep":
        rpc.call(running.state.bootd, "let_wipe", blade=blade.name, allowed=False)
        print(f"{blade.name}: its next boot does not wipe {blade.disk.device}")
        return 0
    say(f"{blade.name} said last of its disk: {words}.")
    ask = f"Its next boot would wipe {blade.disk.device}, with every file, image and volume on it. Let it?"
    if not options.yes and not agrees(ask):
        raise ParameterError("nothing will be wiped", fix=f"./lab disk wipe {blade.name} --yes")
    rpc.call(running.state.bootd, "let_wipe", blade=blade.name, allowed=True)
    print(f"{blade.name}: its next boot wipes {blade.disk.device}, if there is still on it what was found")
    say(f"To boot it: {AGAIN.format(blade.name)}. To take it back: ./lab disk keep {blade.name}")
    return 0
