"""One TFTP transfer as a state machine: datagrams and time in, datagrams out. No socket, no clock, no file.

RFC 1350 with the options of RFC 2347 (OACK), 2348 (blksize), 2349 (timeout, tsize) and 7440 (windowsize). Lost packets
are sent again when a timer runs out, never because of a duplicate ACK (RFC 1123 section 4.2.3.1). The timer follows the
measured round trip, as RFC 6298 has it for TCP. It starts with a quarter of a second: firmware on one's own segment
answers in a millisecond, but some client that is slow to begin may take a second OACK for an error, as tftpy does.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from labkit.netboot import tftp
from labkit.netboot.tftp import Code, Opcode

DEFAULT_BLKSIZE_B = 512
SMALLEST_BLKSIZE_B, LARGEST_BLKSIZE_B = 8, 65464
UDP_IP_B, DATA_HEAD_B = 28, 4
LARGEST_WINDOW = 64
FIRST_TIMER_S, SHORTEST_TIMER_S, LONGEST_TIMER_S = 0.250, 0.020, 2.0
GIVE_UP_S = 30.0
MEASURED_EVERY_S = 0.005
"""A round trip is measured so often: at ten thousand blocks a second, each of them would say nothing new."""


class Chunk(NamedTuple):
    """Consecutive DATA packets, the first of block ``first`` (from 1, not wrapped), and the ACK that answers each."""

    first: int
    packets: tuple[bytes, ...]
    acks: tuple[bytes, ...]

    @property
    def held_b(self) -> int:
        """The memory it takes: with blocks of 8 bytes, nine times what is in the packets."""
        return sum(map(sys.getsizeof, self.packets)) + len(self.acks) * sys.getsizeof(self.acks[0])


class Blocks(Protocol):
    """A file cut into ready DATA packets."""

    size_b: int

    def chunk(self, block: int) -> Chunk:
        """A run of packets that holds this block, and others after it where the file has them. Raises OSError."""
        ...

    def packets(self, first: int, count: int) -> Sequence[bytes]:
        """``count`` DATA packets from block ``first`` on (from 1, not wrapped), fewer at the file's end.

        Raises OSError when the file cannot be read.
        """
        ...


class Outcome(enum.StrEnum):
    """How a transfer ended. ``declined``: the client wanted to know the size only, and said so with ERROR 8."""

    DONE = "done"
    DECLINED = "declined"
    FAILED = "failed"


@dataclass(frozen=True)
class Terms:
    """What was agreed on: the sizes in force, and the options to acknowledge (none: the transfer starts with DATA)."""

    blksize_b: int = DEFAULT_BLKSIZE_B
    window: int = 1
    longest_timer_s: float = LONGEST_TIMER_S
    accepted: Mapping[str, str] | None = None


def negotiate(options: Mapping[str, str], size_b: int, mtu_b: int) -> Terms:
    """Accept what a request asks for, as far as it can be had; an option that is unknown or out of range is left out.

    ``size_b`` is the file's length, ``mtu_b`` what the path carries unfragmented: blocks are kept below it.
    """
    accepted: dict[str, str] = {}
    blksize_b, window, longest_timer_s = DEFAULT_BLKSIZE_B, 1, LONGEST_TIMER_S
    for name, text in options.items():
        if not (text.isascii() and text.isdigit() and len(text) <= 10):
            continue
        value = int(text)
        if name == "blksize" and value >= SMALLEST_BLKSIZE_B:
            blksize_b = min(value, LARGEST_BLKSIZE_B, max(mtu_b - UDP_IP_B - DATA_HEAD_B, DEFAULT_BLKSIZE_B))
            accepted[name] = str(blksize_b)
        elif name == "windowsize" and 1 <= value <= 65535:
            window = min(value, LARGEST_WINDOW)
            accepted[name] = str(window)
        elif name == "timeout" and 1 <= value <= 255:
            longest_timer_s = float(value)
            accepted[name] = text
        elif name == "tsize":
            accepted[name] = str(size_b)
    return Terms(blksize_b, window, longest_timer_s, accepted or None)


class Sender:
    """The server's side of a read.

    Call `start` once, `heard` for every datagram of the client, `expired` when `deadline` has passed; send what they
    return, in order. When `outcome` is set the transfer is over. ``now`` is seconds on any clock that only goes
    forward.
    """

    __slots__ = (
        "_acked", "_acks", "_at", "_awaited", "_blocks", "_flight", "_last", "_measure_at", "_packets", "_resent",
        "_rtt_s", "_rttvar_s", "_sent_at", "_terms", "_timer_s", "_window", "deadline", "heard_at", "outcome", "reason",
    )  # fmt: skip

    def __init__(self, blocks: Blocks, terms: Terms, now: float) -> None:
        self._blocks, self._terms, self._window = blocks, terms, terms.window
        self._last = blocks.size_b // terms.blksize_b + 1  # a multiple of the block size ends with an empty block
        self._acked = -1 if terms.accepted else 0  # -1: the OACK is not acknowledged yet
        self._flight: Sequence[bytes] = ()
        self._awaited = b""
        self._packets: tuple[bytes, ...] = ()  # in lockstep, the chunk that is being sent, and the place in it
        self._acks: tuple[bytes, ...] = ()
        self._at = 0
        self._rtt_s, self._rttvar_s, self._timer_s = 0.0, 0.0, FIRST_TIMER_S
        self._measure_at = 0.0
        self._resent = False
        self._sent_at = self.heard_at = now
        self.deadline = now
        self.outcome: Outcome | None = None
        self.reason = ""

    @property
    def sent_b(self) -> int:
        """Bytes that have arrived."""
        return self._blocks.size_b if self.outcome is Outcome.DONE else max(self._acked, 0) * self._terms.blksize_b

    def start(self, now: float) -> Sequence[bytes]:
        """The first packets: the OACK, or the first window."""
        if self._terms.accepted is None:
            return self._advance(now)
        self._flight = (tftp.encode(tftp.Oack(self._terms.accepted)),)
        self._awaited = tftp.encode(tftp.Ack(0))
        return self._sent(now)

    def heard(self, datagram: bytes, now: float) -> Sequence[bytes]:
        """What a datagram of the client calls for."""
        if datagram != self._awaited or self.outcome is not None:
            return self._heard_other(datagram, now)
        if now < self._measure_at:  # the ACK of all that is in flight
            self.heard_at = now
        else:
            self._measure(now)
        self._acked += len(self._flight)
        at = self._at + 1
        if at >= len(self._packets):
            return self._advance(now)
        self._at = at  # the usual course in lockstep, ten thousand times a second: nothing is called from here on
        self._awaited = self._acks[at]
        self._flight = flight = (self._packets[at],)
        self._sent_at = now
        self.deadline = now + self._timer_s
        return flight

    def expired(self, now: float) -> Sequence[bytes]:
        """The timer ran out: what is in flight goes out again, later each time."""
        if now < self.deadline or self.outcome is not None:
            return ()
        if now - self.heard_at >= GIVE_UP_S:
            return self._unheard(f"no answer for {GIVE_UP_S:g} s")
        self._timer_s = min(self._timer_s * 2, self._terms.longest_timer_s)
        self._resent, self._measure_at = True, 0.0
        return self._sent(now)

    def refused(self) -> None:
        """The client's port is closed."""
        if self.outcome is None:
            self._unheard("the client's port is closed")

    @property
    def has_progress(self) -> bool:
        """Whether the client has acknowledged anything yet."""
        return self._acked > 0 or (self._acked == 0 and self._terms.accepted is not None)

    def _unheard(self, reason: str) -> Sequence[bytes]:
        """The client is gone. Clients go once they have the last block, and its ACK may be lost: that is no failure."""
        if self._acked >= 0 and self._acked + len(self._flight) >= self._last:
            self.outcome, self.reason = Outcome.DONE, "the last block was not acknowledged"
            return ()
        return self._fail(reason, Code.UNDEFINED)

    def _advance(self, now: float) -> Sequence[bytes]:
        """Send the next window after the last acknowledged block, or end."""
        first = self._acked + 1
        if first > self._last:
            self.outcome = Outcome.DONE
            return ()
        try:
            if self._window == 1:
                chunk = self._blocks.chunk(first)
                self._packets, self._acks, self._at = chunk.packets, chunk.acks, first - chunk.first
                self._flight = (chunk.packets[self._at],)
            else:
                self._flight = self._blocks.packets(first, min(self._window, self._last - self._acked))
        except OSError as error:
            return self._fail(f"the file cannot be read: {error}", Code.UNDEFINED)
        self._awaited = b"\0\4" + self._flight[-1][2:4]
        return self._sent(now)

    def _sent(self, now: float) -> Sequence[bytes]:
        self._sent_at = now
        self.deadline = now + self._timer_s
        return self._flight

    def _heard_other(self, datagram: bytes, now: float) -> Sequence[bytes]:
        if self.outcome is not None:
            return ()
        opcode, number = tftp.PAIR.unpack_from(datagram) if len(datagram) >= 4 else (0, 0)
        if opcode == Opcode.ERROR:
            return self._ended_by_client(number, datagram[4:].partition(b"\0")[0].decode("utf-8", "replace"))
        if opcode != Opcode.ACK:
            return self._fail(f"the client sent opcode {opcode}", Code.ILLEGAL)
        if self._acked < 0:
            return ()  # an ACK of anything but the OACK: an old duplicate
        ahead = (number - self._acked) & 0xFFFF
        if 0 < ahead <= len(self._flight):  # part of a window arrived: go on from there (RFC 7440 section 4)
            self._measure(now)
            self._acked += ahead
            return self._advance(now)
        return ()

    def _ended_by_client(self, code: int, message: str) -> Sequence[bytes]:
        if code == Code.OPTIONS or (self._acked <= 0 and code == Code.UNDEFINED):
            self.outcome, self.reason = Outcome.DECLINED, message or "asked for the size only"
        elif self._acked >= self._last:
            self.outcome = Outcome.DONE
        else:
            self.outcome, self.reason = Outcome.FAILED, f"the client gave up: error {code} {message}".rstrip()
        return ()

    def _fail(self, reason: str, code: Code) -> Sequence[bytes]:
        self.outcome, self.reason = Outcome.FAILED, reason
        return (tftp.encode(tftp.Error(code, reason)),)

    def _measure(self, now: float) -> None:
        """Learn from a round trip. One that follows a resend only says that the client lives (Karn's rule)."""
        self.heard_at = now
        self._measure_at = now + MEASURED_EVERY_S
        if self._resent:
            self._resent = False
            return
        rtt_s = now - self._sent_at
        if self._rtt_s == 0.0:
            self._rtt_s, self._rttvar_s = rtt_s, rtt_s / 2
        else:
            self._rttvar_s += (abs(rtt_s - self._rtt_s) - self._rttvar_s) / 4
            self._rtt_s += (rtt_s - self._rtt_s) / 8
        timer_s = self._rtt_s + 4 * self._rttvar_s
        shortest_s, longest_s = SHORTEST_TIMER_S, self._terms.longest_timer_s
        self._timer_s = shortest_s if timer_s < shortest_s else timer_s if timer_s < longest_s else longest_s
