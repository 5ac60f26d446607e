"""Clients and relays of the world that broke other servers, each as a small message of our own (docs/tried.md)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from labkit.lab import BootMethod
from labkit.netboot.dhcp import COOKIE, HEADER, NOWHERE, DhcpError, Message, Option, Packet, decode, encode
from labkit.netboot.dhcp.identity import uuid_of
from labkit.netboot.dhcp.replies import EVERYWHERE
from tests.rig.dhcp import (
    ADDRESS,
    ELSEWHERE,
    HTTP_EFI,
    IPXE,
    MAC,
    POOL,
    PXE_BIOS,
    PXE_EFI,
    SECOND_CARD,
    SERVER,
    WITH_POOL,
    answer,
    asked,
    bound,
    make_lab,
    only,
    request,
    selecting,
    told,
)

RELAY = IPv4Address("10.77.0.250")
WITH_IPXE = make_lab(BootMethod.IPXE)


def sent(options: bytes, packet: Packet | None = None) -> Packet:
    """A message with these very bytes of options, as it is read."""
    return decode(encode(packet or request(Message.DISCOVER))[: HEADER.size] + COOKIE + options)


# --- options that are not as the RFC has them ---


@pytest.mark.parametrize(
    ("options", "reply"),
    [
        (b"\x35\1\1\x35\1\1", "OFFER"),
        (b"\x35\1\3\x32\4\x0a\x4d\0\x0b\x32\4\x0a\x4d\0\x0b\x36\4\x0a\x4d\0\1\x36\4\x0a\x4d\0\1", "ACK"),
        (b"\x35\1\3\x32\4\x0a\x4d\0\x0b\x36\4\x0a\x4d\0\x63\x36\4\x0a\x4d\0\1", ""),
        (b"\x35\1\1\x34\1\0\x34\1\0", "OFFER"),
        (b"\x35\1\1\x39\2\5\xdc\x39\2\5\xdc", "OFFER"),
    ],
    ids=["53 twice", "50 and 54 twice", "two servers, the first of them another", "52 twice", "57 twice"],
)
def test_of_an_option_of_fixed_length_that_comes_twice_the_first_counts(options: bytes, reply: str) -> None:
    assert told(answer(sent(options + b"\xff"))).reply == reply


@pytest.mark.parametrize("wish", [b"\x39\0", b"\x39\1\5", b"\x33\0", b"\x33\2\0\1"], ids=bytes.hex)
def test_a_wish_that_cannot_be_read_costs_no_answer(wish: bytes) -> None:
    """Options 57 and 51: the answer is what a client gets that has no such wish."""
    plain = only(answer(sent(b"\x35\1\1\xff")))
    assert only(answer(sent(b"\x35\1\1" + wish + b"\xff"))) == plain


@pytest.mark.parametrize("size", [0, 300, 575])
def test_a_maximum_size_below_576_counts_as_576(size: int) -> None:
    options = {**PXE_BIOS, Option.MAXIMUM_SIZE: size.to_bytes(2, "big")}
    assert Option.BOOT_FILE in only(answer(request(Message.DISCOVER, options=options))).packet.options


def test_a_long_client_id_comes_back_whole() -> None:
    """RFC 6842 section 3, also where it is in parts and the answer gets longer than the client said it could take."""
    options: dict[int, bytes] = {Option.CLIENT_ID: bytes(range(250)) * 2, Option.MAXIMUM_SIZE: b"\2\x40"}
    reply = decode(encode(only(answer(request(Message.DISCOVER, options=options))).packet))
    assert reply.options[Option.CLIENT_ID] == bytes(range(250)) * 2


@pytest.mark.parametrize("length_b", [236, 240, 300])
def test_bootp_is_told_and_not_answered(length_b: int) -> None:
    with pytest.raises(DhcpError):
        answer(decode((encode(request(Message.DISCOVER))[:236] + COOKIE).ljust(length_b, b"\0")[:length_b]))


# --- who asks ---


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_what_is_no_cards_address_gets_no_lease_and_is_no_machine(mac: str) -> None:
    with pytest.raises(DhcpError, match=f"{mac} is no card's address"):
        answer(request(Message.DISCOVER, mac), WITH_POOL)


@pytest.mark.parametrize("fill", [0, 0xFF])
def test_a_board_without_a_uuid_says_zeros_or_ones(fill: int) -> None:
    for client in (PXE_BIOS, IPXE):
        assert uuid_of(request(Message.DISCOVER, options={**client, 97: b"\0" + bytes((fill,)) * 16})) is None


@pytest.mark.parametrize("uuid", [b"", b"\0", b"\0" + bytes(15), b"\0" + bytes(17), bytes(255)], ids=len)
def test_a_uuid_of_any_length_comes_back_as_it_was(uuid: bytes) -> None:
    packet = only(answer(request(Message.DISCOVER, options={**PXE_BIOS, Option.CLIENT_UUID: uuid}))).packet
    assert decode(encode(packet)).options[Option.CLIENT_UUID] == uuid


@pytest.mark.parametrize("number", [0x02, 0x06, 0x0A, 0x0B, 0x0F, 0x12, 0x13, 0x19, 0x1B, 0x25, 0xFFFF])
def test_a_machine_of_another_architecture_gets_an_address_no_file_and_a_reason(number: int) -> None:
    for kind in (b"PXEClient", b"HTTPClient"):
        options = {60: kind + b":Arch:%05d:UNDI:003001" % number, 93: number.to_bytes(2, "big")}
        decision = answer(request(Message.DISCOVER, options=options), WITH_IPXE)
        reply = only(decision).packet
        assert (reply.yiaddr, reply.file, reply.siaddr) == (ADDRESS, b"", NOWHERE)
        assert not {Option.BOOT_FILE, Option.SERVER_NAME, Option.VENDOR_CLASS} & set(reply.options)
        assert told(decision).reason.endswith("clients with other firmware")


def test_firmware_loader_and_system_of_a_card_are_one_client_whatever_they_call_themselves() -> None:
    names = (b"\0" + bytes(16), b"\1\x52\x54\0\x4d\0\1", b"\xff\0\0\0\1\0\1abcdef", b"")
    for name in names:
        reply = only(answer(request(Message.DISCOVER, options={Option.CLIENT_ID: name}), leases=bound()))
        assert (reply.packet.yiaddr, reply.packet.options[Option.CLIENT_ID]) == (ADDRESS, name)


def test_two_cards_of_one_name_are_two_clients() -> None:
    name: dict[int, bytes] = {Option.CLIENT_ID: b"\1same"}
    first = answer(request(Message.DISCOVER, "02:00:00:00:00:01", name), WITH_POOL)
    second = answer(request(Message.DISCOVER, "02:00:00:00:00:02", name), WITH_POOL, first.leases)
    assert only(first).packet.yiaddr != only(second).packet.yiaddr


def test_cards_that_ask_at_once_with_one_transaction_are_answered_each_by_its_address() -> None:
    book = None
    for mac in (MAC, SECOND_CARD):
        decision = answer(request(Message.DISCOVER, mac, PXE_BIOS), leases=book)
        reply, book = only(decision).packet, decision.leases
        assert (reply.mac, reply.xid, reply.yiaddr) == (mac, 0x1234ABCD, ADDRESS)


def test_an_ipxe_without_http_loads_one_that_has_it() -> None:
    """Makers build iPXE into their ROMs with much left out, and it still says that it is iPXE."""

    def named(features: bytes, client: dict[int, bytes] = PXE_BIOS) -> bytes:
        options = {**client, 77: b"iPXE", 175: features}
        return only(answer(request(Message.DISCOVER, options=options), WITH_IPXE)).packet.file

    tftp, http = b"\x15\1\1", b"\x13\1\1"
    assert named(tftp) == b"undionly.kpxe"
    assert named(tftp, PXE_EFI) == b"snponly.efi"
    assert named(tftp + http) == named(b"\xb1\5\1\x1a\xf4\x10\0") == named(b"") == b"http://10.77.0.1/boot.ipxe"


def test_a_request_without_the_vendor_class_of_its_discover_gets_its_address() -> None:
    assert only(answer(request(Message.REQUEST, options=selecting()))).packet.yiaddr == ADDRESS


def test_http_boot_is_named_a_whole_url_and_its_own_vendor_class() -> None:
    for number in (b"\0\x07", b"\0\x09", b"\0\x10"):
        reply = only(answer(request(Message.DISCOVER, options={**HTTP_EFI, 93: number}), WITH_IPXE)).packet
        assert (reply.file, reply.options[60]) == (b"http://10.77.0.1/snponly.efi", b"HTTPClient")


# --- relays ---


def test_a_relay_that_wants_to_stay_between_is_named_as_the_server() -> None:
    """RFC 5107: what the relay says is named in offer and refusal, and a client that chose it has chosen us."""
    option: dict[int, bytes] = {Option.RELAY_AGENT: b"\1\4port\x0b\4" + RELAY.packed}
    offer = only(answer(request(Message.DISCOVER, options=option, giaddr=RELAY))).packet
    assert offer.options[Option.SERVER_ID] == RELAY.packed
    for address, kind in ((ADDRESS, Message.ACK), (ADDRESS + 1, Message.NAK)):
        chosen = selecting(address, RELAY.packed) | option
        reply = only(answer(request(Message.REQUEST, options=chosen, giaddr=RELAY))).packet
        assert (reply.message, reply.options[Option.SERVER_ID]) == (kind, RELAY.packed)
    gone = request(Message.RELEASE, options=selecting(server=RELAY.packed) | option, giaddr=RELAY, ciaddr=ADDRESS)
    assert told(answer(gone, leases=bound())).reason == "released"


@pytest.mark.parametrize(
    ("giaddr", "link", "reply"),
    [
        (ELSEWHERE, b"\x0a\x4d\0\0", "OFFER"),
        (ELSEWHERE, ELSEWHERE.packed, ""),
        (ELSEWHERE, b"\x0a\x4d\0", ""),
        (RELAY, ELSEWHERE.packed, ""),
        (NOWHERE, ELSEWHERE.packed, "OFFER"),
    ],
    ids=["ours", "another", "short", "another than its own", "no relay"],
)
def test_a_relay_elsewhere_may_say_that_it_asks_for_our_subnet(giaddr: IPv4Address, link: bytes, reply: str) -> None:
    area = bytes((5, len(link))) + link
    decision = answer(request(Message.DISCOVER, options={Option.RELAY_AGENT: area}, giaddr=giaddr))
    assert told(decision).reply == reply
    if reply:
        packet, to = only(decision).packet, only(decision).to
        assert (packet.yiaddr, packet.options[Option.RELAY_AGENT]) == (ADDRESS, area)
        assert to == (giaddr if giaddr != NOWHERE else EVERYWHERE)


@pytest.mark.parametrize(
    ("area", "giaddr"),
    [(b"\x0b\4" + RELAY.packed, NOWHERE), (b"\x0b\3\x0a\x4d\0", RELAY), (b"\x0b\4\x0a\x4d", RELAY), (b"\x0b", RELAY)],
    ids=["from a client", "short", "cut off", "no length"],
)
def test_nobody_else_changes_who_the_server_is(area: bytes, giaddr: IPv4Address) -> None:
    packet = request(Message.DISCOVER, options={Option.RELAY_AGENT: area}, giaddr=giaddr)
    assert only(answer(packet)).packet.options[Option.SERVER_ID] == SERVER.packed


def test_what_a_switch_adds_comes_back_without_a_relay_too() -> None:
    """Switches that watch DHCP add option 82 and leave giaddr empty: they drop a reply that does not bring it back."""
    added: dict[int, bytes] = {Option.RELAY_AGENT: b"\1\6\0\4\0\1\0\7\2\3abc"}
    for packet in (
        request(Message.DISCOVER, options=PXE_BIOS | added),
        request(Message.REQUEST, options=asked(ADDRESS) | added),
        request(Message.REQUEST, options=asked(ELSEWHERE) | added),
    ):
        reply = only(answer(packet))
        assert list(reply.packet.options.items())[-1] == (Option.RELAY_AGENT, added[82])
        assert reply.to == EVERYWHERE


def test_a_machine_that_became_a_blade_leaves_the_address_of_its_pool() -> None:
    book = bound(MAC, POOL[0])
    assert told(answer(request(Message.REQUEST, ciaddr=POOL[0]), WITH_POOL, book)).reply == "NAK"
    assert only(answer(request(Message.DISCOVER), WITH_POOL, book)).packet.yiaddr == ADDRESS


def test_hops_and_seconds_of_a_relayed_message_are_not_repeated() -> None:
    """RFC 2131, table 3: both are 0 in every reply."""
    reply = only(answer(replace(request(Message.DISCOVER, giaddr=RELAY), hops=16, secs=0xFFFF))).packet
    assert (reply.hops, reply.secs) == (0, 0)


def test_a_foreign_address_in_inform_is_answered_there_and_none_is_given() -> None:
    reply = only(answer(request(Message.INFORM, ciaddr=ELSEWHERE)))
    assert (reply.to, reply.packet.yiaddr) == (ELSEWHERE, NOWHERE)
    assert only(answer(request(Message.INFORM))).to == EVERYWHERE
