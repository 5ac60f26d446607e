"""The DHCP wire format: bytes to `Packet` and back (RFC 2131 section 2, RFC 2132, RFC 3396).

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+---------------+---------------+---------------+
    |     op (1)    |   htype (1)   |   hlen (1)    |   hops (1)    |   0
    +---------------+---------------+---------------+---------------+
    |                            xid (4)                            |   4
    +-------------------------------+-------------------------------+
    |           secs (2)            |           flags (2)           |   8
    +-------------------------------+-------------------------------+
    |   ciaddr (4), yiaddr (4), siaddr (4), giaddr (4)              |  12
    +---------------------------------------------------------------+
    |   chaddr (16), sname (64), file (128)                         |  28
    +---------------------------------------------------------------+
    |   99.130.83.99, then options: code (1), length (1), value     | 236
    +---------------------------------------------------------------+
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address

COOKIE = bytes((99, 130, 83, 99))
HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
OPTIONS_AT_B = HEADER.size + len(COOKIE)
SMALLEST_B = 300
"""BOOTP's fixed size: some relays and ROMs drop what is shorter (RFC 1542 section 2.1)."""
UDP_IP_B = 28
DATAGRAM_B = 576
"""The IP datagram every client must take (RFC 2131 section 2)."""
BROADCAST_FLAG = 0x8000
NOWHERE = IPv4Address(0)

BOOTREQUEST, BOOTREPLY = 1, 2


class Message(enum.IntEnum):
    """Option 53 (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(enum.IntEnum):
    """The options this server reads or writes, by their IANA numbers."""

    PAD = 0
    SUBNET_MASK = 1
    ROUTER = 3
    NAME_SERVER = 6
    HOST_NAME = 12
    DOMAIN = 15
    BROADCAST = 28
    TIME_SERVER = 42
    VENDOR = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETERS = 55
    MESSAGE = 56
    MAXIMUM_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    SERVER_NAME = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    RELAY_AGENT = 82
    CLIENT_ARCHITECTURE = 93
    CLIENT_UUID = 97
    DOMAIN_SEARCH = 119
    CLASSLESS_ROUTES = 121
    IPXE = 175
    END = 255


class DhcpError(ValueError):
    """The bytes are no DHCP message, or a message cannot be put into bytes."""


@dataclass(frozen=True)
class Packet:
    """One message. ``chaddr`` is ``hlen`` bytes; ``sname`` and ``file`` come without their trailing NULs.

    ``options`` maps codes to whole values: parts of a repeated option are joined, overloaded fields are read. Options
    are written in the mapping's order.
    """

    op: int
    xid: int
    chaddr: bytes
    htype: int = 1
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: IPv4Address = NOWHERE
    yiaddr: IPv4Address = NOWHERE
    siaddr: IPv4Address = NOWHERE
    giaddr: IPv4Address = NOWHERE
    sname: bytes = b""
    file: bytes = b""
    options: Mapping[int, bytes] = field(default_factory=dict)

    @cached_property
    def mac(self) -> str:
        """The hardware address, lower-case with colons."""
        return self.chaddr.hex(":")

    # An option of fixed length that comes twice is no long one in parts (RFC 3396): its first value counts.

    @property
    def message(self) -> Message | None:
        """Option 53; None for plain BOOTP. Raises DhcpError for a number that is no message type of RFC 2132."""
        value = self.options.get(Option.MESSAGE_TYPE)
        if value is None:
            return None
        if not value or value[0] not in Message._value2member_map_:
            raise DhcpError(f"option 53 is no message type: {value.hex()}")
        return Message(value[0])

    def address(self, code: int) -> IPv4Address | None:
        """An option that holds one address. Raises DhcpError when it is too short for one."""
        value = self.options.get(code)
        if value is None:
            return None
        if len(value) < 4:
            raise DhcpError(f"option {code} is {len(value)} bytes, not an address")
        return IPv4Address(value[:4])

    def number(self, code: int, size_b: int) -> int | None:
        """An option that holds one unsigned number of ``size_b`` bytes. Raises DhcpError when it is too short."""
        value = self.options.get(code)
        if value is None:
            return None
        if len(value) < size_b:
            raise DhcpError(f"option {code} is {len(value)} bytes, not {size_b}")
        return int.from_bytes(value[:size_b], "big")

    def wish(self, code: int, size_b: int) -> int | None:
        """As `number`, for what is only wished for: what cannot be read is no reason to leave a client unanswered."""
        return self.number(code, size_b) if len(self.options.get(code, b"")) >= size_b else None

    def part(self, code: int, sub_code: int) -> bytes | None:
        """The value of a sub-option of option 43, 82 or 175; None where there is none, or not a whole one."""
        area, at = self.options.get(code, b""), 0
        while at + 1 < len(area) and area[at] != Option.END:
            end = at + 2 + area[at + 1]
            if area[at] == sub_code and end <= len(area):
                return area[at + 2 : end]
            at = at + 1 if area[at] == Option.PAD else end
        return None


def decode(data: bytes) -> Packet:
    """The message in one datagram. Raises DhcpError, and nothing else, whatever the bytes are."""
    if len(data) < OPTIONS_AT_B:
        raise DhcpError(f"{len(data)} bytes are too few for DHCP")
    op, htype, hlen, hops, xid, secs, flags, *addresses, chaddr, sname, file = HEADER.unpack_from(data)
    if data[HEADER.size : OPTIONS_AT_B] != COOKIE:
        raise DhcpError("no DHCP magic cookie")
    if op not in (BOOTREQUEST, BOOTREPLY):
        raise DhcpError(f"op {op} is neither request nor reply")
    if hlen > len(chaddr):
        raise DhcpError(f"a hardware address of {hlen} bytes")
    options: dict[int, bytes] = {}
    _read_options(data[OPTIONS_AT_B:], options)
    overload = options.pop(Option.OVERLOAD, b"\0")
    if not overload or overload[0] > 3:
        raise DhcpError(f"option 52 is {overload.hex()}")
    if overload[0] & 1:
        _read_options(file, options)
        file = b""
    if overload[0] & 2:
        _read_options(sname, options)
        sname = b""
    return Packet(
        op=op, xid=xid, chaddr=chaddr[:hlen], htype=htype, hops=hops, secs=secs, flags=flags,
        **dict(zip(("ciaddr", "yiaddr", "siaddr", "giaddr"), map(IPv4Address, addresses), strict=True)),
        sname=sname.partition(b"\0")[0], file=file.partition(b"\0")[0], options=options,
    )  # fmt: skip


def _read_options(area: bytes, options: dict[int, bytes]) -> None:
    """Add an area's options; values of one code are joined in the order met (RFC 3396 section 7).

    An area that ends without option 255 is taken as it is: some clients leave it out.
    """
    at = 0
    while at < len(area):
        code = area[at]
        at += 1
        if code == Option.PAD:
            continue
        if code == Option.END:
            return
        if at >= len(area):
            raise DhcpError(f"option {code} has no length")
        end = at + 1 + area[at]
        if end > len(area):
            raise DhcpError(f"option {code} runs past its end")
        options[code] = options.get(code, b"") + area[at + 1 : end]
        at = end


def encode(packet: Packet) -> bytes:
    """The datagram of a message, at least 300 bytes. Raises DhcpError when a field does not fit."""
    for name, value, room_b in (("chaddr", packet.chaddr, 16), ("sname", packet.sname, 63), ("file", packet.file, 127)):
        if len(value) > room_b:
            raise DhcpError(f"{name} is {len(value)} bytes, there is room for {room_b}")
    try:
        head = HEADER.pack(
            packet.op, packet.htype, len(packet.chaddr), packet.hops, packet.xid, packet.secs, packet.flags,
            packet.ciaddr.packed, packet.yiaddr.packed, packet.siaddr.packed, packet.giaddr.packed,
            packet.chaddr, packet.sname, packet.file,
        )  # fmt: skip
    except struct.error as error:
        raise DhcpError(str(error)) from None
    body = b"".join(_write_option(code, value) for code, value in packet.options.items())
    return (head + COOKIE + body + bytes((Option.END,))).ljust(SMALLEST_B, b"\0")


def _write_option(code: int, value: bytes) -> bytes:
    """One option, in parts of up to 255 bytes (RFC 3396 section 5)."""
    if not 0 < code < Option.END or code == Option.OVERLOAD:
        raise DhcpError(f"option {code} cannot be written")
    if len(value) < 256:
        return bytes((code, len(value))) + value
    parts = [value[at : at + 255] for at in range(0, len(value), 255)]
    return b"".join(bytes((code, len(part))) + part for part in parts)


def size_b(packet: Packet) -> int:
    """How long `encode` will make the message, without the padding to 300 bytes."""
    return OPTIONS_AT_B + 1 + sum(len(value) + 2 * max(-(-len(value) // 255), 1) for value in packet.options.values())
