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
from labkit.lab.state import remove_unfinished, write_whole

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
    """All leases, by address; which addresses a card ever had is kept beside them."""

    leases: Mapping[IPv4Address, Lease] = field(default_factory=dict)
    _had: dict[str, tuple[IPv4Address, ...]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.leases and not self._had:
            for lease in self.leases.values():
                self._had[lease.mac] = (*self._had.get(lease.mac, ()), lease.address)

    def put(self, lease: Lease) -> LeaseBook:
        """The book with a lease added, in place of any other on its address."""
        had = self._had_without(lease.address)
        had[lease.mac] = (*had.get(lease.mac, ()), lease.address)
        return LeaseBook({**self.leases, lease.address: lease}, had)

    def drop(self, address: IPv4Address) -> LeaseBook:
        """The book without an address."""
        leases = dict(self.leases)
        leases.pop(address, None)
        return LeaseBook(leases, self._had_without(address))

    def _had_without(self, address: IPv4Address) -> dict[str, tuple[IPv4Address, ...]]:
        had, old = dict(self._had), self.leases.get(address)
        if old is not None:
            rest = tuple(other for other in had.pop(old.mac) if other != address)
            had |= {old.mac: rest} if rest else {}
        return had

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
        ever = (self.leases[address] for address in self._had.get(mac, ()))
        own = [lease for lease in ever if lease.state is not LeaseState.DECLINED]
        return max(own, key=lambda lease: lease.until, default=None)

    def is_free(self, address: IPv4Address, mac: str, now: float) -> bool:
        """Whether a card may be given an address: it holds it, or nothing does."""
        lease = self.at(address, now)
        return lease is None or (lease.mac == mac and lease.state is not LeaseState.DECLINED)


def save(book: LeaseBook, path: Path) -> None:
    """Write the book, a lease a line. Raises OSError."""
    rows = [
        f'{{"address": "{lease.address}", "mac": "{lease.mac}", "state": "{lease.state.value}", '
        f'"until": {lease.until:.3f}}}'
        for lease in book.leases.values()
    ]  # by hand: thirty times as fast as json.dumps with an indent, and a storm of clients waits for it
    write_whole(path, f'{{"v": {SCHEMA}, "leases": [\n' + ",\n".join(rows) + "\n]}\n")


def load(path: Path) -> LeaseBook:
    """The saved book; an empty one when there is none. Raises MachineError when the file is not a lease book."""
    remove_unfinished(path)
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
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"this is not a lease book: {error!r}"
        raise MachineError(what, where=str(path), fix="remove it: the leases are made anew") from None
    return LeaseBook({lease.address: lease for lease in rows})
