"""The lab's ports.

Those of the boot server are opened by root, on the lab's interface only, and handed to a server without privileges.
What else the lab runs opens its own; whether somebody has them already is asked before anything starts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from dataclasses import dataclass

from labkit.errors import MachineError
from labkit.lab import Lab, NetworkKind, nfs_share
from labkit.netboot import arp, router_advertisement

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
IP_FREEBIND = 15  # linux/in.h
SETTING = "set {} in lab.yaml"


@dataclass(frozen=True)
class StorePort:
    """A TCP port of what the lab keeps for its blades, and what to do where somebody else needs it."""

    name: str
    port: int
    address: str
    instead: str


def store_ports(lab: Lab) -> tuple[StorePort, ...]:
    """Those on a network that is not the lab's own: all of a real lab's, and of a virtual one the cache's, if any."""
    server, storage = str(lab.network.server), lab.storage
    found = []
    if lab.network.kind is NetworkKind.INTERFACE:
        found.append(StorePort("registry", lab.network.registry_port, server, SETTING.format("network.registry_port")))
        if storage.share:
            found.append(StorePort("share", nfs_share.PORT, server, "write share: false under storage: in lab.yaml"))
    if storage.cache:
        address = str(lab.cache_address)
        found.append(StorePort("cache", storage.cache_port, address, SETTING.format("storage.cache_port")))
    return tuple(found)


def stop_words(port: int) -> str:
    """How to find and stop who has a TCP or UDP port. The kernel's own NFS server is listed without a name."""
    if port == nfs_share.PORT:
        return "stop it: systemctl stop nfs-server, if it is this machine's own NFS server"
    return f"stop it (ss -lnp 'sport = :{port}' names it)"


def check_stores(lab: Lab) -> None:
    """Raise MachineError naming the port that is taken and what to do. The addresses need not be there yet."""
    for one in store_ports(lab):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what ended a moment ago is no obstacle
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            try:
                sock.bind((one.address, one.port))
            except OSError as error:
                where = f"TCP port {one.port} ({one.name}) at {one.address}"
                raise _bind_error(error, where, one.address, one.port, lab.network.interface, one.instead) from None


def open_sockets(lab: Lab) -> dict[str, socket.socket]:
    """The boot server's privileged sockets, bound to the lab's interface and address only.

    Raises MachineError naming the port that is taken and what to do.
    """
    link = lab.network.link
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
            protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
            where = f"{protocol} port {port} ({name}) on {link}"
            instead = SETTING.format(f"network.{name}_port") if name in ("http", "https") else ""
            raise _bind_error(error, where, address, port, link, instead) from None
        if kind == socket.SOCK_STREAM:
            sock.listen(256)
        sock.setblocking(False)
    sockets["arp"] = arp.listen(link)
    if lab.network.kind is NetworkKind.VIRTUAL:
        with contextlib.suppress(OSError):  # a kernel without IPv6: then nobody asks either
            sockets["icmp6"] = router_advertisement.listen(link)
    return sockets


def _make_room(sock: socket.socket) -> None:
    """Room for some thousand requests; SO_RCVBUF alone stops at net.core.rmem_max, a few hundred (socket(7))."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    except PermissionError:  # root without CAP_NET_ADMIN
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)


def _bind_error(error: OSError, where: str, address: str, port: int, link: str, instead: str) -> MachineError:
    if error.errno == errno.EADDRINUSE:
        fix = stop_words(port) + (f", or {instead}" if instead else "")
        return MachineError("another program has this port", where=where, fix=fix)
    if error.errno == errno.EADDRNOTAVAIL:
        return MachineError(
            f"{address} is not an address of this machine", where=where,
            fix=f"give {link} the address network.server names: ip address add {address}/… dev {link}",
        )  # fmt: skip
    return MachineError(f"cannot be opened: {os.strerror(error.errno or 0)}", where=where)
