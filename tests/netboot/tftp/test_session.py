"""The transfer's state machine without a socket: terms, loss, duplication, reordering, time-outs."""

from __future__ import annotations

import heapq
import os
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.netboot import tftp
from labkit.netboot.tftp import Ack, Code, Data, Error, Oack
from labkit.netboot.tftp.blocks import ContentBlocks, FileBlocks, PacketCache
from labkit.netboot.tftp.session import FIRST_TIMER_S, GIVE_UP_S, LONGEST_TIMER_S, Outcome, Sender, Terms, negotiate

CONTENT = os.urandom(5000)


def sender(
    content: bytes = CONTENT, *, blksize_b: int = 512, window: int = 1, accepted: dict[str, str] | None = None
) -> Sender:
    return Sender(ContentBlocks(content, blksize_b), Terms(blksize_b, window, LONGEST_TIMER_S, accepted), 0.0)


def read(packets: Sequence[bytes]) -> list[tftp.Packet]:
    return [tftp.decode(packet) for packet in packets]


def ack(block: int) -> bytes:
    return tftp.encode(Ack(block))


# --- terms ---


@pytest.mark.parametrize(
    ("asked", "accepted", "blksize_b", "window"),
    [
        ({}, None, 512, 1),
        ({"blksize": "1408"}, {"blksize": "1408"}, 1408, 1),
        ({"blksize": "8"}, {"blksize": "8"}, 8, 1),
        ({"blksize": "7"}, None, 512, 1),
        ({"blksize": "65464"}, {"blksize": "1468"}, 1468, 1),
        ({"blksize": "65535"}, {"blksize": "1468"}, 1468, 1),
        ({"blksize": "abc"}, None, 512, 1),
        ({"blksize": "-8"}, None, 512, 1),
        ({"blksize": "٣٣٣"}, None, 512, 1),
        ({"blksize": "9" * 5000}, None, 512, 1),
        ({"tsize": "0"}, {"tsize": "777"}, 512, 1),
        ({"windowsize": "4"}, {"windowsize": "4"}, 512, 4),
        ({"windowsize": "65535"}, {"windowsize": "64"}, 512, 64),
        ({"windowsize": "0"}, None, 512, 1),
        ({"windowsize": "65536"}, None, 512, 1),
        ({"timeout": "0"}, None, 512, 1),
        ({"timeout": "256"}, None, 512, 1),
        ({"timeout": "3"}, {"timeout": "3"}, 512, 1),
        ({"multicast": "", "x": "1", "tsize": "0"}, {"tsize": "777"}, 512, 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_terms(asked: dict[str, str], accepted: dict[str, str] | None, blksize_b: int, window: int) -> None:
    terms = negotiate(asked, 777, 1500)
    assert (terms.accepted, terms.blksize_b, terms.window) == (accepted, blksize_b, window)


@pytest.mark.parametrize(
    ("mtu_b", "asked_b", "got_b"),
    [(1500, 65464, 1468), (9000, 65464, 8968), (9000, 1468, 1468), (576, 1468, 544), (68, 1468, 512)],
)
def test_no_block_is_longer_than_its_path_carries_or_was_asked_for(mtu_b: int, asked_b: int, got_b: int) -> None:
    assert negotiate({"blksize": str(asked_b)}, 777, mtu_b).blksize_b == got_b


def test_the_timeout_option_bounds_the_timer() -> None:
    assert negotiate({"timeout": "1"}, 0, 1500).longest_timer_s == 1


# --- the plain course ---


def test_lockstep() -> None:
    one = sender(CONTENT[:1100])
    assert read(one.start(0)) == [Data(1, CONTENT[:512])]
    assert read(one.heard(ack(1), 0.001)) == [Data(2, CONTENT[512:1024])]
    assert read(one.heard(ack(2), 0.002)) == [Data(3, CONTENT[1024:1100])]
    assert (one.outcome, one.sent_b) == (None, 1024)
    assert one.heard(ack(3), 0.003) == ()
    assert (one.outcome, one.sent_b) == (Outcome.DONE, 1100)


@pytest.mark.parametrize("length_b", [0, 512, 1024])
def test_a_multiple_of_the_block_size_ends_with_an_empty_block(length_b: int) -> None:
    one = sender(CONTENT[:length_b])
    packets, last = one.start(0), length_b // 512 + 1
    for block in range(1, last):
        packets = one.heard(ack(block), 0)
    assert read(packets) == [Data(last, b"")]
    one.heard(ack(last), 0)
    assert one.outcome is Outcome.DONE


def test_options_are_acknowledged_first() -> None:
    one = sender(accepted={"blksize": "512"})
    assert read(one.start(0)) == [Oack({"blksize": "512"})]
    assert not one.has_progress
    assert one.heard(ack(1), 0) == ()  # an ACK of a block that was never sent
    assert read(one.heard(ack(0), 0)) == [Data(1, CONTENT[:512])]
    assert one.has_progress


def test_an_oack_is_sent_again_until_it_is_acknowledged() -> None:
    one = sender(accepted={"tsize": "5000"})
    first = one.start(0)
    assert one.expired(FIRST_TIMER_S) == first


def test_a_duplicate_ack_sends_nothing() -> None:
    one = sender()
    one.start(0)
    assert len(one.heard(ack(1), 0)) == 1
    assert [one.heard(ack(1), 0), one.heard(ack(0), 0)] == [(), ()]


@pytest.mark.parametrize("block", [2, 500, 65535])
def test_an_ack_from_the_future_is_none(block: int) -> None:
    one = sender()
    one.start(0)
    assert one.heard(ack(block), 0) == () and one.outcome is None
    assert read(one.heard(ack(1), 0)) == [Data(2, CONTENT[512:1024])]


def test_a_last_block_that_never_arrives_is_sent_until_the_end_and_told() -> None:
    """Some gateways eat short packets: the file is done as far as anybody can know, and the reason says what is not."""
    one = sender(b"short")
    one.start(0)
    while one.outcome is None:
        assert read(one.expired(one.deadline)) in ([Data(1, b"short")], [])
    assert (one.outcome, one.reason) == (Outcome.DONE, "the last block was not acknowledged")


def test_a_padded_ack_counts() -> None:
    one = sender()
    one.start(0)
    assert read(one.heard(ack(1) + b"\0\0", 0)) == [Data(2, CONTENT[512:1024])]


def test_a_window_goes_on_from_the_last_ack() -> None:
    one = sender(window=4)
    assert [packet.block for packet in read(one.start(0)) if isinstance(packet, Data)] == [1, 2, 3, 4]
    assert [packet.block for packet in read(one.heard(ack(2), 0)) if isinstance(packet, Data)] == [3, 4, 5, 6]
    assert one.heard(ack(2), 0) == ()
    assert [packet.block for packet in read(one.heard(ack(6), 0)) if isinstance(packet, Data)] == [7, 8, 9, 10]
    one.heard(ack(10), 0)
    assert one.outcome is Outcome.DONE


def test_block_numbers_wrap() -> None:
    content = bytes(8) * 65536 * 2 + b"end"
    for window in (1, 64):
        one = sender(content, blksize_b=8, window=window)
        packets, got, largest = one.start(0), 0, 0
        while one.outcome is None:
            got += sum(len(packet) - 4 for packet in packets)
            largest = max(largest, len(packets))
            packets = one.heard(b"\0\4" + packets[-1][2:4], 0)
        assert (got, one.outcome, largest) == (len(content), Outcome.DONE, window)


# --- time ---


def test_the_timer_backs_off_and_follows_the_round_trip() -> None:
    one = sender()
    one.start(0)
    assert one.deadline == FIRST_TIMER_S
    assert one.expired(FIRST_TIMER_S / 2) == ()
    now = one.deadline
    assert read(one.expired(now)) == [Data(1, CONTENT[:512])]
    assert one.deadline == pytest.approx(now + 2 * FIRST_TIMER_S)
    now += 0.5
    one.heard(ack(1), now)  # after a resend: how long it took is not known
    assert one.deadline == pytest.approx(now + 2 * FIRST_TIMER_S)
    for block in range(2, 9):
        now += 0.1
        one.heard(ack(block), now)
    assert 0.1 < one.deadline - now < 0.4


def test_the_timer_runs_from_the_last_data_sent() -> None:
    one = sender()
    one.start(0)
    one.heard(ack(0), FIRST_TIMER_S * 0.98)  # an old duplicate must not put the resend off
    assert one.expired(FIRST_TIMER_S * 1.02) != ()


def test_it_gives_up() -> None:
    one = sender()
    one.start(0)
    now, sent = 0.0, 0
    while one.outcome is None:
        now = one.deadline
        packets = one.expired(now)
        sent += 1
    assert GIVE_UP_S <= now < GIVE_UP_S + 2 * LONGEST_TIMER_S
    assert sent < 30
    assert (one.outcome, one.reason) == (Outcome.FAILED, "no answer for 30 s")
    assert read(packets) == [Error(Code.UNDEFINED, "no answer for 30 s")]
    assert one.expired(now + 100) == ()


def test_a_client_that_goes_with_the_last_block_is_served() -> None:
    one = sender(b"short")
    one.start(0)
    one.refused()
    assert (one.outcome, one.sent_b) == (Outcome.DONE, 5)
    assert one.reason == "the last block was not acknowledged"
    early = sender()
    early.start(0)
    early.refused()
    assert (early.outcome, early.reason) == (Outcome.FAILED, "the client's port is closed")


# --- errors ---


@pytest.mark.parametrize(
    ("code", "acked", "outcome"),
    [(8, 0, Outcome.DECLINED), (0, 0, Outcome.DECLINED), (0, 2, Outcome.FAILED), (3, 1, Outcome.FAILED)],
)
def test_the_client_ends_it(code: int, acked: int, outcome: Outcome) -> None:
    one = sender(accepted={"tsize": "5000"})
    one.start(0)
    for block in range(acked):
        one.heard(ack(block), 0)
    assert one.heard(tftp.encode(Error(code, "stop")), 0) == ()
    assert one.outcome is outcome
    assert "stop" in one.reason
    assert one.heard(ack(acked), 0) == ()


@pytest.mark.parametrize(
    "datagram", [b"", b"\0", b"\0\4\0", b"\0\3\0\1data", b"\0\1menu\0octet\0", b"\xff" * 9], ids=str
)
def test_what_no_client_sends_ends_the_transfer(datagram: bytes) -> None:
    one = sender()
    one.start(0)
    [error] = read(one.heard(datagram, 0))
    assert isinstance(error, Error)
    assert (error.code, one.outcome) == (Code.ILLEGAL, Outcome.FAILED)


def test_a_file_that_cannot_be_read_fails(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("short") / "image"
    path.write_bytes(bytes(400_000))
    blocks = FileBlocks(path, PacketCache())
    one = Sender(blocks, Terms(), 0)
    one.start(0)
    path.write_bytes(b"cut")
    block = 1
    while one.outcome is None:
        packets = one.heard(ack(block), 0)
        block += 1
    blocks.close()
    assert one.reason == "the file cannot be read: it became shorter while it was sent"
    assert isinstance(read(packets)[0], Error)


# --- a bad network ---


def transfer(seed: int, *, loss: float, double: float, jitter_s: float, window: int, length_b: int) -> bytes:
    """What arrives over a network that loses, doubles and reorders packets both ways."""
    chance = random.Random(seed)
    content = random.Random(1).randbytes(length_b)
    one = sender(content, window=window, accepted={"windowsize": str(window)})
    way: list[tuple[float, int, bool, bytes]] = []
    count = 0

    def put(now: float, to_server: bool, packet: bytes) -> None:
        nonlocal count
        for _ in range(2 if chance.random() < double else 1):
            if chance.random() >= loss:
                count += 1
                heapq.heappush(way, (now + 0.001 + chance.random() * jitter_s, count, to_server, packet))

    now, got, have, asked_at = 0.0, b"", 0, 0.0
    finished = False
    for packet in one.start(now):
        put(now, False, packet)
    while one.outcome is None:
        timer = min(one.deadline, asked_at + 1.0 if not finished else float("inf"))
        if way and way[0][0] <= timer:
            now, _, to_server, packet = heapq.heappop(way)
            if to_server:
                for reply in one.heard(packet, now):
                    put(now, False, reply)
                continue
            heard = tftp.decode(packet)
            asked_at = now
            if isinstance(heard, Oack):
                put(now, True, ack(0))
            elif isinstance(heard, Data):
                if heard.block == have + 1:
                    have += 1
                    got += heard.content
                    finished = finished or len(heard.content) < 512
                put(now, True, ack(have))
        else:
            now = timer
            if now >= one.deadline:
                for packet in one.expired(now):
                    put(now, False, packet)
            else:  # the client's own timer: its last ACK again
                asked_at = now
                put(now, True, ack(have))
    assert one.outcome is Outcome.DONE, one.reason
    assert one.sent_b == length_b
    assert got == content
    return got


@given(seed=st.integers(0, 10_000), window=st.sampled_from((1, 4, 16)), length_b=st.integers(0, 20_000))
@settings(max_examples=60, deadline=None)
def test_a_file_arrives_over_a_bad_network(seed: int, window: int, length_b: int) -> None:
    transfer(seed, loss=0.2, double=0.05, jitter_s=0.02, window=window, length_b=length_b)


def test_a_clean_network_costs_no_resend() -> None:
    one = sender(CONTENT * 10)
    packets, now, sent = one.start(0), 0.0, 0
    while one.outcome is None:
        sent += len(packets)
        now += 0.001
        packets = one.heard(b"\0\4" + packets[0][2:4], now)
    assert sent == 50_000 // 512 + 1


# --- blocks ---


@pytest.mark.parametrize("length_b", [0, 1, 1427, 1428, 300_000])
def test_a_file_is_cut_as_its_content_is(tmp_path_factory: pytest.TempPathFactory, length_b: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "image"
    content = random.Random(length_b).randbytes(length_b)
    path.write_bytes(content)
    blocks = FileBlocks(path, PacketCache())
    blocks.cut(1428)
    expected = ContentBlocks(content, 1428)
    last = length_b // 1428 + 1
    for first, count in ((1, last), (last, 5), (90, 64), (80, 30), (1, 1), (last, 1)):
        assert list(blocks.packets(first, count)) == list(expected.packets(first, count))
    blocks.close()


def test_transfers_share_packets_and_the_cache_is_bounded(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("share") / "image"
    path.write_bytes(bytes(1 << 20))
    cache = PacketCache(limit_b=300_000)
    one, other = FileBlocks(path, cache), FileBlocks(path, cache)
    assert one.packets(1, 1)[0] is other.packets(1, 1)[0]
    for block in range(1, 2000):
        one.packets(block, 1)
        assert cache.held_b <= 300_000
    one.close()
    other.close()
