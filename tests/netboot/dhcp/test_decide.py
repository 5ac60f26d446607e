"""What every DHCP message gets: the rules of RFC 2131 section 4.3 as tables, and what firmware needs beside them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.events import Trouble, UnknownMachine
from labkit.events.card_vendors import LOCAL
from labkit.lab import Lab
from labkit.netboot.dhcp import BOOTREPLY, NOWHERE, DhcpError, Message, Option, Packet, decode, encode
from labkit.netboot.dhcp.decide import decide
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.full_server import LEASE_S, OFFER_S, QUARANTINE_S
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState
from labkit.netboot.dhcp.replies import EVERYWHERE
from tests.rig.dhcp import (
    ADDRESS,
    ELSEWHERE,
    FIRST,
    HTTP_EFI,
    IPXE_EFI,
    MAC,
    NOW,
    POOL,
    PXE_BIOS,
    SECOND,
    SECOND_CARD,
    SERVER,
    STRANGER,
    THIRD,
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
from tests.rig.seeds import DHCLIENT_DISCOVER, UDHCPC_DISCOVER

OTHER_SERVER = IPv4Address("10.77.0.254").packed


def offered(mac: str, address: IPv4Address = POOL[0], until: float = NOW + OFFER_S) -> LeaseBook:
    return LeaseBook({address: Lease(address, mac, LeaseState.OFFERED, until)})


# --- DISCOVER, 4.3.1 ---


def test_a_blade_is_offered_its_own_address_by_any_of_its_cards() -> None:
    for mac in (MAC, SECOND_CARD):
        decision = answer(request(Message.DISCOVER, mac, PXE_BIOS))
        assert only(decision).packet.yiaddr == ADDRESS
        assert decision.leases.leases[ADDRESS] == Lease(ADDRESS, mac, LeaseState.OFFERED, NOW + OFFER_S)
        assert not decision.must_save
        assert decision.boots == "blade1"


def test_an_operating_system_looking_for_an_address_begins_no_boot() -> None:
    assert answer(request(Message.DISCOVER)).boots == ""


def test_an_offer_leaves_a_lease_alone_that_the_card_holds() -> None:
    assert answer(request(Message.DISCOVER), leases=bound()).leases == bound()


def test_a_reservation_beats_what_the_client_would_like() -> None:
    assert only(answer(request(Message.DISCOVER, options=asked(POOL[0])))).packet.yiaddr == ADDRESS


def test_a_card_in_use_by_the_system_keeps_the_address_from_the_other_cards() -> None:
    decision = answer(request(Message.DISCOVER, SECOND_CARD), leases=bound())
    assert decision.replies == ()
    assert told(decision).reason == f"blade1's address is held by its card {MAC}"
    decision = answer(request(Message.REQUEST, SECOND_CARD, asked(ADDRESS)), leases=bound())
    assert decision.replies == ()


def test_firmware_on_another_card_takes_the_address_over() -> None:
    assert only(answer(request(Message.DISCOVER, SECOND_CARD, PXE_BIOS), leases=bound())).packet.yiaddr == ADDRESS


def test_without_a_pool_a_stranger_gets_silence_and_is_told_with_what_adopts_it() -> None:
    for message in (Message.DISCOVER, Message.REQUEST, Message.INFORM):
        for options in (asked(ELSEWHERE), selecting(ELSEWHERE)):
            decision = answer(request(message, STRANGER, options))
            assert decision.replies == ()
            assert decision.leases == LeaseBook()
    [unknown] = [event for event in decision.events if isinstance(event, UnknownMachine)]
    assert unknown == UnknownMachine(mac=STRANGER, adopt=f"./lab adopt {STRANGER}")


SMBIOS = bytes.fromhex("33221100554477668899aabbccddeeff")
UUID = "00112233-4455-6677-8899-aabbccddeeff"


@pytest.mark.parametrize(
    ("options", "uuid", "arch", "client"),
    [
        (PXE_BIOS | {97: b"\0" + SMBIOS}, UUID, "0", "pxe"),
        (HTTP_EFI | {97: b"\0" + SMBIOS}, UUID, "16", "http"),
        (IPXE_EFI | {97: bytes.fromhex("00" + UUID.replace("-", ""))}, UUID, "7", "ipxe"),
        (PXE_BIOS | {97: bytes(17)}, "", "0", "pxe"),
        (PXE_BIOS | {97: b"\0" + SMBIOS[:-1]}, "", "0", "pxe"),
        (PXE_BIOS | {97: b"\1" + SMBIOS}, "", "0", "pxe"),
        (PXE_BIOS | {93: b"\0\7" * 300}, "", ",".join(["7"] * 16), "pxe"),
        ({}, "", "", ""),
    ],
)
def test_what_a_stranger_says_of_itself_is_told(options: dict[int, bytes], uuid: str, arch: str, client: str) -> None:
    decision = answer(request(Message.DISCOVER, STRANGER, options))
    [unknown] = [event for event in decision.events if isinstance(event, UnknownMachine)]
    assert (unknown.uuid, unknown.arch, unknown.client) == (uuid, arch, client)


@pytest.mark.parametrize(("mac", "vendor"), [("00:25:90:00:00:01", "Supermicro"), ("52:54:00:09:09:09", LOCAL)])
def test_whose_card_a_stranger_has_is_told(mac: str, vendor: str) -> None:
    [unknown] = [event for event in answer(request(Message.DISCOVER, mac)).events if isinstance(event, UnknownMachine)]
    assert unknown.vendor == vendor


@pytest.mark.parametrize(
    ("leases", "wish", "expected"),
    [
        (LeaseBook(), None, FIRST),
        (LeaseBook(), THIRD, THIRD),
        (LeaseBook(), ELSEWHERE, FIRST),
        (LeaseBook(), ADDRESS, FIRST),
        (bound("00:00:5e:00:53:01", FIRST), None, SECOND),
        (bound("00:00:5e:00:53:01", FIRST, until=NOW - 1), None, SECOND),
        (bound(STRANGER, THIRD, until=NOW - 1), None, THIRD),
        (bound(STRANGER, THIRD), FIRST, THIRD),
        (bound(STRANGER, ADDRESS + 50), None, FIRST),
    ],
    ids=[
        "first free", "as wished", "wish outside", "wish of a blade", "taken", "never used before run out",
        "its last one", "its own before its wish", "a lease from before the pool was changed",
    ],
)  # fmt: skip
def test_the_pool(leases: LeaseBook, wish: IPv4Address | None, expected: IPv4Address) -> None:
    decision = answer(request(Message.DISCOVER, STRANGER, asked(wish) if wish else {}), WITH_POOL, leases)
    reply = only(decision).packet
    assert reply.yiaddr == expected
    assert Option.HOST_NAME not in reply.options
    assert decision.boots == ""


def test_a_run_out_lease_is_given_away_when_nothing_else_is_left() -> None:
    book = LeaseBook()
    for number in range(3):
        until = NOW - 1 if number == 1 else NOW + 1
        book = book.put(Lease(POOL[0] + number, f"00:00:5e:00:53:0{number}", LeaseState.BOUND, until))
    assert only(answer(request(Message.DISCOVER, STRANGER), WITH_POOL, book)).packet.yiaddr == POOL[0] + 1
    full = book.put(replace(book.leases[POOL[0] + 1], until=NOW + 1))
    decision = answer(request(Message.DISCOVER, STRANGER), WITH_POOL, full)
    assert (decision.replies, told(decision).reason) == ((), "every address of the pool is taken")


def test_the_pool_never_gives_an_address_of_the_lab() -> None:
    lab = make_lab(pool=(SERVER, IPv4Address("10.77.0.14")))
    book = LeaseBook()
    got = []
    for number in range(10):
        decision = answer(request(Message.DISCOVER, f"00:00:5e:00:53:0{number}"), lab, book)
        book = decision.leases
        got += [reply.packet.yiaddr for reply in decision.replies]
    assert [str(address) for address in sorted(got)] == [f"10.77.0.{last}" for last in (3, 4, 5, 6, 7, 8, 9, 10, 14)]


# --- REQUEST, 4.3.2 ---

SILENCE, ACK, NAK = "", "ACK", "NAK"


@pytest.mark.parametrize(
    ("packet", "leases", "expected"),
    [
        # SELECTING
        (request(Message.REQUEST, options=selecting()), offered(MAC, ADDRESS), ACK),
        (request(Message.REQUEST, options=selecting()), LeaseBook(), ACK),
        (request(Message.REQUEST, options=selecting(ADDRESS + 1)), LeaseBook(), NAK),
        (request(Message.REQUEST, options=selecting(server=OTHER_SERVER)), LeaseBook(), SILENCE),
        (request(Message.REQUEST, options={Option.SERVER_ID: SERVER.packed}), LeaseBook(), SILENCE),
        # INIT-REBOOT
        (request(Message.REQUEST, options=asked(ADDRESS)), LeaseBook(), ACK),
        (request(Message.REQUEST, options=asked(ADDRESS + 5)), LeaseBook(), NAK),
        (request(Message.REQUEST, options=asked(ELSEWHERE)), LeaseBook(), NAK),
        # RENEWING and REBINDING
        (request(Message.REQUEST, ciaddr=ADDRESS), bound(), ACK),
        (request(Message.REQUEST, ciaddr=ADDRESS), LeaseBook(), ACK),
        (request(Message.REQUEST, ciaddr=ADDRESS + 5), bound(), NAK),
        (request(Message.REQUEST, ciaddr=ELSEWHERE), bound(), NAK),
        (request(Message.REQUEST, options=asked(ADDRESS + 5), ciaddr=ADDRESS), bound(), ACK),
        # nothing asked for
        (request(Message.REQUEST), bound(), SILENCE),
        # quarantine, and relays of other networks
        (
            request(Message.REQUEST, options=selecting()),
            LeaseBook({ADDRESS: Lease(ADDRESS, MAC, LeaseState.DECLINED, NOW + 1)}),
            SILENCE,
        ),
        (request(Message.REQUEST, options=asked(ADDRESS), giaddr=ELSEWHERE), LeaseBook(), SILENCE),
        (request(Message.REQUEST, options=asked(ELSEWHERE), giaddr=ELSEWHERE), LeaseBook(), SILENCE),
    ],
    ids=[
        "selecting", "selecting after a restart", "selecting a wrong address", "selecting another server",
        "selecting nothing", "init-reboot", "init-reboot, another blade's", "init-reboot, another network's",
        "renewing", "rebinding without a record", "renewing a wrong address", "renewing a foreign address",
        "ciaddr beats option 50", "neither 50 nor ciaddr", "declined", "foreign relay",
        "foreign relay, foreign address",
    ],
)  # fmt: skip
def test_a_blades_request(packet: Packet, leases: LeaseBook, expected: str) -> None:
    decision = answer(packet, leases=leases)
    assert told(decision).reply == expected
    assert [Message(reply.packet.options[Option.MESSAGE_TYPE][0]).name for reply in decision.replies] == (
        [expected] if expected else []
    )
    if expected == ACK:
        assert only(decision).packet.yiaddr == ADDRESS
        assert decision.leases.leases[ADDRESS] == Lease(ADDRESS, MAC, LeaseState.BOUND, NOW + LEASE_S)
        assert decision.must_save
    else:
        assert told(decision).reason
        assert not decision.must_save


@pytest.mark.parametrize(
    ("packet", "leases", "expected"),
    [
        (request(Message.REQUEST, STRANGER, selecting(POOL[0])), offered(STRANGER), ACK),
        (request(Message.REQUEST, STRANGER, selecting(POOL[0])), LeaseBook(), ACK),
        (request(Message.REQUEST, STRANGER, selecting(POOL[0])), bound("00:00:5e:00:53:01", POOL[0]), NAK),
        (request(Message.REQUEST, STRANGER, selecting(ADDRESS)), LeaseBook(), NAK),
        (request(Message.REQUEST, STRANGER, asked(POOL[0])), LeaseBook(), SILENCE),
        (request(Message.REQUEST, STRANGER, asked(ELSEWHERE)), LeaseBook(), SILENCE),
        (request(Message.REQUEST, STRANGER, asked(POOL[0])), bound(STRANGER, POOL[0], until=NOW - 1), ACK),
        (request(Message.REQUEST, STRANGER, asked(ELSEWHERE)), bound(STRANGER, POOL[0]), NAK),
        (request(Message.REQUEST, STRANGER, ciaddr=POOL[0]), bound(STRANGER, POOL[0]), ACK),
        (request(Message.REQUEST, STRANGER, ciaddr=POOL[0]), LeaseBook(), SILENCE),
        (request(Message.REQUEST, STRANGER, ciaddr=ELSEWHERE), LeaseBook(), SILENCE),
    ],
    ids=[
        "selecting", "selecting after a restart", "selecting what is taken", "selecting a blade's address",
        "init-reboot without a record", "init-reboot of a foreigner", "init-reboot of a lease that ran out",
        "init-reboot with a record, elsewhere", "renewing", "renewing without a record", "renewing a foreign address",
    ],
)  # fmt: skip
def test_a_request_for_the_pool(packet: Packet, leases: LeaseBook, expected: str) -> None:
    assert told(answer(packet, WITH_POOL, leases)).reply == expected


def test_choosing_another_server_gives_the_offer_back() -> None:
    packet = request(Message.REQUEST, STRANGER, selecting(POOL[0], OTHER_SERVER))
    assert answer(packet, WITH_POOL, offered(STRANGER)).leases == LeaseBook()
    assert answer(packet, WITH_POOL, bound(STRANGER, POOL[0])).leases == bound(STRANGER, POOL[0])


def test_a_nak_tells_nothing_but_the_reason() -> None:
    options = {**asked(ELSEWHERE), Option.CLIENT_ID: b"\1id", **PXE_BIOS, Option.CLIENT_UUID: bytes(17)}
    reply = only(answer(request(Message.REQUEST, options=options)))
    assert (reply.to, reply.port) == (EVERYWHERE, 68)
    assert reply.packet.yiaddr == reply.packet.siaddr == reply.packet.ciaddr == NOWHERE
    assert dict(reply.packet.options) == {
        Option.MESSAGE_TYPE: b"\6",
        Option.SERVER_ID: SERVER.packed,
        Option.MESSAGE: b"192.168.1.9 is not an address of this network",
        Option.CLIENT_ID: b"\1id",
    }


# --- DECLINE, RELEASE, INFORM: 4.3.3 to 4.3.5 ---


def test_a_declined_address_is_left_alone_for_a_while() -> None:
    decision = answer(request(Message.DECLINE, options=selecting()), leases=bound())
    assert decision.replies == ()
    assert decision.must_save
    assert [event.detail for event in decision.events if isinstance(event, Trouble)] == [
        f"blade1 ({MAC}) declined 10.77.0.11: another machine on this network uses it"
    ]
    again = answer(request(Message.DISCOVER, options=PXE_BIOS), leases=decision.leases)
    assert (again.replies, again.boots) == ((), "")
    later = answer(request(Message.DISCOVER, options=PXE_BIOS), leases=decision.leases, now=NOW + QUARANTINE_S + 1)
    assert only(later).packet.yiaddr == ADDRESS


def test_a_declined_address_of_the_pool_is_not_offered_to_anybody() -> None:
    declined = answer(request(Message.DECLINE, STRANGER, selecting(FIRST)), WITH_POOL, bound(STRANGER, FIRST))
    for number in range(9):
        decision = answer(request(Message.DISCOVER, f"00:00:5e:00:53:0{number}"), WITH_POOL, declined.leases)
        assert only(decision).packet.yiaddr in (SECOND, THIRD)


@pytest.mark.parametrize(
    "packet",
    [
        request(Message.DECLINE, STRANGER, selecting()),
        request(Message.DECLINE, options=selecting(server=OTHER_SERVER)),
        request(Message.DECLINE, options=selecting(ADDRESS + 1)),
        request(Message.DECLINE),
        request(Message.RELEASE, STRANGER, ciaddr=ADDRESS),
        request(Message.RELEASE, options={Option.SERVER_ID: OTHER_SERVER}, ciaddr=ADDRESS),
        request(Message.RELEASE),
    ],
    ids=[
        "a stranger declines", "declines another server's", "declines another's", "declines nothing",
        "a stranger releases", "releases another server's", "releases nothing",
    ],
)  # fmt: skip
def test_nobody_gives_up_what_is_not_theirs(packet: Packet) -> None:
    decision = answer(packet, leases=bound())
    assert (decision.replies, decision.leases, decision.must_save) == ((), bound(), False)


def test_a_released_address_is_free() -> None:
    packet = request(Message.RELEASE, options={Option.SERVER_ID: SERVER.packed}, ciaddr=ADDRESS)
    decision = answer(packet, leases=bound())
    assert (decision.replies, decision.leases, decision.must_save) == ((), LeaseBook(), True)


def test_inform_gets_parameters_and_no_lease() -> None:
    reply = only(answer(request(Message.INFORM, ciaddr=ADDRESS)))
    assert (reply.to, reply.port) == (ADDRESS, 68)
    assert (reply.packet.yiaddr, reply.packet.ciaddr) == (NOWHERE, ADDRESS)
    assert not {Option.LEASE_TIME, Option.RENEWAL_TIME, Option.REBINDING_TIME} & set(reply.packet.options)
    assert reply.packet.options[Option.HOST_NAME] == b"blade1"


@pytest.mark.parametrize("message", [Message.OFFER, Message.ACK, Message.NAK])
def test_what_only_servers_send_gets_silence(message: Message) -> None:
    assert answer(request(message)).replies == ()


def test_replies_are_not_answered() -> None:
    assert answer(replace(request(Message.DISCOVER), op=BOOTREPLY)) == Decision(LeaseBook())


@pytest.mark.parametrize(
    "packet",
    [
        replace(request(Message.DISCOVER), htype=6),
        replace(request(Message.DISCOVER), chaddr=bytes(16)),
        replace(request(Message.DISCOVER), options={}),
        replace(request(Message.DISCOVER), options={53: b"\x20"}),
        request(Message.REQUEST, options={50: b"abc"}),
    ],
    ids=["token ring", "a long address", "BOOTP", "an unknown message", "a short address"],
)
def test_contradictions_are_an_error(packet: Packet) -> None:
    with pytest.raises(DhcpError):
        answer(packet)


# --- nothing breaks it ---


@given(st.sampled_from((UDHCPC_DISCOVER, DHCLIENT_DISCOVER)), st.sampled_from((make_lab(), WITH_POOL)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_message_gets_an_answer_or_an_error(seed: bytes, lab: Lab, draw: st.DataObject) -> None:
    data = bytearray(seed)
    data[242] = draw.draw(st.integers(1, 8))
    for _ in range(draw.draw(st.integers(0, 5))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        packet = decode(bytes(data))
        decision = decide(packet, lab, bound(), NOW)
    except DhcpError:
        return
    for reply in decision.replies:
        again = decode(encode(reply.packet))
        assert (again.op, again.xid, again.chaddr) == (BOOTREPLY, packet.xid, packet.chaddr)
        assert lab.blade_with_mac(packet.mac) or lab.network.pool
    if not lab.network.pool and not lab.blade_with_mac(packet.mac):
        assert decision.leases == bound()
