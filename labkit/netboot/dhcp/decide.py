"""What a DHCP message gets: a pure function of the message, the lab, the leases, the time, and who uses an address.

The lab's blades are known by the MAC of any of their cards. A machine that is neither a blade nor has an address of the
lab's pool gets silence, never a NAK: the segment may not be ours alone. `full_server` and `proxy` hold the
rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from labkit.boot.loaders import Client
from labkit.events import Trouble, UnknownMachine
from labkit.events.card_vendors import vendor_of
from labkit.lab import Lab
from labkit.netboot.dhcp import BOOTREQUEST, DhcpError, Packet
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.full_server import ServerAsked
from labkit.netboot.dhcp.identity import architectures_of, client_of, uuid_of
from labkit.netboot.dhcp.leases import LeaseBook
from labkit.netboot.dhcp.proxy import ProxyAsked
from labkit.netboot.dhcp.replies import Peer

ETHERNET = 1
MOST_ARCHITECTURES = 16
"""So many are told of a machine that nobody knows; an event has to stay short."""


def decide(
    packet: Packet,
    lab: Lab,
    leases: LeaseBook,
    now: float,
    *,
    probed: Mapping[IPv4Address, str] | None = None,
    peer: Peer | None = None,
) -> Decision:
    """Answer one message. Raises DhcpError for a message whose options contradict their definition.

    ``probed`` says which machine (a MAC, or nothing for nobody) uses each address that an earlier `Decision.probe` of
    this message named. ``peer`` is who sent a message to port 4011, the boot service behind a proxy's offer.
    """
    if packet.op != BOOTREQUEST:
        return Decision(leases)
    if packet.htype != ETHERNET or len(packet.chaddr) != 6:
        raise DhcpError(f"hardware type {packet.htype} with {len(packet.chaddr)} bytes is not Ethernet")
    if packet.chaddr[0] & 1 or not any(packet.chaddr):  # IEEE 802: that bit marks groups; zeros are a card without one
        raise DhcpError(f"{packet.mac} is no card's address")
    message = packet.message
    if message is None:
        raise DhcpError("BOOTP without a DHCP message type")
    if lab.network.is_proxy:
        decision = ProxyAsked(packet, lab, leases, now, peer).decide(message)
        is_told = client_of(packet) is not Client.OS  # a router's network is full of machines that are none of ours
    else:
        decision = ServerAsked(packet, lab, leases, now, probed or {}).decide(message)
        is_told = True
    if is_told and lab.blade_with_mac(packet.mac) is None:
        decision = replace(decision, events=(*decision.events, _unknown(packet)))
    return decision


def _unknown(packet: Packet) -> UnknownMachine:
    client, uuid = client_of(packet), uuid_of(packet)
    return UnknownMachine(
        mac=packet.mac,
        adopt=f"./lab adopt {packet.mac}",
        vendor=vendor_of(packet.mac),
        uuid=str(uuid) if uuid is not None else "",
        arch=",".join(map(str, architectures_of(packet)[:MOST_ARCHITECTURES])),
        client=client.value if client is not Client.OS else "",
    )


def conflict(lab: Lab, mac: str, address: IPv4Address, user: str) -> Trouble | None:
    """What is to be told when a machine ``user`` answers for an address that the card ``mac`` was just offered."""
    blade = lab.blade_with_mac(mac)
    if blade is None or user in ("", *blade.macs):
        return None
    detail = f"{address} is {blade.name}'s, and the machine {user} uses it too: give one of them another address"
    return Trouble(blade=blade.name, part="dhcp", detail=detail)
