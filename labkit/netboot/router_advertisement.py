"""A router advertisement that says there is no router (RFC 4861, section 4.2), for boot loaders that wait for one.

iPXE configures IPv6 beside IPv4 and goes on only when both are settled: where no router answers its solicitation, that
takes it 16 seconds. Ours has no prefix and a lifetime of 0, so nobody takes us for a router. It is sent in a virtual
lab only: on a real network it is the routers that may speak of routers. ::

    +------------+----------+--------------+---------------+-----------+--------------+-------------------+
    | type (1)   | code (1) | checksum (2) | hop limit (1) | flags (1) | lifetime (2) | two timers (4, 4) |
    +------------+----------+--------------+---------------+-----------+--------------+-------------------+
"""

from __future__ import annotations

import asyncio
import socket
import struct

from labkit.events.watchdog import raise_lost

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
ADVERTISEMENT = struct.pack("!BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)  # the kernel sums it up (RFC 3542)
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
HOPS = 255  # any other is dropped (RFC 4861, section 6.1.2)
ICMP6_FILTER = 1  # linux/icmpv6.h: a bit for each type that is not let through
LARGEST_B = 1500


def listen(interface: str) -> socket.socket:
    """The socket for an `Advertiser`; needs CAP_NET_RAW. Raises OSError, also where the kernel has no IPv6."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        index = socket.if_nametoindex(interface)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        blocked = [0xFFFFFFFF] * 8
        blocked[ROUTER_SOLICITATION // 32] &= ~(1 << ROUTER_SOLICITATION % 32)
        sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *blocked))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("=I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    except OSError:
        sock.close()
        raise
    return sock


class Advertiser:
    """Answer router solicitations that arrive at a socket made by `listen`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer."""
        loop.add_reader(self._sock.fileno(), self._readable)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer no longer."""
        loop.remove_reader(self._sock.fileno())

    def _readable(self) -> None:
        try:
            if self._sock.recv(LARGEST_B)[:1] == bytes((ROUTER_SOLICITATION,)):
                self._sock.sendto(ADVERTISEMENT, (ALL_NODES, 0))
        except OSError as error:  # nothing there after all, or lost on the way: it is asked for again
            raise_lost(error)
