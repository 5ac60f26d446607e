"""The DHCP server's shell: a socket, the time, and the lease file around `labkit.netboot.decide`."""

from __future__ import annotations

import asyncio
import socket
import time

from labkit.events import Trouble
from labkit.netboot.decide import decide
from labkit.netboot.dhcp import DhcpError, decode, encode
from labkit.netboot.replies import Reply
from labkit.netboot.roster import Roster

LARGEST_DATAGRAM_B = 4096
MOST_AT_ONCE = 64


class DhcpServer:
    """Answer what arrives at a UDP socket, bound to port 67 and to the lab's interface."""

    def __init__(self, sock: socket.socket, roster: Roster) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._sock, self._roster = sock, roster

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        loop.add_reader(self._sock.fileno(), self._readable)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen no longer."""
        loop.remove_reader(self._sock.fileno())

    def _readable(self) -> None:
        """Answer what has arrived. A storm of requests costs one writing of the leases, not one each."""
        replies: list[Reply] = []
        for _ in range(MOST_AT_ONCE):
            try:
                data = self._sock.recv(LARGEST_DATAGRAM_B)
            except OSError:  # nothing more, or a passing trouble of the network that is no client's message
                break
            replies += self._answer(data)
        try:
            self._roster.save()
        except OSError as error:  # no reply without a record: the clients ask again
            self._roster.emit(Trouble(part="dhcp", detail=f"the leases cannot be written: {error}"))
            return
        for reply in replies:
            self._send(reply)

    def _answer(self, data: bytes) -> tuple[Reply, ...]:
        """The replies to one datagram. None ends the server."""
        try:
            decision = decide(decode(data), self._roster.lab, self._roster.leases, time.time())
            self._roster.adopt(decision)
            for event in decision.events:
                self._roster.emit(event)
            return decision.replies
        except DhcpError as error:
            self._roster.emit(Trouble(part="dhcp", detail=f"a message that is not right: {error}"))
        except Exception as error:
            self._roster.emit(Trouble(part="dhcp", detail=f"{type(error).__name__}: {error}"))
        return ()

    def _send(self, reply: Reply) -> None:
        try:
            self._sock.sendto(encode(reply.packet), (str(reply.to), reply.port))
        except OSError as error:
            self._roster.emit(Trouble(part="dhcp", detail=f"no reply to {reply.to}: {error.strerror or error}"))
