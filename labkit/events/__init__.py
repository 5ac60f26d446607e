"""Everything that happens in a lab, as one stream of events, and how far that says each blade is."""

from __future__ import annotations

from labkit.events.kinds import (
    CUT,
    DISK,
    DOCKER,
    EMERGENCY,
    KINDS,
    MOVING_EVERY_S,
    NOT_MEASURED,
    REHEARSAL,
    SENSORS,
    TLS,
    Blades,
    BootStarted,
    Clock,
    Dhcp,
    Event,
    HardwareChange,
    Held,
    Inventoried,
    LabEvent,
    Leave,
    Measured,
    Note,
    Part,
    Phoned,
    Power,
    Roll,
    Service,
    Space,
    Stuck,
    Swarm,
    Ticket,
    Transfer,
    Trouble,
    UnitFailed,
    UnknownMachine,
)
from labkit.events.stream import SCHEMA, Emitter, Stream, decode, describe, encode, follow, read

__all__ = [
    "CUT", "DISK", "DOCKER", "EMERGENCY", "KINDS", "MOVING_EVERY_S", "NOT_MEASURED", "REHEARSAL", "SCHEMA", "SENSORS",
    "TLS", "Blades", "BootStarted", "Clock", "Dhcp", "Emitter", "Event", "HardwareChange", "Held", "Inventoried",
    "LabEvent", "Leave", "Measured", "Note", "Part", "Phoned", "Power", "Roll", "Service", "Space", "Stream", "Stuck",
    "Swarm", "Ticket", "Transfer", "Trouble", "UnitFailed", "UnknownMachine", "decode", "describe", "encode", "follow",
    "read",
]  # fmt: skip
