"""Wake-on-LAN: the magic packet of AMD's white paper (publication 20213), six times 0xFF and sixteen times the MAC."""

from __future__ import annotations

import socket

from labkit.errors import PowerError
from labkit.lab import Bmc
from labkit.machines.power import ways

COPIES = 3
"""Nobody answers, so that a lost one would not be missed; a machine that is on takes no notice."""


def packet(mac: str) -> bytes:
    """The 102 bytes that wake a card; ``mac`` has colons."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16


def send(blade: str, bmc: Bmc) -> None:
    """Send the packet over UDP. Raises PowerError when this machine cannot send there."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for _ in range(COPIES):
                sock.sendto(packet(bmc.mac), (bmc.address, bmc.port))
    except OSError as error:
        raise PowerError(
            f"the packet to {bmc.address}:{bmc.port} could not be sent: {error.strerror or error}",
            where=ways.where(blade, bmc),
            fix="bmc.broadcast in lab.yaml is the broadcast address of the network that the blade's card is on",
        ) from None
