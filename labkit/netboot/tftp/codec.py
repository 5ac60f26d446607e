r"""The TFTP wire format (RFC 1350 section 5; options RFC 2347).

::

            2 bytes   string   1    string  1   string    1   string   1
            +--------+--------+----+-------+---+---------+---+--------+---+
    RRQ     | 01/02  |  file  | \0 |  mode | \0|  option | \0|  value | \0|  …
    WRQ     +--------+--------+----+-------+---+---------+---+--------+---+
            +--------+---------+-------------------+
    DATA    |   03   | block # |  0 … blksize bytes|
            +--------+---------+-------------------+
            +--------+---------+
    ACK     |   04   | block # |
            +--------+---------+
            +--------+---------+-----------+---+
    ERROR   |   05   |  code   |  message  | \0|
            +--------+---------+-----------+---+
            +--------+---------+---+---------+---+
    OACK    |   06   | option  | \0|  value  | \0|  …
            +--------+---------+---+---------+---+
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

OPCODE = struct.Struct("!H")
PAIR = struct.Struct("!HH")


class Opcode(enum.IntEnum):
    """What a packet is."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class Code(enum.IntEnum):
    """Error codes (RFC 1350 appendix; 8 from RFC 2347)."""

    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS = 2
    FULL = 3
    ILLEGAL = 4
    UNKNOWN_TID = 5
    EXISTS = 6
    NO_USER = 7
    OPTIONS = 8


class TftpError(ValueError):
    """The bytes are no TFTP packet."""


@dataclass(frozen=True)
class Request:
    """RRQ, or WRQ where ``write``. Option names are lower-case: they compare without case (RFC 2347)."""

    path: str
    mode: str = "octet"
    options: Mapping[str, str] = field(default_factory=dict)
    write: bool = False


@dataclass(frozen=True)
class Data:
    """One block; ``block`` is its number modulo 65,536."""

    block: int
    content: bytes


@dataclass(frozen=True)
class Ack:
    """A block was received; 0 acknowledges an OACK."""

    block: int


@dataclass(frozen=True)
class Error:
    """The end of a transfer. ``code`` may be one we do not know."""

    code: int
    message: str = ""


@dataclass(frozen=True)
class Oack:
    """The options that the server accepts."""

    options: Mapping[str, str]


Packet = Request | Data | Ack | Error | Oack


def decode(data: bytes) -> Packet:
    """The packet in one datagram. Raises TftpError, and nothing else, whatever the bytes are."""
    if len(data) < 4:
        raise TftpError(f"{len(data)} bytes are too few for TFTP")
    opcode, number = PAIR.unpack_from(data)
    if opcode in (Opcode.RRQ, Opcode.WRQ):
        return _decode_request(data[2:], write=opcode == Opcode.WRQ)
    if opcode == Opcode.DATA:
        return Data(number, data[4:])
    if opcode == Opcode.ACK:
        return Ack(number)
    if opcode == Opcode.ERROR:
        return Error(number, data[4:].partition(b"\0")[0].decode("utf-8", "replace"))
    if opcode == Opcode.OACK:
        return Oack(_decode_options(_strings(data[2:])))
    raise TftpError(f"opcode {opcode}")


def _decode_request(body: bytes, *, write: bool) -> Request:
    name, nul, rest = body.partition(b"\0")
    # A ROM that takes DHCP's option 67 for a string with a NUL behind it reads on to the end mark, 255.
    strings = _strings(name.rstrip(b"\xff") + nul + rest)
    if len(strings) < 2:
        raise TftpError("a request without a file name and a mode")
    return Request(strings[0], strings[1].lower(), _decode_options(strings[2:]), write)


def _strings(body: bytes) -> list[str]:
    """NUL-terminated strings. Bytes after the last NUL are padding of some ROMs when empty of text, else an error."""
    *whole, rest = body.split(b"\0")
    if rest:
        raise TftpError("a string without its NUL")
    try:
        return [part.decode("utf-8") for part in whole]
    except UnicodeDecodeError:
        raise TftpError("a string that is not UTF-8") from None


def _decode_options(strings: list[str]) -> dict[str, str]:
    """Pairs of name and value. A name without a value, and the empty names of padding, are left out."""
    options: dict[str, str] = {}
    for name, value in zip(strings[::2], strings[1::2], strict=False):
        if name:
            options.setdefault(name.lower(), value)
    return options


def encode(packet: Packet) -> bytes:
    """The datagram of a packet. Raises TftpError for a number or a string that has no place in it."""
    if isinstance(packet, Request):
        opcode = Opcode.WRQ if packet.write else Opcode.RRQ
        return OPCODE.pack(opcode) + _encode_strings((packet.path, packet.mode, *_flat(packet.options)))
    if isinstance(packet, Oack):
        return OPCODE.pack(Opcode.OACK) + _encode_strings(_flat(packet.options))
    number = packet.code if isinstance(packet, Error) else packet.block
    if not 0 <= number <= 0xFFFF:
        raise TftpError(f"{number} does not fit in 16 bits")
    if isinstance(packet, Data):
        return PAIR.pack(Opcode.DATA, number) + packet.content
    if isinstance(packet, Ack):
        return PAIR.pack(Opcode.ACK, number)
    return PAIR.pack(Opcode.ERROR, number) + _encode_strings((packet.message,))


def _flat(options: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(text for pair in options.items() for text in pair)


def _encode_strings(strings: tuple[str, ...]) -> bytes:
    if any("\0" in text for text in strings):
        raise TftpError("a NUL within a string")
    return b"".join(text.encode("utf-8") + b"\0" for text in strings)
