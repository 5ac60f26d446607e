"""Who sent a DHCP message: which `Client` speaks, and on which `Firmware`."""

from __future__ import annotations

import re
from uuid import UUID

from labkit.boot.loaders import FIRMWARE, Client, Firmware
from labkit.netboot.dhcp.codec import Option, Packet

IPXE_FEATURES, IPXE_HTTP = range(0x11, 0x2A), 0x13


def client_of(packet: Packet) -> Client:
    """Who sent a message. iPXE is known by option 77, bare or length-prefixed (RFC 3004), or by its own option 175."""
    user_class = packet.options.get(Option.USER_CLASS, b"")
    if Option.IPXE in packet.options or user_class.startswith((b"iPXE", b"\x04iPXE")):
        return Client.IPXE
    vendor_class = packet.options.get(Option.VENDOR_CLASS, b"")
    if vendor_class.startswith(b"PXEClient"):
        return Client.PXE
    return Client.HTTP if vendor_class.startswith(b"HTTPClient") else Client.OS


def speaks_http(packet: Packet) -> bool:
    """Whether an iPXE can fetch by HTTP: it lists what was built into it in option 175, and some makers leave much out.

    One that lists nothing can (src/include/ipxe/features.h of iPXE has the numbers).
    """
    listed = any(packet.part(Option.IPXE, feature) is not None for feature in IPXE_FEATURES)
    return not listed or packet.part(Option.IPXE, IPXE_HTTP) is not None


def architectures_of(packet: Packet) -> tuple[int, ...]:
    """The numbers of option 93, a list (RFC 4578 section 2.1); without it those of the vendor class."""
    value = packet.options.get(Option.CLIENT_ARCHITECTURE, b"")
    if value:
        return tuple(int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value) - 1, 2))
    named = re.match(rb"(?:PXE|HTTP)Client:Arch:(\d{5})", packet.options.get(Option.VENDOR_CLASS, b""))
    return (int(named[1]),) if named else ()


def uuid_of(packet: Packet) -> UUID | None:
    """The machine's UUID, as dmidecode shows it: option 97, type 0 (RFC 4578 section 2.3); None where it tells none.

    iPXE sends the bytes in network order (``smbios_fetch`` in its smbios_settings.c), firmware as they lie in SMBIOS,
    the first three fields with their low bytes first (EDK II's NetLibGetSystemGuid). All zeros and all ones are none
    (SMBIOS 3.7, section 7.2.1).
    """
    value = packet.options.get(Option.CLIENT_UUID, b"")
    if len(value) != 17 or value[0] != 0 or set(value[1:]) in ({0}, {0xFF}):
        return None
    return UUID(bytes=value[1:]) if client_of(packet) is Client.IPXE else UUID(bytes_le=value[1:])


def firmware_of(packet: Packet) -> Firmware:
    """The first architecture of a list that we know; a client that names none is an old BIOS."""
    numbers = architectures_of(packet)
    if not numbers:
        return Firmware.BIOS
    return next((FIRMWARE[number] for number in numbers if number in FIRMWARE), Firmware.OTHER)
