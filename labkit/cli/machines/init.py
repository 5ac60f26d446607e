"""``./lab init``: the first lab file of somebody with real blades, by three questions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import TypeVar

from labkit.cli.answers import say
from labkit.diagnosis.doctor import probe
from labkit.errors import ParameterError
from labkit.lab import DhcpMode
from labkit.lab.lab_yaml import first
from labkit.lab.state import write_whole
from labkit.machines.host.routes import routes
from labkit.workbook import next_steps

T = TypeVar("T")
WHO = {"lab": DhcpMode.SERVER, "router": DhcpMode.PROXY}
"""Who gives the blades their addresses, as a person says it."""
WHOSE = {dhcp: word for word, dhcp in WHO.items()}


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb with ``verb(name, run, words)``, which gives its parser."""
    sub = verb("init", init, "write a first lab.yaml for real blades into the current folder")
    sub.add_argument("--interface", default="", metavar="CARD", help="the card that the blades are plugged into")
    sub.add_argument("--subnet", default="", help="the network there, such as 10.77.0.0/24; default: the card's")
    sub.add_argument("--dhcp", choices=list(WHO), help="who gives the blades their addresses")
    sub.add_argument("--yes", action="store_true", help="ask nothing: take what was found where nothing is said")


def init(options: argparse.Namespace) -> int:
    """Write the file, or nothing at all."""
    path = options.lab or Path.cwd() / "lab.yaml"
    if path.exists() or path.is_symlink():
        fix = "edit it, or go to a folder of its own for another lab"
        raise ParameterError("there is a lab file already", where=str(path), fix=fix)
    cards = {card.name: card for card in look()}
    usual = first.likely(list(cards.values()))
    if usual is None:
        raise ParameterError("this machine has no network card", fix="plug one in; a virtual lab needs none: ./lab run")
    is_asked = not options.yes and sys.stdin.isatty()
    if not is_asked and not options.yes and not (options.interface and options.dhcp):
        fix = "name them: --interface CARD --dhcp lab|router; or --yes for what was found"
        raise ParameterError("there is nobody to ask for the card and who gives addresses", fix=fix)

    def settle(given: str, question: str, found: str, read: Callable[[str], T]) -> T:
        return _ask(question, found, read) if is_asked and not given else read(given or found)

    for one in cards.values() if is_asked and not options.interface else ():
        say(f"  {one.name:12} {one.address or 'no address'}{', the way out' if one.is_way_out else ''}")
    card = settle(
        options.interface, "Which card are the blades plugged into?", usual.name,
        lambda name: _choose(cards, name, f"there is no card {name!r} here"),
    )  # fmt: skip
    subnet = settle(options.subnet, "Which subnet is there?", str(card.subnet), _subnet)
    dhcp = settle(
        options.dhcp or "", "Who gives addresses there, this lab or a router?", WHOSE[card.dhcp],
        lambda word: _choose(WHO, word, f"{word!r} gives no addresses"),
    )  # fmt: skip
    write_whole(path, first.write(path, card, subnet, dhcp))
    print(f"written: {path}")
    if card.address is None or card.address.ip not in subnet:
        server = f"{card.server(subnet)}/{subnet.prefixlen}"
        say(f"{card.name} has no address in {subnet} yet: sudo ip address add {server} dev {card.name}")
    say(next_steps.after_init())
    return 0


def look() -> list[first.Card]:
    """This machine's cards, without the loopback."""
    ways_out = {str(route.get("dev", "")) for route in routes("default")}
    return [
        first.Card(
            name,
            IPv4Interface(found.addresses[0]) if found.addresses else None,
            name in ways_out,
            Path("/sys/class/net", name, "device").exists(),
        )
        for name, found in probe.interfaces().items()
        if name != "lo"
    ]


def _ask(question: str, found: str, read: Callable[[str], T]) -> T:
    """A person's answer; an empty one is what was found. Raises ParameterError when there is no answer any more."""
    while True:
        print(f"{question} [{found}] ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise ParameterError("nothing was written", fix="./lab init asks again; --yes takes what was found")
        try:
            return read(line.strip() or found)
        except ParameterError as error:
            say(f"{error.what}; {error.fix}")


def _subnet(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise ParameterError(f"{text!r} is no subnet: {error}", fix="such as 10.77.0.0/24") from None


def _choose(known: Mapping[str, T], word: str, what: str) -> T:
    if word not in known:
        raise ParameterError(what, fix=f"one of {', '.join(known)}")
    return known[word]
