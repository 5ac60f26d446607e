"""An inventory that is handed in: who may, what is kept of it, and what is told."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from labkit.events import HardwareChange, Inventoried, Ticket, Trouble, kept_inventories
from labkit.events.kept_inventories import name_of
from labkit.netboot.http import inventories
from tests.netboot.http.test_blade_inventory import text
from tests.rig.http_server import Rig

WHOLE = text("card\teno1\t52:54:00:4d:00:01\te\t1\t1000", "disk\tsda\t1000\t0\tFast\tS1")
LESS = text("card\teno1\t52:54:00:4d:00:01\te\t1\t100")


def hand_in(rig: Rig, *said: str | bytes) -> list[int]:
    """The status that each of these got."""
    got: list[int] = []

    async def talk(client: aiohttp.ClientSession) -> None:
        for one in said:
            async with client.post(f"{rig.root}/v1/inventory", headers=rig.ticket, data=one) as answer:
                got.append(answer.status)

    rig.run(talk)
    return got


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventories, "AGAIN_S", 0.0)


def test_a_blade_is_kept_and_told_of(rig: Rig) -> None:
    assert hand_in(rig, WHOLE, WHOLE) == [200, 429]
    [told] = rig.seen.of(Inventoried)
    assert (told.blade, told.boot, told.memory_mib, told.macs) == ("blade1", rig.boot.id, 15917, ("52:54:00:4d:00:01",))
    assert told.words == "8 cores, 16 GiB, 1 disk (512.0 kB), 1 card"
    kept = rig.inventories.of("blade1")
    assert kept is not None and kept.inventory.disks[0].serial == "S1" and kept.changes == ()
    assert rig.seen.of(HardwareChange) == []


@pytest.mark.usefixtures("patient")
def test_what_is_lost_is_an_event_each(rig: Rig) -> None:
    assert hand_in(rig, WHOLE, LESS, LESS) == [200, 200, 200]
    told = rig.seen.of(HardwareChange)
    assert [(one.blade, one.part, one.state) for one in told] == [
        ("blade1", "disk", "worse"),
        ("blade1", "card", "worse"),
    ]
    assert "has 100 Mbit/s, and had 1 Gbit/s" in told[1].detail
    kept = rig.inventories.of("blade1")
    assert kept is not None and len(kept.changes) == 2 and kept.latest == ()


@pytest.mark.usefixtures("patient")
def test_an_adopted_machine_is_compared_with_what_it_told_before(rig: Rig, tmp_path: Path) -> None:
    assert rig.inventories.take_stranger("52:54:00:4d:00:01", WHOLE) == ""
    assert rig.inventories.of(name_of("52:54:00:4d:00:01")) is not None
    assert hand_in(rig, LESS) == [200]
    assert [one.part for one in rig.seen.of(HardwareChange)] == ["disk", "card"]
    assert rig.inventories.of(name_of("52:54:00:4d:00:01")) is None


@pytest.mark.parametrize("said", [b"", b"\xff" * 100, b"labkit inventory 1\n", b"{}", b"stage=os"])
def test_what_is_no_inventory_is_refused_and_nothing_kept(rig: Rig, said: bytes) -> None:
    assert hand_in(rig, said) == [400]
    assert hand_in(rig, b"x" * 20_000) == [413]
    assert rig.inventories.of("blade1") is None and rig.seen.of(Inventoried) == []


def test_it_takes_the_ticket(rig: Rig) -> None:
    rig.ticket = {}
    assert hand_in(rig, WHOLE) == [403]
    assert [event.state for event in rig.seen.of(Ticket)] == ["refused"]
    assert rig.inventories.of("blade1") is None


def test_what_cannot_be_kept_is_told(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "inventory").write_text("in the way")
    assert hand_in(rig, WHOLE) == [200]
    assert "could not be kept" in rig.seen.of(Trouble)[0].detail
    assert len(rig.seen.of(Inventoried)) == 1


def test_strangers_are_kept_up_to_a_number(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_inventories, "MOST_STRANGERS", 5)
    answers = [rig.inventories.take_stranger(f"00:00:5e:00:53:{number:02x}", WHOLE) for number in range(8)]
    assert answers == [""] * 5 + [inventories.TOO_SOON] * 3
    monkeypatch.setattr(inventories, "AGAIN_S", 0.0)
    assert [rig.inventories.take_stranger(f"00:00:5e:00:53:{number:02x}", WHOLE) for number in range(5, 8)] == [""] * 3
    assert len(list((tmp_path / "inventory").glob("mac_*.json"))) == 5
    told = rig.seen.of(Inventoried)
    assert told[0].macs == ("00:00:5e:00:53:00", "52:54:00:4d:00:01") and told[0].blade == ""
