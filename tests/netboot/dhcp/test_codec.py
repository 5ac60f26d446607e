"""The DHCP codec: goldens of real packets, round trips, and bytes that nobody should send."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit.netboot.dhcp import BOOTREPLY, BOOTREQUEST, DhcpError, Message, Option, Packet, decode, encode, size_b
from tests.rig.seeds import DHCLIENT_DISCOVER, UDHCPC_DISCOVER

ADDRESSES = st.integers(0, 2**32 - 1).map(IPv4Address)
TEXT = st.binary(max_size=60).map(lambda text: text.replace(b"\0", b"x"))
PACKETS = st.builds(
    Packet,
    op=st.sampled_from((BOOTREQUEST, BOOTREPLY)),
    xid=st.integers(0, 2**32 - 1),
    chaddr=st.binary(max_size=16),
    htype=st.integers(0, 255),
    hops=st.integers(0, 255),
    secs=st.integers(0, 65535),
    flags=st.integers(0, 65535),
    ciaddr=ADDRESSES,
    yiaddr=ADDRESSES,
    siaddr=ADDRESSES,
    giaddr=ADDRESSES,
    sname=TEXT,
    file=TEXT,
    options=st.dictionaries(
        st.integers(1, 254).filter(lambda code: code != Option.OVERLOAD), st.binary(max_size=600), max_size=8
    ),
)


def raw(options: bytes, *, sname: bytes = b"", file: bytes = b"") -> bytes:
    """A datagram with the option bytes given."""
    head = encode(Packet(op=BOOTREQUEST, xid=1, chaddr=bytes(6)))[:44]
    return head + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + bytes((99, 130, 83, 99)) + options


def test_udhcpc_as_it_was_heard() -> None:
    packet = decode(UDHCPC_DISCOVER)
    assert (packet.op, packet.htype, packet.xid, packet.mac) == (1, 1, 0x5D545773, "52:54:00:4d:00:01")
    assert packet.message is Message.DISCOVER
    assert packet.number(Option.MAXIMUM_SIZE, 2) == 576
    assert packet.options[Option.VENDOR_CLASS] == b"PXEClient:Arch:00000:UNDI:002001"
    assert packet.options[Option.CLIENT_ID] == bytes.fromhex("015254004d0001")
    assert list(packet.options) == [53, 57, 55, 60, 61, 93]


@pytest.mark.parametrize("data", [UDHCPC_DISCOVER, DHCLIENT_DISCOVER])
def test_a_real_packet_comes_back_byte_for_byte(data: bytes) -> None:
    assert encode(decode(data)).rstrip(b"\0") == data.rstrip(b"\0")


def test_the_shortest_message_is_300_bytes() -> None:
    assert len(encode(Packet(op=BOOTREPLY, xid=1, chaddr=bytes(6)))) == 300


@given(PACKETS)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back(packet: Packet) -> None:
    data = encode(packet)
    assert decode(data) == packet
    assert len(data) == max(300, size_b(packet))


@given(st.sampled_from((UDHCPC_DISCOVER, DHCLIENT_DISCOVER)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_packet_is_read_or_refused(seed: bytes, draw: st.DataObject) -> None:
    data = bytearray(seed)
    for _ in range(draw.draw(st.integers(1, 6))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = data[: draw.draw(st.integers(0, len(data)))] if draw.draw(st.booleans()) else data
    try:
        packet = decode(bytes(cut))
    except DhcpError:
        return
    try:
        again = decode(encode(packet))
    except DhcpError:
        assert 0 in packet.options or not packet.options  # nothing else is read and cannot be written
        return
    assert again == packet


@given(st.binary(max_size=700))
@example(b"")
@settings(max_examples=100, deadline=None)
def test_no_bytes_raise_anything_but_dhcp_error(data: bytes) -> None:
    for candidate in (data, raw(data)):
        try:
            decode(candidate)
        except DhcpError:
            pass


def test_parts_of_a_repeated_option_are_joined() -> None:
    assert decode(raw(b"\x43\2ab\x0c\1x\x43\3cde\xff")).options == {67: b"abcde", 12: b"x"}


def test_a_long_option_is_split() -> None:
    value = bytes(range(256)) * 2
    packet = Packet(op=BOOTREQUEST, xid=1, chaddr=bytes(6), options={43: value})
    assert encode(packet)[240:242] == b"\x2b\xff"
    assert decode(encode(packet)).options == {43: value}


@pytest.mark.parametrize(
    ("overload", "expected"),
    [(1, {12: b"AC"}), (2, {12: b"AB"}), (3, {12: b"ACB"})],
    ids=["file", "sname", "both: options, then file, then sname"],
)
def test_overloaded_fields_are_read_in_order(overload: int, expected: dict[int, bytes]) -> None:
    data = raw(bytes((12, 1)) + b"A" + bytes((52, 1, overload, 255)), sname=b"\x0c\1B\xff", file=b"\x0c\1C\xff")
    packet = decode(data)
    assert packet.options == expected
    assert packet.file == (b"" if overload & 1 else b"\x0c\1C\xff")
    assert packet.sname == (b"" if overload & 2 else b"\x0c\1B\xff")


def test_without_an_end_and_with_padding_between() -> None:
    assert decode(raw(b"\0\0\x0c\1x\0\0\x32\4\1\2\3\4")).options == {12: b"x", 50: b"\1\2\3\4"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\1" * 239, "239 bytes are too few"),
        (raw(b"\xff")[:236] + b"nope\xff", "no DHCP magic cookie"),
        (b"\3" + raw(b"\xff")[1:], "op 3 is neither request nor reply"),
        (b"\1\1\x11" + raw(b"\xff")[3:], "a hardware address of 17 bytes"),
        (raw(b"\x0c"), "option 12 has no length"),
        (raw(b"\x0c\5abc"), "option 12 runs past its end"),
        (raw(b"\x34\1\4\xff"), "option 52 is 04"),
        (raw(b"\x34\1\1\xff", file=b"\x0c\xff"), "option 12 runs past its end"),
    ],
    ids=["short", "no cookie", "op", "hlen", "no length", "past the end", "overload", "past the end of file"],
)
def test_what_is_no_dhcp_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DhcpError, match=said):
        decode(data)


@pytest.mark.parametrize(
    "packet",
    [
        Packet(op=2, xid=1, chaddr=bytes(17)),
        Packet(op=2, xid=1, chaddr=b"", file=b"x" * 128),
        Packet(op=2, xid=1, chaddr=b"", sname=b"x" * 64),
        Packet(op=2, xid=2**32, chaddr=b""),
        Packet(op=2, xid=1, chaddr=b"", options={0: b""}),
        Packet(op=2, xid=1, chaddr=b"", options={255: b""}),
        Packet(op=2, xid=1, chaddr=b"", options={52: b"\1"}),
    ],
    ids=str,
)
def test_what_does_not_fit_is_not_written(packet: Packet) -> None:
    with pytest.raises(DhcpError):
        encode(packet)


def test_options_of_the_wrong_shape() -> None:
    packet = Packet(op=1, xid=1, chaddr=bytes(6), options={50: b"abc", 51: b"ab", 53: b"\x63", 57: b"\2\x40"})
    with pytest.raises(DhcpError, match="option 50 is 3 bytes, not an address"):
        packet.address(50)
    with pytest.raises(DhcpError, match="option 51 is 2 bytes, not 4"):
        packet.number(51, 4)
    with pytest.raises(DhcpError, match="option 53 is no message type: 63"):
        _ = packet.message
    assert packet.number(57, 2) == 576
    assert packet.address(54) is None
    assert packet.number(58, 4) is None
