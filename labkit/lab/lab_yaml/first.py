"""The first lab file of somebody with real blades: the network they are on, and no blade yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from labkit.lab.lab_yaml import parse, positions
from labkit.lab.lab_yaml.positions import Wrong
from labkit.lab.model import DhcpMode

USUAL_SUBNET = IPv4Network("10.77.0.0/24")


@dataclass(frozen=True)
class Card:
    """A network card of this machine, with its first address there; ``is_way_out`` where its default route goes by it,
    ``is_board`` for one that is no bridge, tunnel or the like."""

    name: str
    address: IPv4Interface | None = None
    is_way_out: bool = False
    is_board: bool = True

    @property
    def subnet(self) -> IPv4Network:
        """The network it is in; where it has no address, one that it may be given one in."""
        return self.address.network if self.address is not None else USUAL_SUBNET

    @property
    def dhcp(self) -> DhcpMode:
        """Who gives addresses there, most likely: a router, where there is one."""
        return DhcpMode.PROXY if self.is_way_out else DhcpMode.SERVER

    def server(self, subnet: IPv4Network) -> IPv4Address:
        """This machine's address in a subnet: its own, else the first."""
        is_there = self.address is not None and self.address.ip in subnet
        return self.address.ip if self.address is not None and is_there else subnet[1]


def likely(cards: Sequence[Card]) -> Card | None:
    """The card that blades are most likely plugged into: a board with an address that is not the way out, else such a
    board without an address, else the way out. None where there is no card."""
    return min(cards, key=lambda card: (not card.is_board, card.is_way_out, card.address is None), default=None)


def write(path: Path, card: Card, subnet: IPv4Network, dhcp: DhcpMode) -> str:
    """The text of a lab file for ``path``, which is a lab. Raises LabFileError where what was chosen makes none."""
    try:
        name = positions.name(path.absolute().parent.name)
    except Wrong:
        name = "lab"
    proxy = "\n  dhcp: proxy # a router gives the addresses, this lab only the boot files"
    text = f"""\
# A lab of real blades. docs/lab-yaml.md goes through the keys.

name: {name}

network:
  kind: interface
  interface: {card.name} # the card of this machine that the blades are plugged into
  subnet: {subnet}
  server: {card.server(subnet)} # this machine's own address on that card{proxy if dhcp is DhcpMode.PROXY else ""}

os: flatcar # ./lab images fetch flatcar

# A machine that is switched on and asks is listed by ./lab machines, and ./lab adopt writes it down here.
blades: []
"""
    parse(text, path)
    return text
