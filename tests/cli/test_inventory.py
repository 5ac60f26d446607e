"""``./lab inventory``, as a person calls it, and where else what a blade is made of is looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.events import kept_inventories
from labkit.events.inventory import Bar, Card, Disk, Inventory, Sensor
from labkit.events.kept_inventories import after
from labkit.lab import lab_yaml
from tests.cli.test_machines import LAB, A, B, Place

MADE = Inventory(
    vendor="Any Maker", product="Box 1", serial="7", processor="Any CPU", sockets=1, cores=4, threads=8,
    memory_mib=15_900, slots=4, bars=(Bar("A1", 8192, "DDR4", 3200), Bar("B1", 8192, "DDR4", 3200)),
    disks=(Disk("sda", 480 * 10**9, "ssd", "Fast", "S1"),),
    cards=(Card("eno1", A, "e1000e", True, 1000, "switch1", "7"), Card("eno2", B)),
    bmc="ipmi", bmc_address="10.0.0.7", sensors=(Sensor("FAN1", "900 RPM"), Sensor("FAN2", "0 RPM", is_well=False)),
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def keep(place: Place, name: str, *told: Inventory) -> None:
    """Have a machine told this, one after the other."""
    kept = None
    for at, one in enumerate(told, 1_700_000_000):
        kept, _ = after(kept, one, float(at))
    assert kept is not None
    (place.state / "inventory").mkdir(exist_ok=True)
    kept_inventories.write(place.state / "inventory", name, kept)


def test_before_any_has_told(place: Place) -> None:
    for words in ([], ["--changes"], ["red1"]):
        assert place("inventory", *words).startswith("no machine has told yet")
    assert json.loads(place("inventory", "--json")) == {}
    assert "there is no blade 'red9'" in place("inventory", "red9", status=2)


def test_a_table_of_all(place: Place) -> None:
    keep(place, "red1", MADE, replace(MADE, bars=MADE.bars[:1], memory_mib=7900))
    keep(place, kept_inventories.name_of(A), replace(MADE, bars=(), bmc_address=""))
    head, _, *rows = place("inventory").splitlines()
    assert head.split() == ["blade", "processor", "memory", "disks", "cards", "BMC", "told"]
    assert rows[0].startswith("red1") and rows[1].startswith(A)
    assert "Any CPU, 4 cores, 8 threads  8.0 GiB" in rows[0] and "sda 480.0 GB SSD Fast" in rows[0]
    assert "eno1 1 Gbit/s, eno2 no link" in rows[0] and "10.0.0.7 (ipmi)" in rows[0]
    assert "ipmi, its address is not told" in rows[1]
    assert rows[-1] == "red1: the memory bar in B1, 8.0 GiB, is gone"


def test_all_of_one(place: Place) -> None:
    keep(place, "red1", MADE)
    told = place("inventory", "red1")
    assert told.startswith("red1: Any Maker Box 1, told 2023-11-1")
    for words in (
        "  memory     16 GiB, 2 of 4 slots, 16 GiB for its system",
        "  B1, 8.0 GiB, DDR4, 3200 MT/s",
        "sda 480.0 GB SSD Fast, serial S1",
        f"eno1 {A} 1 Gbit/s to switch1 (7), e1000e",
        "FAN2: 0 RPM, and that is not well",
    ):
        assert words in told, words
    assert json.loads(place("inventory", "red1", "--json"))["red1"]["inventory"] == json.loads(
        json.dumps(MADE.as_json())
    )


def test_what_has_changed(place: Place) -> None:
    keep(place, "red1", MADE)
    assert place("inventory", "--changes").startswith("nothing has changed")
    keep(place, "red1", MADE, replace(MADE, disks=()), MADE)
    lines = place("inventory", "red1", "--changes").splitlines()
    assert [line.partition("  ")[2] for line in lines] == [
        "red1: the disk sda 480.0 GB SSD Fast is gone",
        "red1: there is a new disk, sda 480.0 GB SSD Fast",
    ]


def test_a_machine_is_named_by_any_of_its_cards(place: Place) -> None:
    keep(place, kept_inventories.name_of(A), MADE)
    for mac in (A, B.upper().replace(":", "-")):
        assert place("inventory", mac).startswith(f"{A}: Any Maker Box 1")
    place.lab.write_text(f"{LAB}    macs: [{B}]\n")
    lab = lab_yaml.load(place.lab)
    found = kept_inventories.read_blades(place.state / "inventory", lab.blades)
    assert found == {}, "it told by another card than the one that was written down"
    place.lab.write_text(f"{LAB}    macs: [{A}]\n")
    assert place("inventory").splitlines()[2].startswith("red1"), "it was adopted since"
