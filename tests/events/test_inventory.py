"""What of a machine is another since it told last, and what is kept of that."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import events
from labkit.events import HardwareChange, Inventoried, folding, kept_inventories
from labkit.events.inventory import Bar, Card, Disk, Inventory, Sensor, differences, from_json
from labkit.events.kept_inventories import MOST_CHANGES, after

A, B = "00:00:5e:00:53:0a", "00:00:5e:00:53:0b"
BEFORE = Inventory(
    vendor="Any Maker", product="Box 1", serial="7", uuid="00112233-4455-6677-8899-aabbccddeeff", processor="Any CPU",
    sockets=2, cores=8, threads=16, memory_mib=15_900, slots=4, bars=(Bar("A1", 8192), Bar("B1", 8192)),
    disks=(Disk("sda", 10**12, "hdd", "Slow", "S1"), *(Disk(name, 10**12, "hdd", "Slow") for name in ("sdb", "sdc"))),
    cards=(Card("eno1", A, "e", True, 1000, "switch1", "7"), Card("eno2", B, "e", True, 1000)),
    bmc="ipmi", bmc_address="10.0.0.7", sensors=(Sensor("FAN1", "900 RPM"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({}, []),
        ({"bars": BEFORE.bars[:1], "memory_mib": 7900}, ["-the memory bar in B1, 8.0 GiB, is gone"]),
        ({"bars": (BEFORE.bars[0], Bar("B1", 4096))}, ["-the memory bar in B1 has 4.0 GiB of its 8.0 GiB"]),
        ({"bars": (*BEFORE.bars, Bar("A2", 8192))}, ["+there is a new memory bar in A2, 8.0 GiB"]),
        ({"memory_mib": 7900}, ["-its system has 7.7 GiB of memory, and had 16 GiB"]),
        ({"memory_mib": 15_700}, []),
        ({"bars": ()}, []),
        ({"sockets": 1, "cores": 4, "threads": 8}, ["-it has 1 processor, and had 2"]),
        ({"threads": 8}, ["-it has 8 threads, and had 16"]),
        ({"disks": BEFORE.disks[:2]}, ["-the disk sdb 1.0 TB HDD Slow is gone"]),
        ({"disks": ()}, [f"-the disk sd{letter} 1.0 TB HDD Slow is gone" for letter in "abc"]),
        ({"disks": tuple(replace(disk, name=disk.name + "x") for disk in BEFORE.disks[::-1])}, []),
        ({"disks": (*BEFORE.disks, Disk("sdd", 5 * 10**8))}, ["+there is a new disk, sdd 500.0 MB"]),
        ({"cards": BEFORE.cards[:1]}, [f"-the network card eno2 ({B}) is gone"]),
        ({"cards": (BEFORE.cards[0], replace(BEFORE.cards[1], speed_mbit=100))},
         [f"-eno2 ({B}) has 100 Mbit/s, and had 1 Gbit/s"]),
        ({"cards": (BEFORE.cards[0], Card("eno2", B, "e"))}, [f"-eno2 ({B}) has no link any more"]),
        ({"cards": (replace(BEFORE.cards[0], port="8"), BEFORE.cards[1])},
         [f"+eno1 ({A}) is plugged into switch1 8, and was into switch1 7"]),
        ({"bmc_address": "10.0.0.8"}, ["+its BMC has the address 10.0.0.8, and had 10.0.0.7"]),
        ({"sensors": (Sensor("FAN1", "0 RPM", is_well=False),)}, ["-its sensor FAN1 says 0 RPM"]),
    ],
)  # fmt: skip
def test_differences(now: dict[str, object], expected: list[str]) -> None:
    found = differences(BEFORE, replace(BEFORE, **now))  # type: ignore[arg-type]
    assert [f"{'-' if one.is_worse else '+'}{one.words}" for one in found] == expected


def test_what_was_lost_comes_back_as_something_new_and_is_no_loss() -> None:
    less = replace(BEFORE, bars=BEFORE.bars[:1], disks=BEFORE.disks[1:], cards=BEFORE.cards[:1], memory_mib=7900)
    assert all(one.is_worse for one in differences(BEFORE, less))
    assert not any(one.is_worse for one in differences(less, BEFORE))


def test_another_machine_is_not_compared() -> None:
    other = Inventory(uuid="10112233-4455-6677-8899-aabbccddeeff", threads=1, memory_mib=1024)
    [found] = differences(BEFORE, other)
    assert (found.part, found.is_worse) == ("machine", False) and "Any Maker Box 1 7" in found.words
    board = replace(BEFORE, uuid=other.uuid)  # of the same cards: its board was changed
    assert differences(BEFORE, board) == ()


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"disks": 1},
        {"disks": [1]},
        {"disks": [{}]},
        {"cores": "4"},
        {"cores": True},
        {"cards": [{"name": 1}]},
    ],
)
def test_what_is_no_inventory(value: object) -> None:
    with pytest.raises(ValueError, match="no |missing"):
        from_json(value)


def test_what_is_kept(tmp_path: Path) -> None:
    first, found = after(None, BEFORE, 1.0)
    assert found == () and first.latest == ()
    second, found = after(first, replace(BEFORE, disks=BEFORE.disks[1:]), 2.0)
    assert [one.part for one in found] == ["disk"]
    kept_inventories.write(tmp_path, "blade1", second)
    assert kept_inventories.read(tmp_path, "blade1") == second
    kept = second
    for at in range(3, 3 + 2 * MOST_CHANGES):
        kept, _ = after(kept, BEFORE if at % 2 else second.inventory, float(at))
    assert len(kept.changes) == MOST_CHANGES and kept.changes[-1].at == kept.at


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"at": 1}', b'{"at": 1, "inventory": {}, "changes": [3]}', b"[" * 99_999]
)
def test_what_is_damaged_is_as_if_nothing_were_kept(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "blade1.json").write_bytes(damage)
    assert kept_inventories.read(tmp_path, "blade1") is None
    assert kept_inventories.read(tmp_path, "blade2") is None


def test_a_blades_state_has_what_it_told_last_and_what_this_boot_has_lost() -> None:
    told = Inventoried(blade="blade1", boot="b1", time=5, words="4 cores", memory_mib=2048)
    lost = HardwareChange(blade="blade1", boot="b1", time=5, part="memory", state="worse", detail="a bar is gone")
    new = HardwareChange(blade="blade1", boot="b1", time=5, part="disk", state="other", detail="a new disk")
    began = events.BootStarted(blade="blade1", boot="b1", time=1, cause="power")
    state = folding.fold_all([began, told, lost, new])
    assert state.blade("blade1").inventory == told and state.blade("blade1").lost == (lost,)
    state = folding.fold(state, events.BootStarted(blade="blade1", boot="b2", time=9, cause="power"))
    assert state.blade("blade1").inventory == told and state.blade("blade1").lost == ()
    state = folding.fold(state, events.LabEvent(state="starting", time=10))
    assert state.blade("blade1").inventory == told and state.blade("blade1").stage == "off"
    line = events.encode(told)
    assert events.decode(line) == told and json.loads(line)["memory_mib"] == 2048
