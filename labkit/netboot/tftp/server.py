"""The TFTP server: one thread, one epoll, a connected socket for each transfer.

Read-only. What a client gets is decided by a callback; see `session` for the protocol and `blocks` for the packets.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from labkit.boot import Rendered, Resource
from labkit.events import MOVING_EVERY_S, Event, Transfer, Trouble
from labkit.events.watchdog import raise_lost, reason
from labkit.lab.plain_text import shown
from labkit.netboot import tftp
from labkit.netboot.clients import Refusal
from labkit.netboot.paths import plain
from labkit.netboot.tftp import Code, Opcode, Request, TftpError
from labkit.netboot.tftp.blocks import ContentBlocks, FileBlocks, PacketCache
from labkit.netboot.tftp.session import UDP_IP_B, Outcome, Sender, negotiate

Lookup = Callable[[str, str], Resource | Refusal]
Peer = tuple[str, int]

MOST_TRANSFERS, MOST_PER_ADDRESS = 1024, 64
TICK_S = 0.010
REPEAT_S = 1.0
"""Within this time of the last progress, the same request from the same port is taken for a duplicate."""
LARGEST_DATAGRAM_B, LARGEST_ACK_B = 2048, 256
"""What is read of a request, and of what comes in a transfer: an ACK, or an ERROR with a sentence."""
IP_MTU, UDP_SEGMENT = 14, 103  # linux/in.h, linux/udp.h
SEGMENTED_B, MOST_SEGMENTS = 65000, 64  # what one UDP datagram and one segmented send can hold (udp(7))


class _Transfer:
    """A transfer with its sockets: ``sock`` hears the client only, ``stray`` all others who send to the same port."""

    def __init__(self, request: Request, raw: bytes, peer: Peer, sock: socket.socket, stray: socket.socket) -> None:
        self.request, self.raw, self.peer, self.sock, self.stray = request, raw, peer, sock, stray
        self.began = time.monotonic()
        self.tell_at, self.told_b = self.began + MOVING_EVERY_S, 0
        self.sender: Sender
        self.blocks: ContentBlocks | FileBlocks | None = None

    def close(self) -> None:
        self.sock.close()
        self.stray.close()
        if self.blocks is not None:
            self.blocks.close()


class TftpServer:
    """Serve a bound UDP socket from `start` until `stop`. ``lookup`` and ``emit`` are called from its thread."""

    def __init__(
        self, sock: socket.socket, lookup: Lookup, catalogue: Mapping[str, Path], emit: Callable[[Event], None]
    ) -> None:
        sock.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="tftp", daemon=True)
        self._sock, self._lookup, self._catalogue, self._emit = sock, lookup, catalogue, emit
        self._local = sock.getsockname()[0]
        self._cache = PacketCache()
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._transfers: dict[Peer, _Transfer] = {}
        self._listening: dict[int, _Transfer] = {}  # the same by the descriptors of their sockets
        self._per_address: Counter[str] = Counter()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._has_offload = True

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it. Transfers under way are dropped; their clients ask again."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)  # not the thread's to close: a packet may end it before we have written

    def _run(self) -> None:
        """The loop. No packet ends it: whatever goes wrong is told, and costs at most the transfer it went wrong in.

        What ends it is that it cannot hear any more; see `labkit.events.watchdog` for what follows.
        """
        self._watch(self._sock.fileno(), self._requested)
        self._watch(self._wake, lambda: None)
        next_tick = 0.0
        while not self._stopping:
            self._handle(self._epoll.poll(TICK_S if self._transfers else -1))
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_S
                for transfer in [one for one in self._transfers.values() if one.sender.deadline <= now]:
                    self._guarded(self._expired, transfer)
                for transfer in [one for one in self._transfers.values() if one.tell_at <= now]:
                    self._guarded(self._tell_moving, transfer)
        for transfer in list(self._transfers.values()):
            self._forget(transfer)
        self._epoll.close()

    def _handle(self, ready: list[tuple[int, int]]) -> None:
        """Read and answer what has arrived. An ACK that calls for one more packet takes the shortest way, with nothing
        in between: one call more in it costs a twentieth of the throughput (benchmarks/tftp).
        """
        read, write, clock, listening = os.read, os.write, time.monotonic, self._listening
        for fileno, _ in ready:
            transfer = listening.get(fileno)
            if transfer is None:
                handler = self._handlers.get(fileno)
                if handler is not None:
                    handler()
                continue
            try:
                sender = transfer.sender
                packets = sender.heard(read(fileno, LARGEST_ACK_B), clock())
                if len(packets) == 1 and sender.outcome is None:
                    write(fileno, packets[0])
                else:
                    self._act(transfer, packets)
            except ConnectionRefusedError:
                self._guarded(self._refused, transfer)
            except OSError:
                pass  # nothing there after all, or as good as lost on the way: the timer goes on
            except Exception as error:
                self._failed(transfer, error)

    def _watch(self, fileno: int, handler: Callable[[], None]) -> None:
        self._handlers[fileno] = handler
        self._epoll.register(fileno, select.EPOLLIN)

    def _guarded(self, step: Callable[[_Transfer], None], transfer: _Transfer) -> None:
        try:
            step(transfer)
        except Exception as error:
            self._failed(transfer, error)

    def _failed(self, transfer: _Transfer, error: Exception) -> None:
        """A fault of ours in one transfer: it ends, the others go on."""
        path = plain(transfer.request.path) or shown(transfer.request.path[:100])
        self._emit(Trouble(part="tftp", detail=f"{path} for {_named(transfer.peer)}: {reason(error)}"))
        if self._transfers.get(transfer.peer) is transfer:
            self._end(transfer, "failed", f"{type(error).__name__}: {error}")

    # --- requests ---

    def _requested(self) -> None:
        try:
            raw, peer = self._sock.recvfrom(LARGEST_DATAGRAM_B)
        except OSError as error:
            raise_lost(error)
            return  # the kernel dropped it, its checksum was wrong; or a passing trouble of the network
        try:
            self._request(tftp.decode(raw), raw, peer)
        except TftpError as error:
            if raw[:2] != tftp.OPCODE.pack(Opcode.ERROR):  # a broken one is an error all the same
                self._refuse(peer, Code.ILLEGAL, str(error))
        except Exception as error:
            kind = tftp.OPCODE.unpack_from(raw)[0] if len(raw) >= tftp.OPCODE.size else "nothing"
            self._emit(Trouble(part="tftp", detail=f"a packet of kind {kind} from {_named(peer)}: {reason(error)}"))

    def _request(self, packet: tftp.Packet, raw: bytes, peer: Peer) -> None:
        if isinstance(packet, tftp.Error):
            return  # an error is never answered: two servers would talk for ever
        if not isinstance(packet, Request):
            self._refuse(peer, Code.UNKNOWN_TID, "this is no transfer's port")
        elif packet.write:
            self._refuse(peer, Code.ACCESS, "this server is read-only")
        elif packet.mode not in ("octet", "netascii"):
            self._refuse(peer, Code.ILLEGAL, f"no such mode: {packet.mode[:20]}")
        elif not self._is_repeated(peer, raw):
            self._serve(packet, raw, peer)

    def _is_repeated(self, peer: Peer, raw: bytes) -> bool:
        """Whether a transfer already answers this very request. Any other from a transfer's port replaces it."""
        old = self._transfers.get(peer)
        if old is not None:  # its last ACK may lie in the other socket, and came before
            self._handle([(old.sock.fileno(), select.EPOLLIN)])
            old = self._transfers.get(peer)
        if old is None:
            return False
        if old.raw == raw and (not old.sender.has_progress or time.monotonic() - old.sender.heard_at < REPEAT_S):
            return True
        self._end(old, "failed", "the client asked anew")
        return False

    def _serve(self, request: Request, raw: bytes, peer: Peer) -> None:
        path = plain(request.path)
        found = self._lookup(peer[0], path) if path is not None else Refusal("not a path of this server")
        if isinstance(found, Refusal):
            self._refuse(peer, Code.NOT_FOUND, found.reason)
            self._emit(_event(request, peer, "missing", reason=found.reason))
            return
        if len(self._transfers) >= MOST_TRANSFERS or self._per_address[peer[0]] >= MOST_PER_ADDRESS:
            return  # the client asks again, and finds room then
        blocks_of = self._opened(found, request, peer)
        if blocks_of is None:
            return
        try:
            transfer = self._connected(request, raw, peer)
        except OSError:
            if isinstance(blocks_of, FileBlocks):
                blocks_of.close()
            raise
        mtu_b = transfer.sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
        now = time.monotonic()
        if isinstance(blocks_of, FileBlocks):
            terms = negotiate(request.options, blocks_of.size_b, mtu_b)
            blocks_of.cut(terms.blksize_b)
            transfer.blocks = blocks_of
        else:
            terms = negotiate(request.options, len(blocks_of), mtu_b)
            transfer.blocks = ContentBlocks(blocks_of, terms.blksize_b)
        transfer.sender = Sender(transfer.blocks, terms, now)
        self._transfers[peer] = transfer
        self._per_address[peer[0]] += 1
        self._listening[transfer.sock.fileno()] = transfer
        self._epoll.register(transfer.sock.fileno(), select.EPOLLIN)
        self._watch(transfer.stray.fileno(), partial(self._guarded, self._strayed, transfer))
        self._emit(_event(request, peer, "started", size_b=transfer.blocks.size_b))
        self._act(transfer, transfer.sender.start(now))

    def _expired(self, transfer: _Transfer) -> None:
        self._act(transfer, transfer.sender.expired(time.monotonic()))

    def _opened(self, found: Resource, request: Request, peer: Peer) -> FileBlocks | bytes | None:
        """The file or the bytes of a resource; None, and the client told, when there is nothing to send."""
        if isinstance(found, Rendered):
            text = found.content
            return text if request.mode == "octet" else text.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
        reason, code = "image files are sent in octet mode", Code.ILLEGAL
        if request.mode == "octet":
            try:
                return FileBlocks(self._catalogue[found.name], self._cache)
            except KeyError:
                reason, code = f"the image {found.name} is not there", Code.NOT_FOUND
            except OSError as error:
                reason, code = f"the image {found.name} cannot be read: {error.strerror or error}", Code.NOT_FOUND
        self._refuse(peer, code, reason)
        self._emit(_event(request, peer, "missing", reason=reason))
        return None

    def _connected(self, request: Request, raw: bytes, peer: Peer) -> _Transfer:
        """A port of its own for a transfer (RFC 1350 section 4), with a second socket for what others send there."""
        sock, stray = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(2))
        try:
            sock.bind((self._local, 0))
            sock.connect(peer)
            for one in (sock, stray):  # only now: with it from the start, the kernel may give two transfers one port
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stray.bind(sock.getsockname())
        except OSError:
            sock.close()
            stray.close()
            raise
        return _Transfer(request, raw, peer, sock, stray)

    def _refuse(self, peer: Peer, code: Code, reason: str) -> None:
        with contextlib.suppress(OSError):  # nobody can be told at port 0, or with full buffers
            self._sock.sendto(tftp.encode(tftp.Error(code, reason)), peer)

    # --- transfers ---

    def _refused(self, transfer: _Transfer) -> None:
        transfer.sender.refused()
        self._act(transfer, ())

    def _strayed(self, transfer: _Transfer) -> None:
        """A packet from a wrong TID gets error 5, and the transfer goes on (RFC 1350 section 4)."""
        datagram, peer = transfer.stray.recvfrom(LARGEST_DATAGRAM_B)
        if datagram[:2] != tftp.OPCODE.pack(Opcode.ERROR):
            with contextlib.suppress(OSError):
                transfer.stray.sendto(tftp.encode(tftp.Error(Code.UNKNOWN_TID, "not your transfer")), peer)

    def _act(self, transfer: _Transfer, packets: Sequence[bytes]) -> None:
        try:
            if len(packets) == 1:
                transfer.sock.send(packets[0])
            elif packets:
                self._send_window(transfer, packets)
        except ConnectionRefusedError:
            transfer.sender.refused()
        except OSError:
            pass  # as good as lost on the way: the timer sends it again
        sender = transfer.sender
        if sender.outcome is not None:
            state = "failed" if sender.outcome is Outcome.FAILED else "done"
            self._end(transfer, state, sender.reason)

    def _send_window(self, transfer: _Transfer, packets: Sequence[bytes]) -> None:
        """Several packets, by UDP segmentation offload where kernel and device have it and packets fit the MTU."""
        segment_b = len(packets[0])
        mtu_b = transfer.sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
        if self._has_offload and segment_b + UDP_IP_B <= mtu_b:
            control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", segment_b))]
            most = min(MOST_SEGMENTS, max(SEGMENTED_B // segment_b, 1))
            try:
                for at in range(0, len(packets), most):
                    transfer.sock.sendmsg(packets[at : at + most], control)
                return
            except (BlockingIOError, ConnectionRefusedError):
                raise
            except OSError:
                self._has_offload = False
        for packet in packets:
            transfer.sock.send(packet)

    def _tell_moving(self, transfer: _Transfer) -> None:
        """Tell that more has arrived since it was told last, if any has."""
        transfer.tell_at = time.monotonic() + MOVING_EVERY_S
        if transfer.sender.sent_b > transfer.told_b:
            transfer.told_b = transfer.sender.sent_b
            self._tell(transfer, "moving")

    def _end(self, transfer: _Transfer, state: str, reason: str) -> None:
        self._forget(transfer)
        self._tell(transfer, state, reason)

    def _tell(self, transfer: _Transfer, state: str, reason: str = "") -> None:
        size_b = transfer.blocks.size_b if transfer.blocks is not None else 0
        seconds = round(time.monotonic() - transfer.began, 4)
        said = {"size_b": size_b, "sent_b": transfer.sender.sent_b, "seconds": seconds}
        self._emit(_event(transfer.request, transfer.peer, state, reason=reason, **said))

    def _forget(self, transfer: _Transfer) -> None:
        del self._listening[transfer.sock.fileno()]
        del self._handlers[transfer.stray.fileno()]
        transfer.close()  # which takes the sockets out of the epoll as well
        del self._transfers[transfer.peer]
        address = transfer.peer[0]
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]


def _named(peer: Peer) -> str:
    return f"{peer[0]} port {peer[1]}"


def _event(request: Request, peer: Peer, state: str, **said: Any) -> Transfer:
    path = plain(request.path) or shown(request.path[:100])
    return Transfer(protocol="tftp", path=path, state=state, address=peer[0], **said)
