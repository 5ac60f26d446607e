"""The lease book: which network card holds which address, and until when.

The book is a value: every change gives a new one. `save` writes it whole; the DHCP shell does that before an ACK leaves
(RFC 2131 section 2.2).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from labkit.errors import MachineError
from labkit.state import write_json

SCHEMA = 1


class LeaseState(enum.StrEnum):
    """``offered`` and ``bound`` belong to a card; a ``declined`` address is used by something we do not know."""

    OFFERED = "offered"
    BOUND = "bound"
    DECLINED = "declined"


@dataclass(frozen=True)
class Lease:
    """One address. ``until`` is wall-clock seconds; a lease that ran out is kept, so that its card finds it again."""

    address: IPv4Address
    mac: str
    state: LeaseState
    until: float


@dataclass(frozen=True)
class LeaseBook:
    """All leases, by address."""

    leases: Mapping[IPv4Address, Lease] = field(default_factory=dict)

    def put(self, lease: Lease) -> LeaseBook:
        """The book with a lease added, in place of any other on its address."""
        return LeaseBook({**self.leases, lease.address: lease})

    def drop(self, address: IPv4Address) -> LeaseBook:
        """The book without an address."""
        return LeaseBook({key: lease for key, lease in self.leases.items() if key != address})

    def at(self, address: IPv4Address, now: float) -> Lease | None:
        """What holds an address now, in any state."""
        lease = self.leases.get(address)
        return lease if lease is not None and lease.until > now else None

    def holder(self, address: IPv4Address, now: float) -> str:
        """The card that an address is leased to now, or an empty string."""
        lease = self.at(address, now)
        return lease.mac if lease is not None and lease.state is LeaseState.BOUND else ""

    def of(self, mac: str) -> Lease | None:
        """A card's latest lease, run out or not."""
        own = [lease for lease in self.leases.values() if lease.mac == mac and lease.state is not LeaseState.DECLINED]
        return max(own, key=lambda lease: lease.until, default=None)

    def is_free(self, address: IPv4Address, mac: str, now: float) -> bool:
        """Whether a card may be given an address: it holds it, or nothing does."""
        lease = self.at(address, now)
        return lease is None or (lease.mac == mac and lease.state is not LeaseState.DECLINED)


def save(book: LeaseBook, path: Path) -> None:
    """Write the book. Raises OSError."""
    rows = [
        {"address": str(lease.address), "mac": lease.mac, "state": lease.state.value, "until": round(lease.until, 3)}
        for lease in book.leases.values()
    ]
    write_json(path, {"v": SCHEMA, "leases": rows})


def load(path: Path) -> LeaseBook:
    """The saved book; an empty one when there is none. Raises MachineError when the file is not a lease book."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return LeaseBook()
    try:
        body = json.loads(text)
        rows = [
            Lease(IPv4Address(row["address"]), str(row["mac"]), LeaseState(row["state"]), float(row["until"]))
            for row in body["leases"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        what = f"this is not a lease book: {error!r}"
        raise MachineError(what, where=str(path), fix="remove it: the leases are made anew") from None
    return LeaseBook({lease.address: lease for lease in rows})
