"""proxyDHCP: beside a router that gives the addresses, we name the boot files (PXE 2.1, sections 2.2.3 and 2.2.4).

Our OFFER goes out beside the router's and holds neither an address nor a lease. The firmware takes both together, asks
the router for the address and, where it wants to, our port 4011 for the boot file. Whoever is no firmware is none of
our business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from labkit.boot.loaders import Client
from labkit.netboot.dhcp import Message, replies
from labkit.netboot.dhcp.decision import Asked, Decision
from labkit.netboot.dhcp.replies import Peer


@dataclass(frozen=True)
class ProxyAsked(Asked):
    """One message to the proxy. ``peer`` is who sent it to port 4011, None for one to port 67."""

    peer: Peer | None = None

    def decide(self, message: Message) -> Decision:
        """What comes of the message."""
        if self.client is Client.OS:
            return self.silence("asks the router") if self.blade is not None else Decision(self.leases)
        if self.blade is None and not self.lab.network.discover:
            return self.silence("not in the lab")
        if not self.is_local:
            return self.silence(f"relayed from {self.packet.giaddr}, which is not in {self.lab.network.subnet}")
        if self.peer is None and message is Message.DISCOVER:
            return replace(self._name(Message.OFFER), boots=self.blade.name if self.blade is not None else "")
        if self.peer is not None and message in (Message.REQUEST, Message.INFORM):
            return self._name(Message.ACK)
        return self.silence("asks the router" if self.peer is None else "nothing that a boot service answers")

    def _name(self, kind: Message) -> Decision:
        network = self.lab.network
        boot = replies.boot_file_of(self.packet, self.blade, network)
        if not boot.file:  # an offer without a file would end in PXE-E55
            return self.silence(boot.reason)
        reply = replies.name_boot_file(self.packet, network, kind, boot, self.peer)
        return Decision(self.leases, (reply,), (self.event(kind.name, None, boot.file, ""),))
