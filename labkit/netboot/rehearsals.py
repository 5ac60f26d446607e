"""Rehearsals on the server's side: what a blade's address may fetch while nobody boots.

While a rehearsal goes on, the blade's card gets real answers and real files, from a plan made for this alone: no boot
begins in the book, no ticket of it can be redeemed, its events carry no boot's identity, and the blade's lease is
afterwards what it was before.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from labkit.errors import ControlError
from labkit.events import REHEARSAL
from labkit.lab import Blade
from labkit.lab.process import steady
from labkit.netboot.boots import Boot, BootBook, Frozen
from labkit.netboot.dhcp.leases import Lease, LeaseBook

LONGEST_S = 300.0
"""A rehearsal whose client is gone ends by itself."""


@dataclass(frozen=True)
class Rehearsed:
    """One rehearsal: its own plan, what held the blade's address before, and when it ends at the latest."""

    frozen: Frozen
    lease: Lease | None
    until: float


class Rehearsals:
    """The rehearsals under way, by blade."""

    def __init__(self, boots: BootBook) -> None:
        self._boots = boots
        self._rehearsed: dict[str, Rehearsed] = {}

    def begin(self, blade: Blade, leases: LeaseBook) -> None:
        """Begin one. Raises ControlError while another goes on, or when the blade's boot cannot be planned."""
        now = steady.now()
        if self.of(blade.name) is not None:
            raise ControlError(f"{blade.name} is being rehearsed already", fix="wait for that to end")
        # An identity of its own, so that not even its ticket is that of a boot.
        frozen = self._boots.freeze(Boot(blade.name, f"{REHEARSAL}-{secrets.token_hex(4)}", REHEARSAL, now))
        if frozen.plan is None:
            raise ControlError(f"{blade.name} could not boot: {frozen.error}", fix="correct that in lab.yaml")
        self._rehearsed[blade.name] = Rehearsed(frozen, leases.leases.get(blade.address), now + LONGEST_S)

    def end(self, blade: Blade, leases: LeaseBook) -> LeaseBook:
        """End one, if it goes on; the leases as they were before."""
        rehearsed = self._rehearsed.pop(blade.name, None)
        if rehearsed is None:
            return leases
        if rehearsed.lease is not None:
            return leases.put(rehearsed.lease)
        return leases.drop(blade.address)

    def of(self, blade: str) -> Rehearsed | None:
        """The rehearsal of a blade that goes on."""
        rehearsed = self._rehearsed.get(blade)
        return rehearsed if rehearsed is not None and steady.now() < rehearsed.until else None
