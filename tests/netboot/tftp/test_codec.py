"""The TFTP codec: goldens, round trips, mutation."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labkit.netboot import tftp
from labkit.netboot.tftp import Ack, Code, Data, Error, Oack, Packet, Request, TftpError, decode, encode
from tests.rig.seeds import OVMF_RRQ, PXELINUX_RRQ

NUMBERS = st.integers(0, 65535)
STRINGS = st.text(max_size=40).map(lambda text: text.replace("\0", "")).filter(lambda text: text.isprintable())
NAMES = STRINGS.map(str.lower).filter(lambda text: text and text == text.lower())
OPTIONS = st.dictionaries(NAMES, STRINGS, max_size=5)
PACKETS: st.SearchStrategy[Packet] = st.one_of(
    st.builds(Request, STRINGS, st.sampled_from(("octet", "netascii")), OPTIONS, st.booleans()),
    st.builds(Data, NUMBERS, st.binary(max_size=600)),
    st.builds(Ack, NUMBERS),
    st.builds(Error, NUMBERS, STRINGS),
    st.builds(Oack, OPTIONS.filter(bool)),
)


@pytest.mark.parametrize(
    ("packet", "data"),
    [
        (Request("pxelinux.0"), b"\0\1pxelinux.0\0octet\0"),
        (Request("up", write=True), b"\0\2up\0octet\0"),
        (Data(0xFFFF, b"block"), b"\0\3\xff\xffblock"),
        (Ack(258), b"\0\4\1\2"),
        (Error(Code.NOT_FOUND, "gone"), b"\0\5\0\1gone\0"),
        (Oack({"tsize": "45", "blksize": "1408"}), b"\0\6tsize\x0045\0blksize\x001408\0"),
        (
            Request("snponly.efi", options={"tsize": "0", "blksize": "1468", "windowsize": "4"}),
            OVMF_RRQ,
        ),
        (
            Request("pxelinux.cfg/01-52-54-00-4d-00-01", options={"tsize": "0", "blksize": "1408"}),
            PXELINUX_RRQ,
        ),
    ],
    ids=["rrq", "wrq", "data", "ack", "error", "oack", "ovmf", "pxelinux"],
)
def test_goldens(packet: Packet, data: bytes) -> None:
    assert encode(packet) == data
    assert decode(data) == packet


@given(PACKETS)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@given(st.sampled_from((OVMF_RRQ, PXELINUX_RRQ)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_packet_is_read_or_refused(seed: bytes, draw: st.DataObject) -> None:
    data = bytearray(seed)
    for _ in range(draw.draw(st.integers(1, 5))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = bytes(data[: draw.draw(st.integers(0, len(data)))]) if draw.draw(st.booleans()) else bytes(data)
    try:
        packet = decode(cut)
    except TftpError:
        return
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=200))
@example(b"\0\4\0")
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_anything_but_tftp_error(data: bytes) -> None:
    for candidate in (data, b"\0" + data, b"\0\1" + data, b"\0\6" + data):
        try:
            decode(candidate)
        except TftpError:
            pass


def test_options_compare_without_case_and_the_first_counts() -> None:
    assert decode(b"\0\1f\0OCTET\0BlkSize\x008\0blksize\x009\0") == Request("f", "octet", {"blksize": "8"})


def test_padding_behind_a_request_is_not_an_option() -> None:
    assert decode(b"\0\1f\0octet\0\0\0\0\0") == Request("f")
    assert decode(b"\0\1f\0octet\0tsize\0") == Request("f")


@pytest.mark.parametrize("marks", [b"\xff", b"\xff" * 5])
def test_a_name_read_on_to_the_end_mark_of_dhcp_is_the_name(marks: bytes) -> None:
    assert decode(b"\0\1snponly.efi" + marks + b"\0octet\0blksize\x001468\0") == Request(
        "snponly.efi", options={"blksize": "1468"}
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\1", "too few"),
        (b"\0\1file", "a string without its NUL"),
        (b"\0\1file\0", "without a file name and a mode"),
        (b"\0\1\xff\xfe\0octet\0", "not UTF-8"),
        (b"\0\x07\0\0", "opcode 7"),
        (b"\0\0\0\0", "opcode 0"),
    ],
    ids=["short", "no NUL", "no mode", "not UTF-8", "opcode 7", "opcode 0"],
)
def test_what_is_no_tftp_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(TftpError, match=said):
        decode(data)


@pytest.mark.parametrize("packet", [Ack(65536), Data(-1, b""), Request("a\0b"), Oack({"a": "\0"})], ids=str)
def test_what_has_no_place_is_not_written(packet: Packet) -> None:
    with pytest.raises(TftpError):
        encode(packet)


def test_an_unknown_error_code_is_read() -> None:
    assert tftp.decode(b"\0\5\1\0strange\xff") == Error(256, "strange\ufffd")
