"""Everything that happens in a lab, as one stream of events, and how far that says each blade is."""

from __future__ import annotations

from labkit.events.stream import (
    CUT,
    KINDS,
    REHEARSAL,
    SCHEMA,
    TLS,
    BootStarted,
    Dhcp,
    Emitter,
    Event,
    LabEvent,
    Leave,
    Part,
    Phoned,
    Power,
    Service,
    Stream,
    Stuck,
    Swarm,
    Ticket,
    Transfer,
    Trouble,
    UnknownMachine,
    decode,
    describe,
    encode,
    follow,
    read,
)

__all__ = [
    "CUT", "KINDS", "REHEARSAL", "SCHEMA", "TLS", "BootStarted", "Dhcp", "Emitter", "Event", "LabEvent", "Leave",
    "Part", "Phoned", "Power", "Service", "Stream", "Stuck", "Swarm", "Ticket", "Transfer", "Trouble",
    "UnknownMachine", "decode", "describe", "encode", "follow", "read",
]  # fmt: skip
