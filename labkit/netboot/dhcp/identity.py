"""Who sent a DHCP message: which `Client` speaks, and on which `Firmware`."""

from __future__ import annotations

import re

from labkit.boot.loaders import FIRMWARE, Client, Firmware
from labkit.netboot.dhcp.codec import Option, Packet


def client_of(packet: Packet) -> Client:
    """Who sent a message. iPXE is known by option 77, bare or length-prefixed (RFC 3004), or by its own option 175."""
    user_class = packet.options.get(Option.USER_CLASS, b"")
    if Option.IPXE in packet.options or user_class.startswith((b"iPXE", b"\x04iPXE")):
        return Client.IPXE
    vendor_class = packet.options.get(Option.VENDOR_CLASS, b"")
    if vendor_class.startswith(b"PXEClient"):
        return Client.PXE
    return Client.HTTP if vendor_class.startswith(b"HTTPClient") else Client.OS


def architectures_of(packet: Packet) -> tuple[int, ...]:
    """The numbers of option 93, a list (RFC 4578 section 2.1); without it those of the vendor class."""
    value = packet.options.get(Option.CLIENT_ARCHITECTURE, b"")
    if value:
        return tuple(int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value) - 1, 2))
    named = re.match(rb"(?:PXE|HTTP)Client:Arch:(\d{5})", packet.options.get(Option.VENDOR_CLASS, b""))
    return (int(named[1]),) if named else ()


def firmware_of(packet: Packet) -> Firmware:
    """The first architecture of a list that we know; a client that names none is an old BIOS."""
    numbers = architectures_of(packet)
    if not numbers:
        return Firmware.BIOS
    return next((FIRMWARE[number] for number in numbers if number in FIRMWARE), Firmware.OTHER)
