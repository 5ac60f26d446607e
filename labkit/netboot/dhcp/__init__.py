"""DHCP: the wire format, which is the package's face, the decisions, and the server around them."""

from __future__ import annotations

from labkit.netboot.dhcp.codec import (
    BOOTREPLY,
    BOOTREQUEST,
    BROADCAST_FLAG,
    COOKIE,
    DATAGRAM_B,
    HEADER,
    NOWHERE,
    OPTIONS_AT_B,
    SMALLEST_B,
    UDP_IP_B,
    DhcpError,
    Message,
    Option,
    Packet,
    decode,
    encode,
    size_b,
)

__all__ = [
    "BOOTREPLY", "BOOTREQUEST", "BROADCAST_FLAG", "COOKIE", "DATAGRAM_B", "HEADER", "NOWHERE", "OPTIONS_AT_B",
    "SMALLEST_B", "UDP_IP_B", "DhcpError", "Message", "Option", "Packet", "decode", "encode", "size_b",
]  # fmt: skip
