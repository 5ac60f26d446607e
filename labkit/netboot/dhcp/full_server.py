"""The full DHCP server of RFC 2131 section 4.3.

A blade has its own address, by any of its cards; other machines get one only where the lab has a pool, after it was
looked for on the network. A blade's address is offered at once: a person wrote it down for this blade, there is none
other to offer, and firmware does not wait long. It is looked for as well, but only so that trouble can be told.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from labkit.boot.loaders import Client
from labkit.events import Event, Trouble
from labkit.netboot.dhcp import NOWHERE, Message, Option, replies
from labkit.netboot.dhcp.decision import Asked, Decision
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState

LEASE_S = 3600
SHORTEST_LEASE_S = 120
OFFER_S = 60
PROBING_S = 2
QUARANTINE_S = 120
MOST_PROBED = 3
"""So many addresses are looked for in answer to one message; its client asks again."""


@dataclass(frozen=True)
class ServerAsked(Asked):
    """One message to the server. ``probed`` is who uses which address, a MAC or nothing."""

    probed: Mapping[IPv4Address, str] = field(default_factory=dict)

    def decide(self, message: Message) -> Decision:
        """What comes of the message."""
        answer = {
            Message.DISCOVER: self.discover,
            Message.REQUEST: self.request,
            Message.DECLINE: self.decline,
            Message.RELEASE: self.release,
            Message.INFORM: self.inform,
        }.get(message)
        return answer() if answer is not None else self.silence("only servers send this")

    # --- the messages, RFC 2131 section 4.3 ---

    def discover(self) -> Decision:
        """4.3.1: offer the blade's own address, or one of the pool that nobody uses (section 3.1, step 2)."""
        if not self.probed:
            return self._discover()
        quarantined, events = self._after_probes()
        decision = replace(self, leases=quarantined)._discover()
        return replace(decision, events=(*events, *decision.events))

    def _after_probes(self) -> tuple[LeaseBook, tuple[Event, ...]]:
        """The book without the addresses that were found in use, and what is to be told of the last one of them."""
        book = self.leases
        events: tuple[Event, ...] = ()
        for address, user in self.probed.items():
            events = ()
            if user not in ("", self.packet.mac):
                book = book.put(Lease(address, user, LeaseState.DECLINED, self.now + QUARANTINE_S))
                detail = f"{address} of the pool is used by {user}, which did not get it here: not given to others"
                events = (Trouble(part="dhcp", detail=detail),)
        return book, events

    def _discover(self) -> Decision:
        address, reason = self._pick()
        if address is None:
            return self.silence(reason)
        held = self.leases.at(address, self.now)
        is_held = held is not None and held.mac == self.packet.mac
        book = self.leases
        if held is None or not is_held or held.state is LeaseState.OFFERED:
            book = book.put(Lease(address, self.packet.mac, LeaseState.OFFERED, self.now + OFFER_S))
        if self.blade is not None:
            starts = self.blade.name if self.client is not Client.OS else ""
            offer = self._grant(Message.OFFER, address, book)
            return replace(offer, boots=starts, probe=address if starts and not is_held else None)
        if is_held or address in self.probed:
            return self._grant(Message.OFFER, address, book)
        if len(self.probed) >= MOST_PROBED:
            return self.silence(f"machines that did not ask here use {', '.join(map(str, self.probed))}")
        kept = Lease(address, self.packet.mac, LeaseState.OFFERED, self.now + PROBING_S)
        return Decision(self.leases.put(kept), probe=address)

    def request(self) -> Decision:
        """4.3.2: the states of a client that wants, keeps or finds again an address."""
        server = self.packet.address(Option.SERVER_ID)
        wanted = self.packet.address(Option.REQUESTED_ADDRESS)
        if not self._is_served():
            return self.silence("not in the lab, and the lab has no pool")
        if not self._is_for_us():  # SELECTING, and not us
            return replace(self.silence(f"chose the server {server}"), leases=self._without_offer())
        if self.packet.ciaddr != NOWHERE:  # RENEWING, REBINDING, or a SELECTING client that filled ciaddr
            wanted = self.packet.ciaddr if server is None else wanted or self.packet.ciaddr
        if wanted is None:
            return self.silence("asks for no address")
        if not self.is_local:
            return self.silence(f"relayed from {self.packet.giaddr}, which is not in {self.lab.network.subnet}")
        if self.blade is None and server is None and self.leases.of(self.packet.mac) is None:
            return self.silence("no record of this lease")
        if wanted not in self.lab.network.subnet:
            return self.refuse(f"{wanted} is not an address of this network")
        right, reason = self._rightful(wanted)
        if not right:
            return self.refuse(reason) if self._may_refuse(wanted) else self.silence(reason)
        lease = Lease(wanted, self.packet.mac, LeaseState.BOUND, self.now + self._lease_s())
        return self._grant(Message.ACK, wanted, self.leases.put(lease), must_save=True)

    def decline(self) -> Decision:
        """4.3.3: something else uses the address. It is left alone for a while."""
        address = self.packet.address(Option.REQUESTED_ADDRESS)
        if not self._is_for_us() or address is None or not self._is_own(address):
            return self.silence("declines nothing of ours")
        book = self.leases.put(Lease(address, self.packet.mac, LeaseState.DECLINED, self.now + QUARANTINE_S))
        quiet = self.silence(f"left alone for {QUARANTINE_S} s", address)
        who = f"{self.blade.name} ({self.packet.mac})" if self.blade is not None else self.packet.mac
        trouble = Trouble(
            blade=self.blade.name if self.blade is not None else "", part="dhcp",
            detail=f"{who} declined {address}: another machine on this network uses it",
        )  # fmt: skip
        return replace(quiet, leases=book, events=(*quiet.events, trouble), must_save=True)

    def release(self) -> Decision:
        """4.3.4: the address is free again."""
        address = self.packet.ciaddr
        if not self._is_for_us() or self.leases.holder(address, self.now) != self.packet.mac:
            return self.silence("releases nothing of ours")
        return replace(self.silence("released", address), leases=self.leases.drop(address), must_save=True)

    def inform(self) -> Decision:
        """4.3.5: parameters for a client that has its address from elsewhere; no address and no lease time."""
        if not self._is_served():
            return self.silence("not in the lab, and the lab has no pool")
        return self._grant(Message.ACK, NOWHERE, self.leases)

    # --- whose address is it ---

    def _is_served(self) -> bool:
        return self.blade is not None or self.lab.network.pool is not None

    def _is_for_us(self) -> bool:
        network = self.lab.network
        return self.packet.address(Option.SERVER_ID) in (None, network.server, replies.server_id(self.packet, network))

    def _is_own(self, address: IPv4Address) -> bool:
        """Whether this card was offered or holds the address."""
        lease = self.leases.at(address, self.now)
        return lease is not None and lease.mac == self.packet.mac and lease.state is not LeaseState.DECLINED

    def _without_offer(self) -> LeaseBook:
        lease = self.leases.of(self.packet.mac)
        if lease is None or lease.state is not LeaseState.OFFERED:
            return self.leases
        return self.leases.drop(lease.address)

    def _pick(self) -> tuple[IPv4Address | None, str]:
        """The address to offer, or why there is none."""
        if not self.is_local:
            return None, f"relayed from {self.packet.giaddr}, which is not in {self.lab.network.subnet}"
        if self.blade is not None:
            right, reason = self._rightful(self.blade.address)
            return (self.blade.address, "") if right else (None, reason)
        if self.lab.network.pool is None:
            return None, "not in the lab, and the lab has no pool"
        last = self.leases.of(self.packet.mac)
        wishes = (last.address if last is not None else None, self.packet.address(Option.REQUESTED_ADDRESS))
        fresh = (address for address in self._pool() if address not in self.leases.leases)
        for address in itertools.chain(wishes, itertools.islice(fresh, 1), self._pool()):
            if address is not None and self._rightful(address)[0]:
                return address, ""
        return None, "every address of the pool is taken"

    def _pool(self) -> Iterable[IPv4Address]:
        if self.lab.network.pool is None:
            return ()
        first, last = map(int, self.lab.network.pool)
        size = last - first + 1
        start = zlib.crc32(self.packet.chaddr)  # so that a card finds its address again, and a free one at once
        every = (IPv4Address(first + (start + step) % size) for step in range(size))
        return (address for address in every if self._is_pooled(address))

    def _is_pooled(self, address: IPv4Address) -> bool:
        """Whether an address is in the pool and not spoken for by the lab itself."""
        network = self.lab.network
        if network.pool is None or not network.pool[0] <= address <= network.pool[1]:
            return False
        return address not in (network.server, network.controller) and self.lab.blade_at(address) is None

    def _rightful(self, address: IPv4Address) -> tuple[bool, str]:
        """Whether this card may have an address, or why not."""
        if self.blade is None:
            if self._is_pooled(address) and self.leases.is_free(address, self.packet.mac, self.now):
                return True, ""
            return False, f"{address} is not this machine's"
        if address != self.blade.address:
            return False, f"{address} is not {self.blade.name}'s address, {self.blade.address} is"
        held = self.leases.at(address, self.now)
        if held is None or (held.mac == self.packet.mac and held.state is not LeaseState.DECLINED):
            return True, ""
        if held.state is LeaseState.DECLINED:
            return False, f"{address} was declined: another machine uses it"
        # A blade has several cards and one address. Firmware speaking means that it starts anew: its card takes over.
        if held.mac not in self.blade.macs or self.client is not Client.OS:
            return True, ""
        return False, f"{self.blade.name}'s address is held by its card {held.mac}"

    def _may_refuse(self, address: IPv4Address) -> bool:
        """A blade's second card that asks for the blade's address gets silence: a NAK would call the address wrong."""
        return self.blade is None or address != self.blade.address

    def _lease_s(self) -> int:
        wanted = self.packet.wish(Option.LEASE_TIME, 4)
        return LEASE_S if wanted is None else min(max(wanted, SHORTEST_LEASE_S), LEASE_S)

    # --- the answers ---

    def refuse(self, reason: str) -> Decision:
        """A NAK; what this card was offered is free again."""
        reply = replies.refuse(self.packet, self.lab.network, reason)
        return Decision(self._without_offer(), (reply,), (self.event("NAK", None, "", reason),))

    def _grant(self, kind: Message, address: IPv4Address, book: LeaseBook, *, must_save: bool = False) -> Decision:
        """An OFFER or an ACK; without an address it is the ACK to an INFORM."""
        network = self.lab.network
        boot = replies.boot_file_of(self.packet, self.blade, network)
        reply = replies.grant(self.packet, self.blade, network, kind, address, self._lease_s(), boot)
        shown = address if address != NOWHERE else self.packet.ciaddr
        return Decision(book, (reply,), (self.event(kind.name, shown, boot.file, boot.reason),), must_save)
