"""What a DHCP message gets: a pure function of the message, the lab, the leases and the time.

The full server of RFC 2131 section 4.3 for the lab's blades, each by the MAC of any of its cards at its address from
``lab.yaml``, and for other machines only where the lab has a pool. A machine that is neither gets silence, never a NAK:
the segment may not be ours alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from labkit.events import Dhcp, Event, Trouble, UnknownMachine
from labkit.lab import Blade, Lab
from labkit.netboot import loaders, replies
from labkit.netboot.dhcp import BOOTREQUEST, NOWHERE, DhcpError, Message, Option, Packet
from labkit.netboot.leases import Lease, LeaseBook, LeaseState
from labkit.netboot.loaders import Client
from labkit.netboot.replies import Reply

LEASE_S = 3600
SHORTEST_LEASE_S = 120
OFFER_S = 60
QUARANTINE_S = 120
ETHERNET = 1


@dataclass(frozen=True)
class Decision:
    """What comes of one message.

    ``leases`` is the book afterwards; ``must_save`` says that it has to be on disk before the replies leave. ``boots``
    names the blade whose firmware has just begun to look for a boot server.
    """

    leases: LeaseBook
    replies: tuple[Reply, ...] = ()
    events: tuple[Event, ...] = ()
    must_save: bool = False
    boots: str = ""


def decide(packet: Packet, lab: Lab, leases: LeaseBook, now: float) -> Decision:
    """Answer one message. Raises DhcpError for a message whose options contradict their definition."""
    if packet.op != BOOTREQUEST:
        return Decision(leases)
    if packet.htype != ETHERNET or len(packet.chaddr) != 6:
        raise DhcpError(f"hardware type {packet.htype} with {len(packet.chaddr)} bytes is not Ethernet")
    message = packet.message
    if message is None:
        raise DhcpError("BOOTP without a DHCP message type")
    asked = _Asked(packet, lab, leases, now)
    answer = {
        Message.DISCOVER: asked.discover,
        Message.REQUEST: asked.request,
        Message.DECLINE: asked.decline,
        Message.RELEASE: asked.release,
        Message.INFORM: asked.inform,
    }.get(message)
    decision = answer() if answer is not None else asked.silence("only servers send this")
    if asked.blade is None:
        unknown = UnknownMachine(mac=packet.mac, adopt=adoption(lab, packet.mac))
        decision = replace(decision, events=(*decision.events, unknown))
    return decision


def adoption(lab: Lab, mac: str) -> str:
    """The line for ``lab.yaml`` that would make a machine a blade: the next name, slot and address that are free."""
    taken = {blade.slot for blade in lab.blades}
    slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
    names = {blade.name for blade in lab.blades}
    name = next(f"blade{number}" for number in range(slot, slot + len(names) + 1) if f"blade{number}" not in names)
    return f'- {{name: {name}, slot: {slot}, macs: ["{mac}"]}}'


@dataclass(frozen=True)
class _Asked:
    """One message being answered."""

    packet: Packet
    lab: Lab
    leases: LeaseBook
    now: float

    @property
    def blade(self) -> Blade | None:
        return self.lab.blade_with_mac(self.packet.mac)

    @property
    def client(self) -> Client:
        return loaders.client_of(self.packet)

    @property
    def is_local(self) -> bool:
        """Whether the message comes from the lab's subnet: directly, or by a relay in it (RFC 2131 section 4.3.1)."""
        return self.packet.giaddr == NOWHERE or self.packet.giaddr in self.lab.network.subnet

    # --- the messages, RFC 2131 section 4.3 ---

    def discover(self) -> Decision:
        """4.3.1: offer the blade's own address, or one of the pool."""
        address, reason = self._pick()
        if address is None:
            return self.silence(reason)
        starts = self.blade.name if self.blade is not None and self.client is not Client.OS else ""
        held = self.leases.at(address, self.now)
        book = self.leases
        if held is None or held.mac != self.packet.mac:
            book = book.put(Lease(address, self.packet.mac, LeaseState.OFFERED, self.now + OFFER_S))
        return replace(self._grant(Message.OFFER, address, book), boots=starts)

    def request(self) -> Decision:
        """4.3.2: the states of a client that wants, keeps or finds again an address."""
        ours, server = self.lab.network.server, self.packet.address(Option.SERVER_ID)
        wanted = self.packet.address(Option.REQUESTED_ADDRESS)
        if not self._is_served():
            return self.silence("not in the lab, and the lab has no pool")
        if server is not None and server != ours:  # SELECTING, and not us
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
        return replace(self._grant(Message.ACK, wanted, self.leases.put(lease)), must_save=True)

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
        return self.packet.address(Option.SERVER_ID) in (None, self.lab.network.server)

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
        first_choices = (last.address if last is not None else None, self.packet.address(Option.REQUESTED_ADDRESS))
        fresh = (address for address in self._pool() if address not in self.leases.leases)
        for address in (*first_choices, next(fresh, None), *self._pool()):
            if address is not None and self._rightful(address)[0]:
                return address, ""
        return None, "every address of the pool is taken"

    def _pool(self) -> Iterable[IPv4Address]:
        if self.lab.network.pool is None:
            return ()
        first, last = self.lab.network.pool
        every = (IPv4Address(number) for number in range(int(first), int(last) + 1))
        return (address for address in every if self._is_pooled(address))

    def _is_pooled(self, address: IPv4Address) -> bool:
        """Whether an address is in the pool and not spoken for by the lab itself."""
        network = self.lab.network
        if network.pool is None or not network.pool[0] <= address <= network.pool[1]:
            return False
        return address not in (network.server, network.controller, *(blade.address for blade in self.lab.blades))

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
        wanted = self.packet.number(Option.LEASE_TIME, 4)
        return LEASE_S if wanted is None else min(max(wanted, SHORTEST_LEASE_S), LEASE_S)

    # --- the answers ---

    def silence(self, reason: str, address: IPv4Address | None = None) -> Decision:
        """No reply, and an event that says why."""
        return Decision(self.leases, events=(self._event("", address, "", reason),))

    def refuse(self, reason: str) -> Decision:
        """A NAK; what this card was offered is free again."""
        reply = replies.refuse(self.packet, self.lab.network, reason)
        return Decision(self._without_offer(), (reply,), (self._event("NAK", None, "", reason),))

    def _grant(self, kind: Message, address: IPv4Address, book: LeaseBook) -> Decision:
        """An OFFER or an ACK; without an address it is the ACK to an INFORM."""
        network = self.lab.network
        boot = replies.boot_file_of(self.packet, self.blade, network)
        reply = replies.grant(self.packet, self.blade, network, kind, address, self._lease_s(), boot)
        shown = address if address != NOWHERE else self.packet.ciaddr
        return Decision(book, (reply,), (self._event(kind.name, shown, boot.file, boot.reason),))

    def _event(self, reply: str, address: IPv4Address | None, file: str, reason: str) -> Dhcp:
        message = self.packet.message
        return Dhcp(
            blade=self.blade.name if self.blade is not None else "",
            mac=self.packet.mac,
            message=message.name if message is not None else "",
            reply=reply,
            address=str(address) if address is not None else "",
            client=self.client.value,
            arch=",".join(map(str, loaders.architectures_of(self.packet))),
            file=file,
            reason=reason,
        )
