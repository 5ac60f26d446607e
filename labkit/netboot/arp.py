"""Who has which address on the lab's network: the kernel's neighbour table, and asking by ARP (RFC 826, RFC 5227).

Behind a proxy the leases are not ours, so the neighbour table says which card speaks from an address: the kernel filled
it when that card asked for us, or had to before anything of ours could reach it. `Prober` asks for an address that is
about to be given away. An ARP packet (RFC 826)::

    +-----------------+-----------------+-------+-------+-----------+
    | hardware 1 (2)  | protocol (2)    | 6 (1) | 4 (1) |  op (2)   |
    +-----------------+-----------------+-------+-------+-----------+
    | sender MAC (6)  | sender IPv4 (4) | target MAC (6) | IPv4 (4) |
    +-----------------+-----------------+----------------+----------+
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from labkit.events.watchdog import raise_lost
from labkit.lab.state import text_of

TABLE = Path("/proc/net/arp")
COMPLETE = 0x2  # ATF_COM, linux/if_arp.h
ARP = struct.Struct("!HHBBH6s4s6s4s")
ETHERNET, REQUEST = 1, 1
ETH_P_ARP, ETH_P_IP = 0x0806, 0x0800
EVERYBODY = b"\xff" * 6
PACKET_OTHERHOST = 3
"""What was not for us (packet(7)), as what came with the tag of a VLAN that this interface is no member of."""
AGAIN_S, VERDICT_S = 0.15, 0.3
"""A machine on a wired network answers within a millisecond; twice, because one packet may be lost."""
MOST_PROBES = 4096
"""A storm of a thousand machines finds room; what does not is dropped, and asks again."""


def mac_at(address: IPv4Address, interface: str, table: Path = TABLE) -> str:
    """The card that has an address on an interface, as the kernel knows it, or an empty string (proc(5))."""
    for line in text_of(table).splitlines()[1:]:
        words = line.split()
        if len(words) == 6 and words[0] == str(address) and words[5] == interface and int(words[2], 16) & COMPLETE:
            return words[3].lower()
    return ""


def encode_probe(sender: bytes, address: IPv4Address) -> bytes:
    """The question who has an address, from nobody's address: it changes no table (RFC 5227 section 2.1.1)."""
    return ARP.pack(ETHERNET, ETH_P_IP, 6, 4, REQUEST, sender, bytes(4), bytes(6), address.packed)


def decode_sender(data: bytes) -> tuple[IPv4Address, str] | None:
    """Address and MAC that an ARP packet says belong together; None for a probe, and for what is no ARP."""
    if len(data) < ARP.size:
        return None
    hardware, protocol, mac_b, address_b, _, mac, address, _, _ = ARP.unpack_from(data)
    if (hardware, protocol, mac_b, address_b) != (ETHERNET, ETH_P_IP, 6, 4) or not any(address):
        return None
    return IPv4Address(address), mac.hex(":")


class Prober:
    """Ask for addresses over a packet socket that is bound to ARP on the lab's interface."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._waiting: dict[IPv4Address, Callable[[str], None]] = {}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        self._loop = loop
        loop.add_reader(self._sock.fileno(), self._readable)

    def stop(self) -> None:
        """Listen no longer."""
        self._loop.remove_reader(self._sock.fileno())
        self._waiting.clear()

    def probe(self, address: IPv4Address, done: Callable[[str], None]) -> bool:
        """Find out who uses an address: ``done`` gets a MAC, or nothing for nobody. False when there is no room."""
        if address in self._waiting or len(self._waiting) >= MOST_PROBES:
            return False
        self._waiting[address] = done
        self._ask(address)
        self._loop.call_later(AGAIN_S, self._ask, address)
        self._loop.call_later(VERDICT_S, self._settle, address, "", done)
        return True

    def _ask(self, address: IPv4Address) -> None:
        if address in self._waiting:
            link, _, _, _, mac = self._sock.getsockname()  # each time: a bridge's MAC follows its ports'
            with contextlib.suppress(OSError):  # as good as lost
                self._sock.sendto(encode_probe(mac, address), (link, ETH_P_ARP, 0, 0, EVERYBODY))

    def _settle(self, address: IPv4Address, mac: str, done: Callable[[str], None]) -> None:
        if self._waiting.get(address) is done:
            del self._waiting[address]
            done(mac)

    def _readable(self) -> None:
        try:
            data, (_, _, kind, *_) = self._sock.recvfrom(ARP.size)
        except OSError as error:
            raise_lost(error)
            return
        found = decode_sender(data) if kind != PACKET_OTHERHOST else None
        if found is not None and found[0] in self._waiting:
            self._settle(*found, self._waiting[found[0]])


def listen(interface: str) -> socket.socket:
    """The socket for a `Prober`; needs CAP_NET_RAW. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    try:
        sock.bind((interface, ETH_P_ARP))
    except OSError:
        sock.close()
        raise
    return sock
