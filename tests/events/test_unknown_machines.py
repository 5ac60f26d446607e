"""The machines that a lab does not know, from its events."""

from __future__ import annotations

from labkit.events import Dhcp, Event, Inventoried, LabEvent, UnknownMachine
from labkit.events.unknown_machines import MOST_CARDS, MOST_TOLD, unknown_machines

A, B, C, D = (f"00:00:5e:00:53:0{digit}" for digit in "abcd")
UUID, SWAPPED = "00112233-4455-6677-8899-aabbccddeeff", "33221100-5544-7766-8899-aabbccddeeff"


def unknown(mac: str, time: float, uuid: str = "", client: str = "pxe", arch: str = "0") -> UnknownMachine:
    return UnknownMachine(mac=mac, time=time, adopt="", uuid=uuid, client=client, arch=arch)


def dhcp(mac: str, time: float, client: str, blade: str = "") -> Dhcp:
    return Dhcp(mac=mac, time=time, blade=blade, message="DISCOVER", client=client)


def macs(*stream: Event) -> list[tuple[str, ...]]:
    return [machine.macs for machine in unknown_machines(stream)]


def test_they_come_in_the_order_in_which_they_first_asked() -> None:
    assert macs(unknown(B, 1), unknown(A, 2), unknown(B, 3)) == [(B,), (A,)]


def test_cards_of_one_machine_are_together_whichever_way_its_uuid_is_written() -> None:
    stream = [unknown(B, 1, UUID), unknown(C, 2), unknown(A, 3, SWAPPED, "ipxe"), unknown(D, 4, UUID.upper())]
    one, other = unknown_machines(stream)
    assert (one.macs, one.uuid, one.clients) == ((B, A, D), UUID, ("pxe", "ipxe"))
    assert (one.first, one.last) == (1, 4)
    assert other.macs == (C,)


def test_a_uuid_that_boards_share_puts_nothing_together() -> None:
    for uuid in ("ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009",
                 "00020003-0004-0005-0006-000700080009", "no uuid"):  # fmt: skip
        assert macs(unknown(A, 1, uuid), unknown(B, 2, uuid)) == [(A,), (B,)]
    many = [unknown(f"00:00:5e:00:53:{number:02x}", number, UUID) for number in range(MOST_CARDS + 1)]
    assert len(macs(*many)) == MOST_CARDS + 1 and len(macs(*many[:-1])) == 1


def test_what_a_machine_told_of_its_cards_counts_more_than_uuids() -> None:
    told = Inventoried(time=5, words="4 cores", macs=(B, A, D), uuid=UUID, bmc="10.0.0.7")
    one, other = unknown_machines([unknown(A, 1), unknown(C, 2), unknown(B, 3, UUID), told])
    assert (one.macs, one.uuid, one.words, one.bmc) == ((A, B, D), UUID, "4 cores", "10.0.0.7")
    assert (other.macs, other.words) == ((C,), "")
    [one] = unknown_machines([unknown(A, 1), unknown(C, 2, SWAPPED), told])
    assert one.macs == (A, C, B, D), "a card that its system does not see, of a machine with its UUID"
    [one] = unknown_machines([told, LabEvent(state="starting"), unknown(A, 9)])
    assert (one.macs, one.words) == ((A, B, D), "4 cores"), "it is on since before the lab was started"


def test_an_unknown_card_of_a_blade_that_told_is_its() -> None:
    [one] = unknown_machines([Inventoried(time=1, blade="blade1", words="4 cores", macs=(A, B)), unknown(B, 2)])
    assert one.macs == (B, A)


def test_a_machine_that_tells_of_ever_more_cards_is_bounded() -> None:
    many = tuple(f"00:00:5e:01:{number // 256:02x}:{number % 256:02x}" for number in range(5000))
    [one] = unknown_machines([Inventoried(time=1, words="x", macs=(A, *many)), unknown(A, 2)])
    assert len(one.macs) == MOST_TOLD


def test_what_asked_and_when_last_is_of_all_its_messages() -> None:
    stream = [dhcp(A, 1, "os"), unknown(A, 1, client="", arch=""), dhcp(A, 5, "pxe"), dhcp(B, 6, "os", blade="b")]
    [machine] = unknown_machines(stream)
    assert machine.clients == ("os", "pxe") and machine.boots
    assert (machine.first, machine.last) == (1, 5)
    [silent] = unknown_machines(stream[:2])
    assert not silent.boots


def test_a_lab_that_starts_has_heard_of_nobody() -> None:
    assert macs(unknown(A, 1), LabEvent(state="starting"), unknown(B, 2), LabEvent(state="down")) == [(B,)]
