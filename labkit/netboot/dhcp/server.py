"""The DHCP server's shell: sockets, the time, and the lease file around `labkit.netboot.dhcp.decide`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address

from labkit.events import Trouble
from labkit.events.watchdog import raise_lost, reason
from labkit.lab.process import steady
from labkit.netboot.arp import Prober
from labkit.netboot.clients import ClientBook
from labkit.netboot.dhcp import DhcpError, Message, Packet, decode, encode
from labkit.netboot.dhcp.decide import conflict, decide
from labkit.netboot.dhcp.replies import Peer, Reply, confirm

LARGEST_DATAGRAM_B = 4096
MOST_AT_ONCE = 64
PLAN_AFTER_S = 0.05
"""A boot that began is planned when its blade asks for a file, or after this time, when a whole rack has its leases."""


class DhcpServer:
    """Answer what arrives at a UDP socket, bound to port 67 and to the lab's interface.

    A message that cannot be answered is told with its sender, and costs nobody else an answer. An INFORM that comes
    from the server's own address asks whether the server answers (`labkit.diagnosis.listeners`): it does, and nothing
    is told.

    ``boot`` is the socket of a proxy's boot service, at port 4011. Without a ``prober``, addresses are offered without
    being looked for.
    """

    def __init__(
        self, sock: socket.socket, clients: ClientBook, prober: Prober | None = None, boot: socket.socket | None = None
    ) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._sock, self._boot, self._clients, self._prober = sock, boot, clients, prober
        self._asking: set[str] = set()
        self._planning: asyncio.Handle | None = None
        for one in self._sockets():
            one.setblocking(False)

    def _sockets(self) -> list[socket.socket]:
        return [self._sock] if self._boot is None else [self._sock, self._boot]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        self._loop = loop
        for sock in self._sockets():
            loop.add_reader(sock.fileno(), self._readable, sock)
        if self._prober is not None:
            self._prober.start(loop)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen no longer."""
        for sock in self._sockets():
            loop.remove_reader(sock.fileno())
        if self._prober is not None:
            self._prober.stop()
        if self._planning is not None:
            self._planning.cancel()

    def _readable(self, sock: socket.socket) -> None:
        """Answer what has arrived. A storm of requests costs one writing of the leases, not one each."""
        replies: list[Reply] = []
        for _ in range(MOST_AT_ONCE):
            try:
                data, (host, port) = sock.recvfrom(LARGEST_DATAGRAM_B)
            except OSError as error:  # nothing more, or a passing trouble of the network that is no client's message
                raise_lost(error)
                break
            replies += self._answer(data, (IPv4Address(host), port), is_boot=sock is self._boot)
        self._send_all(sock, replies)

    def _send_all(self, sock: socket.socket, replies: list[Reply]) -> None:
        """Send replies, after what they promise is on disk."""
        try:
            self._clients.save()
        except OSError as error:  # no reply without a record: the clients ask again
            self._clients.emit(Trouble(part="dhcp", detail=f"the leases cannot be written: {error}"))
            return
        for reply in replies:
            self._send(sock, reply)
        if self._planning is None:
            self._planning = self._loop.call_later(PLAN_AFTER_S, self._plan)

    def _plan(self) -> None:
        """Plan one boot, and look for messages before the next: planning takes longer than an answer."""
        is_more = True
        try:
            is_more = self._clients.plan_next()
        except Exception as error:  # one boot that cannot be planned: whoever began it must not end the server
            self._clients.emit(Trouble(part="plan", detail=reason(error)))
        self._planning = self._loop.call_soon(self._plan) if is_more else None

    def _answer(self, data: bytes, peer: Peer, *, is_boot: bool) -> tuple[Reply, ...]:
        """The replies to one datagram. None ends the server."""
        packet = None
        try:
            packet = decode(data)
            if packet.message is Message.INFORM and peer[0] == self._clients.lab.network.server:
                return (confirm(packet, self._clients.lab.network, peer),)
            return () if packet.mac in self._asking else self._decide(packet, peer if is_boot else None, {})
        except DhcpError as error:
            said = f"a message that is not right: {error} (from {peer[0]} port {peer[1]})"
            self._clients.emit(Trouble(part="dhcp", detail=said))
        except Exception as error:
            self._failed(packet, f"from {peer[0]} port {peer[1]}", error)
        return ()

    def _failed(self, packet: Packet | None, where: str, error: Exception) -> None:
        """Tell of a fault in handling one message."""
        kind = packet.message.name if packet is not None and packet.message is not None else "a message"
        who = f" of {packet.mac}" if packet is not None else ""
        self._clients.emit(Trouble(part="dhcp", detail=f"{kind}{who} {where}: {reason(error)}"))

    def _decide(self, packet: Packet, peer: Peer | None, probed: Mapping[IPv4Address, str]) -> tuple[Reply, ...]:
        now, clients = steady.now(), self._clients
        decision = decide(packet, clients.lab, clients.leases, now, probed=probed, peer=peer)
        clients.adopt(decision)
        for event in decision.events:
            clients.emit(event)
        if decision.probe is None:
            return decision.replies
        if self._prober is None:
            return decision.replies or self._decide(packet, peer, {**probed, decision.probe: ""})
        if decision.replies:
            self._prober.probe(decision.probe, partial(self._tell_conflict, packet.mac, decision.probe))
        elif self._prober.probe(decision.probe, partial(self._probed, packet, decision.probe, probed)):
            self._asking.add(packet.mac)
        return decision.replies

    # --- looking for addresses ---

    def _tell_conflict(self, mac: str, address: IPv4Address, user: str) -> None:
        trouble = conflict(self._clients.lab, mac, address, user)
        if trouble is not None:
            self._clients.emit(trouble)

    def _probed(self, packet: Packet, address: IPv4Address, probed: Mapping[IPv4Address, str], user: str) -> None:
        """Go on with a message, now that it is known who uses an address."""
        self._asking.discard(packet.mac)
        try:
            replies = self._decide(packet, None, {**probed, address: user})
        except Exception as error:
            self._failed(packet, f"for {address}", error)
            return
        self._send_all(self._sock, list(replies))

    def _send(self, sock: socket.socket, reply: Reply) -> None:
        try:
            sock.sendto(encode(reply.packet), (str(reply.to), reply.port))
        except OSError as error:
            self._clients.emit(Trouble(part="dhcp", detail=f"no reply to {reply.to}: {error.strerror or error}"))
        except Exception as error:
            self._failed(reply.packet, f"for {reply.to}", error)
