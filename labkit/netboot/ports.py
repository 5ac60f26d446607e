"""The boot server's ports: opened by root on the lab's interface only, and handed to a server without privileges."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from labkit.chassis import network
from labkit.errors import MachineError
from labkit.lab import Lab, NetworkKind
from labkit.netboot import advertise, neighbours

SO_RCVBUFFORCE = 33  # asm-generic/socket.h


def open_sockets(lab: Lab) -> dict[str, socket.socket]:
    """The boot server's privileged sockets, bound to the lab's interface and address only.

    Raises MachineError naming the port that is taken and what to do.
    """
    link = network.link_of(lab)
    server = str(lab.network.server)
    wanted = [
        ("dhcp", socket.SOCK_DGRAM, "0.0.0.0", 67),
        ("tftp", socket.SOCK_DGRAM, server, 69),
        ("http", socket.SOCK_STREAM, server, lab.network.http_port),
    ]
    if lab.network.tls:
        wanted.append(("https", socket.SOCK_STREAM, server, lab.network.https_port))
    if lab.network.is_proxy:
        wanted.append(("boot", socket.SOCK_DGRAM, server, 4011))
    sockets = {}
    for name, kind, address, port in wanted:
        sock = socket.socket(socket.AF_INET, kind)
        sockets[name] = sock
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:  # thirty blades may ask in the same instant: room for their packets while we are busy
            _make_room(sock)
        try:
            if kind == socket.SOCK_DGRAM:  # an address alone lets in what came by another card (RFC 1122, 3.3.4.2)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode() + b"\0")
            sock.bind((address, port))
        except OSError as error:
            for opened in sockets.values():
                opened.close()
            raise _bind_error(error, name, kind, address, port, link) from None
        if kind == socket.SOCK_STREAM:
            sock.listen(256)
        sock.setblocking(False)
    sockets["arp"] = neighbours.listen(link)
    if lab.network.kind is NetworkKind.VIRTUAL:
        with contextlib.suppress(OSError):  # a kernel without IPv6: then nobody asks either
            sockets["icmp6"] = advertise.listen(link)
    return sockets


def _make_room(sock: socket.socket) -> None:
    """Room for some thousand requests; SO_RCVBUF alone stops at net.core.rmem_max, a few hundred (socket(7))."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    except PermissionError:  # root without CAP_NET_ADMIN
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)


def _bind_error(error: OSError, name: str, kind: int, address: str, port: int, link: str) -> MachineError:
    protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
    where = f"{protocol} port {port} ({name}) on {link}"
    if error.errno == errno.EADDRINUSE:
        return MachineError(
            "another program has this port", where=where,
            fix=f"stop it (ss -lnp 'sport = :{port}' names it)"
            + (f", or set network.{name}_port in lab.yaml" if name in ("http", "https") else ""),
        )  # fmt: skip
    if error.errno == errno.EADDRNOTAVAIL:
        return MachineError(
            f"{address} is not an address of this machine", where=where,
            fix=f"give {link} the address network.server names: ip address add {address}/… dev {link}",
        )  # fmt: skip
    return MachineError(f"cannot be opened: {os.strerror(error.errno or 0)}", where=where)
