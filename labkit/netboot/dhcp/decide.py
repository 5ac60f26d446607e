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
from labkit.lab import Lab
from labkit.netboot.dhcp import BOOTREQUEST, DhcpError, Packet
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.full_server import ServerAsked
from labkit.netboot.dhcp.identity import client_of
from labkit.netboot.dhcp.leases import LeaseBook
from labkit.netboot.dhcp.proxy import ProxyAsked
from labkit.netboot.dhcp.replies import Peer

ETHERNET = 1


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
        unknown = UnknownMachine(mac=packet.mac, adopt=adoption(lab, packet.mac))
        decision = replace(decision, events=(*decision.events, unknown))
    return decision


def conflict(lab: Lab, mac: str, address: IPv4Address, user: str) -> Trouble | None:
    """What is to be told when a machine ``user`` answers for an address that the card ``mac`` was just offered."""
    blade = lab.blade_with_mac(mac)
    if blade is None or user in ("", *blade.macs):
        return None
    detail = f"{address} is {blade.name}'s, and the machine {user} uses it too: give one of them another address"
    return Trouble(blade=blade.name, part="dhcp", detail=detail)


def adoption(lab: Lab, mac: str) -> str:
    """The line for ``lab.yaml`` that would make a machine a blade: the next name, slot and address that are free."""
    taken = {blade.slot for blade in lab.blades}
    slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
    names = {blade.name for blade in lab.blades}
    name = next(f"blade{number}" for number in range(slot, slot + len(names) + 1) if f"blade{number}" not in names)
    return f'- {{name: {name}, slot: {slot}, macs: ["{mac}"]}}'
