"""TFTP: the wire format, which is the package's face, transfers as state machines, and the server."""

from __future__ import annotations

from labkit.netboot.tftp.codec import (
    OPCODE,
    PAIR,
    Ack,
    Code,
    Data,
    Error,
    Oack,
    Opcode,
    Packet,
    Request,
    TftpError,
    decode,
    encode,
)

__all__ = [
    "OPCODE", "PAIR", "Ack", "Code", "Data", "Error", "Oack", "Opcode", "Packet", "Request", "TftpError", "decode",
    "encode",
]  # fmt: skip
