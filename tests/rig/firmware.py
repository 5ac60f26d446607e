"""Firmware as a client: PXE's conversation with two DHCP servers at once (PXE 2.1, section 2.2), over a real socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from ipaddress import IPv4Address

from labkit.netboot.dhcp import BOOTREPLY, BOOTREQUEST, NOWHERE, DhcpError, Message, Option, Packet, decode, encode

BOOT_SERVICE_PORT = 4011
Heard = list[tuple[Packet, tuple[str, int]]]
"""Replies, each with who sent it."""


class Firmware:
    """One card's firmware on an interface. ``options`` say which; ``sock`` is a UDP socket of its namespace."""

    def __init__(self, sock: socket.socket, mac: str, options: Mapping[int, bytes], interface: str = "eth0") -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind(("0.0.0.0", 68))
        self.sock, self.mac, self.options = sock, mac, options
        self.xid = int.from_bytes(bytes.fromhex(mac.replace(":", ""))[2:])

    def send(
        self,
        message: Message,
        own: Mapping[int, bytes] | None = None,
        *,
        to: str = "255.255.255.255",
        port: int = 67,
        ciaddr: IPv4Address = NOWHERE,
    ) -> None:
        """Send a message; without an address of its own it asks for broadcast replies."""
        options = {Option.MESSAGE_TYPE: bytes((message,)), **self.options, **(own or {})}
        chaddr, flags = bytes.fromhex(self.mac.replace(":", "")), 0x8000 if ciaddr == NOWHERE else 0
        packet = Packet(op=BOOTREQUEST, xid=self.xid, chaddr=chaddr, flags=flags, ciaddr=ciaddr, options=options)
        self.sock.sendto(encode(packet), (to, port))

    def hear(self, within_s: float, most: int = 9) -> Heard:
        """The replies to this card that arrive in time, until there are ``most``."""
        until = time.monotonic() + within_s
        heard: Heard = []
        while len(heard) < most and (left := until - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                data, peer = self.sock.recvfrom(4096)
                packet = decode(data)
            except (TimeoutError, DhcpError):
                continue
            if (packet.op, packet.xid, packet.mac) == (BOOTREPLY, self.xid, self.mac):
                heard.append((packet, peer))
        return heard

    def discover(self, within_s: float, most: int = 9) -> dict[str, Packet]:
        """The offers, by the server's address."""
        self.send(Message.DISCOVER)
        return {peer[0]: packet for packet, peer in self.hear(within_s, most) if packet.message is Message.OFFER}

    def take(self, offer: Packet) -> Packet:
        """Request what was offered; its ACK."""
        wanted: dict[int, bytes] = {
            Option.REQUESTED_ADDRESS: offer.yiaddr.packed,
            Option.SERVER_ID: offer.options[Option.SERVER_ID],
        }
        self.send(Message.REQUEST, wanted)
        [(ack, _)] = self.hear(5, 1)
        assert ack.message is Message.ACK
        return ack

    def ask_boot_service(self, server: str, address: IPv4Address, message: Message = Message.REQUEST) -> Packet:
        """Ask a proxy's port 4011; its ACK."""
        self.send(message, to=server, port=BOOT_SERVICE_PORT, ciaddr=address)
        [(ack, peer)] = self.hear(5, 1)
        assert (peer, ack.message) == ((server, BOOT_SERVICE_PORT), Message.ACK)
        return ack
