"""What comes of a DHCP message (`Decision`), and what both the server and the proxy ask of one (`Asked`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address

from labkit.boot.loaders import Client
from labkit.events import Dhcp, Event
from labkit.lab import Blade, Lab
from labkit.netboot.dhcp import NOWHERE, Option, Packet, identity
from labkit.netboot.dhcp.leases import LeaseBook
from labkit.netboot.dhcp.replies import Reply

LINK_SELECTION = 5
"""Sub-option of option 82 (RFC 3527)."""


@dataclass(frozen=True)
class Decision:
    """What comes of one message.

    ``leases`` is the book afterwards; ``must_save`` says that it has to be on disk before the replies leave. ``boots``
    names the blade whose firmware has just begun to look for a boot server. ``probe`` is an address to be looked for on
    the network: without replies, the message is to be decided again once it is known who uses it; with replies, they
    leave at once, and whoever else uses it is told.
    """

    leases: LeaseBook
    replies: tuple[Reply, ...] = ()
    events: tuple[Event, ...] = ()
    must_save: bool = False
    boots: str = ""
    probe: IPv4Address | None = None


@dataclass(frozen=True)
class Asked:
    """One message being answered."""

    packet: Packet
    lab: Lab
    leases: LeaseBook
    now: float

    @cached_property
    def blade(self) -> Blade | None:
        return self.lab.blade_with_mac(self.packet.mac)

    @cached_property
    def client(self) -> Client:
        return identity.client_of(self.packet)

    @property
    def is_local(self) -> bool:
        """Whether the message comes from the lab's subnet: directly, or by a relay in it (RFC 2131 section 4.3.1).

        A relay without an address in its clients' subnet says beside its own which one that is (RFC 3527).
        """
        relay, link = self.packet.giaddr, self.packet.part(Option.RELAY_AGENT, LINK_SELECTION)
        of = IPv4Address(link) if link is not None and len(link) == 4 else relay
        return relay == NOWHERE or of in self.lab.network.subnet

    def silence(self, reason: str, address: IPv4Address | None = None) -> Decision:
        """No reply, and an event that says why."""
        return Decision(self.leases, events=(self.event("", address, "", reason),))

    def event(self, reply: str, address: IPv4Address | None, file: str, reason: str) -> Dhcp:
        """What is told of the message."""
        message = self.packet.message
        return Dhcp(
            blade=self.blade.name if self.blade is not None else "",
            mac=self.packet.mac,
            message=message.name if message is not None else "",
            reply=reply,
            address=str(address) if address is not None else "",
            client=self.client.value,
            arch=",".join(map(str, identity.architectures_of(self.packet))),
            file=file,
            reason=reason,
        )
