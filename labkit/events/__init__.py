"""Everything that happens in a lab, as one stream of events, and how far that says each blade is."""

from __future__ import annotations

from labkit.events.blade_kinds import (
    DOCKER,
    EMERGENCY,
    NOT_MEASURED,
    HardwareChange,
    Inventoried,
    Measured,
    Space,
    UnitFailed,
)
from labkit.events.kinds import (
    CUT,
    DISK,
    MOVING_EVERY_S,
    REHEARSAL,
    SENSORS,
    TLS,
    Blades,
    BootStarted,
    Clock,
    Dhcp,
    Event,
    Held,
    LabEvent,
    Leave,
    Note,
    Part,
    Phoned,
    Power,
    Roll,
    Service,
    Stuck,
    Swarm,
    Ticket,
    Transfer,
    Trouble,
    UnknownMachine,
)
from labkit.events.stream import KINDS, SCHEMA, Emitter, Stream, decode, describe, encode, follow, read

__all__ = [
    "CUT", "DISK", "DOCKER", "EMERGENCY", "KINDS", "MOVING_EVERY_S", "NOT_MEASURED", "REHEARSAL", "SCHEMA", "SENSORS",
    "TLS", "Blades", "BootStarted", "Clock", "Dhcp", "Emitter", "Event", "HardwareChange", "Held", "Inventoried",
    "LabEvent", "Leave", "Measured", "Note", "Part", "Phoned", "Power", "Roll", "Service", "Space", "Stream", "Stuck",
    "Swarm", "Ticket", "Transfer", "Trouble", "UnitFailed", "UnknownMachine", "decode", "describe", "encode", "follow",
    "read",
]  # fmt: skip
