"""Looking for an address before it is offered: RFC 2131, section 3.1."""

from __future__ import annotations

from ipaddress import IPv4Address

from labkit.events import Trouble
from labkit.netboot.dhcp import Message
from labkit.netboot.dhcp.decide import conflict, decide
from labkit.netboot.dhcp.full_server import OFFER_S, QUARANTINE_S
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState
from tests.rig.dhcp import (
    ADDRESS,
    FIRST,
    MAC,
    NOW,
    POOL,
    PXE_BIOS,
    SECOND,
    SECOND_CARD,
    STRANGER,
    THIRD,
    WITH_POOL,
    bound,
    make_lab,
    only,
    request,
    told,
)

USER = "00:00:5e:00:53:77"


def test_an_address_of_the_pool_is_looked_for_and_kept_meanwhile() -> None:
    packet = request(Message.DISCOVER, STRANGER)
    looking = decide(packet, WITH_POOL, LeaseBook(), NOW)
    assert (looking.replies, looking.probe) == ((), FIRST)
    kept = looking.leases.at(FIRST, NOW)
    assert kept is not None and kept.mac == STRANGER
    offer = decide(packet, WITH_POOL, looking.leases, NOW, probed={FIRST: ""})
    assert (only(offer).packet.yiaddr, offer.probe) == (FIRST, None)
    assert offer.leases.leases[FIRST] == Lease(FIRST, STRANGER, LeaseState.OFFERED, NOW + OFFER_S)


def test_an_address_that_somebody_uses_is_left_alone_and_the_next_is_looked_for() -> None:
    packet = request(Message.DISCOVER, STRANGER)
    used = decide(packet, WITH_POOL, LeaseBook(), NOW, probed={FIRST: USER})
    assert (used.replies, used.probe) == ((), SECOND)
    assert used.leases.leases[FIRST] == Lease(FIRST, USER, LeaseState.DECLINED, NOW + QUARANTINE_S)
    [trouble] = [event.detail for event in used.events if isinstance(event, Trouble)]
    assert trouble.startswith(f"{FIRST} of the pool is used by {USER}")
    offer = decide(packet, WITH_POOL, used.leases, NOW, probed={FIRST: USER, SECOND: ""})
    assert only(offer).packet.yiaddr == SECOND
    assert not [event for event in offer.events if isinstance(event, Trouble)]  # it was told before


def test_a_card_that_answers_for_its_own_old_address_gets_it() -> None:
    offer = decide(request(Message.DISCOVER, STRANGER), WITH_POOL, LeaseBook(), NOW, probed={FIRST: STRANGER})
    assert only(offer).packet.yiaddr == FIRST


def test_what_a_card_holds_is_not_looked_for() -> None:
    offer = decide(request(Message.DISCOVER, STRANGER), WITH_POOL, bound(STRANGER, SECOND), NOW)
    assert (only(offer).packet.yiaddr, offer.probe) == (SECOND, None)


def test_a_pool_of_millions_is_not_walked_through() -> None:
    """A thousand at once come one after the other here, each with its choice: the whole pool for each takes hours."""
    lab = make_lab(subnet="10.0.0.0/8", pool=(IPv4Address("10.100.0.0"), IPv4Address("10.200.0.0")))
    book, given = LeaseBook(), set()
    for number in range(50):
        packet = request(Message.DISCOVER, f"02:00:00:00:00:{number:02x}")
        first = decide(packet, lab, book, NOW)
        assert first.probe is not None
        offered = decide(packet, lab, first.leases, NOW, probed={first.probe: ""})
        book = offered.leases
        given.add(only(offered).packet.yiaddr)
    assert len(given) == 50


def test_looking_has_an_end() -> None:
    probed = {FIRST: USER, SECOND: USER, THIRD: USER}
    lab = make_lab(pool=(POOL[0], POOL[1] + 10))
    decision = decide(request(Message.DISCOVER, STRANGER), lab, LeaseBook(), NOW, probed=probed)
    assert (decision.replies, decision.probe) == ((), None)
    assert told(decision).reason.startswith("machines that did not ask here use ")


def test_a_blade_is_offered_its_address_at_once_and_another_user_is_told() -> None:
    decision = decide(request(Message.DISCOVER, options=PXE_BIOS), make_lab(), LeaseBook(), NOW)
    assert (only(decision).packet.yiaddr, decision.probe) == (ADDRESS, ADDRESS)
    again = decide(request(Message.DISCOVER, options=PXE_BIOS), make_lab(), bound(), NOW)
    assert (only(again).packet.yiaddr, again.probe) == (ADDRESS, None)
    trouble = conflict(make_lab(), MAC, ADDRESS, USER)
    assert trouble is not None and trouble.blade == "blade1" and USER in trouble.detail
    for nobody_else in ("", MAC, SECOND_CARD):
        assert conflict(make_lab(), MAC, ADDRESS, nobody_else) is None
