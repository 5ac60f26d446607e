"""``./lab adopt`` and ``./lab forget``: a machine's entry into the lab file, and out of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit.cli import arguments as words
from labkit.cli.answers import find_state, lab_path, say
from labkit.errors import ParameterError
from labkit.lab.lab_yaml import adopt, rewrite
from labkit.servers import client
from labkit.workbook import adoption, next_steps
from labkit.workbook.adoption import owner, unclaimed

DRY_RUN = "write nothing; show what would change, as diff -u does"


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words)``, which gives their parsers."""
    sub = verb("adopt", take_in, "write a machine that asked to boot into lab.yaml, as a blade")
    sub.add_argument("mac", metavar="MAC", nargs="?", help="one of its cards, as ./lab machines shows it")
    sub.add_argument("--all", action="store_true", help="all that asked to boot, in the order in which they first did")
    sub.add_argument("--name", default="", help="default: like the last blade's, with the next free number")
    sub.add_argument("--prefix", default="", help="what names begin with; a number that is free follows")
    sub.add_argument("--slot", type=words.count, default=0, help="default: the first that is free")
    sub.add_argument(
        "--bmc", default="", metavar="ADDRESS",
        help="the address of its BMC; or manual or wol, for a machine that a person or its network card switches on",
    )  # fmt: skip
    sub.add_argument("--dry-run", action="store_true", help=DRY_RUN)
    sub = verb("forget", take_out, "take a blade out of lab.yaml")
    sub.add_argument("blade", metavar="NAME")
    sub.add_argument("--dry-run", action="store_true", help=DRY_RUN)


def take_in(options: argparse.Namespace) -> int:
    """Write one machine, or all that asked to boot, into the lab file."""
    _check(options)
    heard = adoption.look(lab_path(options), find_state(options))
    new = heard.source
    for macs in _chosen(options, heard):
        given = {"name": options.name, "slot": options.slot, "bmc": options.bmc, "prefix": options.prefix}
        new = adopt.adopt(new, macs, **given, told_bmc=heard.told_bmc(macs))
    if new is heard.source:
        print("no machine has asked to boot that is not in lab.yaml")
        return 0
    return _finish(options, heard.file, new)


def take_out(options: argparse.Namespace) -> int:
    """Take one blade out of the lab file."""
    file = rewrite.open_lab(lab_path(options))
    return _finish(options, file, adopt.forget(file.source, options.blade))


def _check(options: argparse.Namespace) -> None:
    if bool(options.mac) == options.all:
        fix = "./lab machines shows the machines; ./lab adopt MAC takes one of them in, ./lab adopt --all takes all"
        raise ParameterError("a machine is named by its MAC address, or all are meant", fix=fix)
    if options.all and (options.name or options.slot):
        raise ParameterError("--name and --slot are of one machine, and --all takes in several", fix="--prefix red")
    if options.all and options.bmc and options.bmc not in adopt.UNSWITCHED:
        fix = f"adopt one by one; or --bmc {' or --bmc '.join(adopt.UNSWITCHED)} for all"
        raise ParameterError("no two machines have the same BMC", fix=fix)
    if options.name and options.prefix:
        raise ParameterError("--name and --prefix contradict each other", fix="leave one of them out")


def _chosen(options: argparse.Namespace, heard: adoption.Heard) -> list[tuple[str, ...]]:
    """The cards of each machine that is to be taken in."""
    if options.all:
        for machine in heard.unknown:
            if machine.boots and (name := owner(heard.source, machine)):
                say(f"{', '.join(unclaimed(heard.source, machine))}: left out, another card of {name}")
        return [machine.macs for machine in heard.new if machine.boots]
    mac = adopt.mac_address(options.mac)
    if heard.source.blade_with_mac(mac) is None and not any(mac in machine.macs for machine in heard.machines):
        say(f"{mac} has not asked for an address here yet")
    return [heard.cards(mac)]


def _finish(options: argparse.Namespace, file: rewrite.LabFile, new: adopt.Source) -> int:
    if options.dry_run:
        print(file.diff(new), end="")
        return 0
    taken = adoption.write(file, new, client.find_state(file.path, options.state))
    then = next_steps.after_adoption(taken.added, is_up=taken.is_up, is_known=taken.is_known)
    print(f"{taken.words}\n\n{then}".rstrip())
    return 0
