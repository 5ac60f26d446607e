"""What machines hand in, read from text that may be anything; and SMBIOS's tables in it."""

from __future__ import annotations

import base64
import gzip
import json
import random
import struct

import pytest

from labkit.events.inventory import Bar, Card, Disk, Sensor, from_json
from labkit.netboot.http.blade_inventory import (
    FIRST_LINE,
    LONGEST,
    MOST_CARDS,
    MOST_DISKS,
    MOST_SENSORS,
    read_inventory,
)
from labkit.netboot.http.smbios import MOST_BARS, read_tables

MAC = "00:00:5e:00:53:01"


def bar(size: int, slot: str = "", *, more_mib: int = 0, kind: int = 0x1A, speed: int = 3200) -> bytes:
    """A memory device (type 17) as DSP0134 3.7 has it."""
    fields = bytearray(0x22)
    fields[0:4] = struct.pack("<BBH", 17, len(fields), 0x1100)
    fields[0x0C:0x0E] = struct.pack("<H", size)
    fields[0x10] = 1 if slot else 0
    fields[0x12] = kind
    fields[0x15:0x17] = struct.pack("<H", speed)
    fields[0x1C:0x20] = struct.pack("<I", more_mib)
    return bytes(fields) + (slot.encode() + b"\0\0" if slot else b"\0\0")


END = struct.pack("<BBH", 127, 4, 0xFEFF) + b"\0\0"
IPMI = struct.pack("<BBH", 38, 0x10, 0x2600) + bytes(12) + b"\0\0"


def packed(tables: bytes) -> str:
    return base64.b64encode(gzip.compress(tables)).decode()


def text(*lines: str) -> str:
    rows = [FIRST_LINE, "processor\tAny CPU @ 2.00GHz\t2\t8\t16", "memory\t16300000", *lines]
    return "\n".join(rows) + "\n"


def test_a_whole_machine() -> None:
    lldp = {
        "Neighbors": [
            {"InterfaceName": "eno1", "Neighbors": [{"SystemName": "switch1", "PortID": "Gi0/7", "ChassisID": "x"}]}
        ]
    }
    made = read_inventory(
        text(
            "machine\tAny  Maker\tBox 1\tTo be filled by O.E.M.\t00112233-4455-6677-8899-AABBCCDDEEFF",
            f"card\teno1\t{MAC.upper()}\te1000e\t1\t1000",
            "card\teno2\t00:00:5e:00:53:02\te1000e\t0\t-1",
            "disk\tsda\t1000215216\t0\tFast Disk\tS1",
            "bmc\t10.77.0.201\t00:00:5e:00:53:03",
            f"lldp\t{json.dumps(lldp)}",
            "sensor\tCPU Temp\t45\tdegrees C\tok",
            "sensor\tFAN 2\t0\tRPM\tcr",
            f"smbios\t{packed(bar(8192, 'DIMM_A1') + bar(0x7FFF, 'DIMM_A2', more_mib=65536) + bar(0, 'B1') + END)}",
        )
    )
    assert made is not None
    assert (made.vendor, made.product, made.serial) == ("Any Maker", "Box 1", "")
    assert made.uuid == "00112233-4455-6677-8899-aabbccddeeff"
    assert made.cpu == "2 × Any CPU @ 2.00GHz, 8 cores, 16 threads"
    assert made.cards == (
        Card("eno1", MAC, "e1000e", has_link=True, speed_mbit=1000, neighbour="switch1", port="Gi0/7"),
        Card("eno2", "00:00:5e:00:53:02", "e1000e"),
    )
    assert made.disks == (Disk("sda", 512_110_190_592, "ssd", "Fast Disk", "S1"),)
    assert (made.bmc, made.bmc_address, made.bmc_mac) == ("ipmi", "10.77.0.201", "00:00:5e:00:53:03")
    assert made.sensors == (Sensor("CPU Temp", "45 degrees C"), Sensor("FAN 2", "0 RPM", is_well=False))
    assert (made.slots, made.bars) == (3, (Bar("DIMM_A1", 8192, "DDR4", 3200), Bar("DIMM_A2", 65536, "DDR4", 3200)))
    assert made.installed_mib == made.memory_mib == 15917, "of these bars its system plainly has but a part"
    assert made.brief == "8 cores, 16 GiB, 1 disk (512.1 GB), 2 cards"
    assert str(made.cards[0]) == f"eno1 {MAC} 1 Gbit/s to switch1 (Gi0/7)"
    assert from_json(json.loads(json.dumps(made.as_json()))) == made


@pytest.mark.parametrize(
    "said",
    ["", "\n", FIRST_LINE, f"{FIRST_LINE}\n", f"{FIRST_LINE}\nmemory\t1\n", f"{FIRST_LINE}\nprocessor\tx\t1\t1\t1\n",
     text().replace(FIRST_LINE, "labkit-inventory 2"), text().replace("16300000", "a lot"), "\0" * 100],
)  # fmt: skip
def test_what_is_no_inventory(said: str) -> None:
    assert read_inventory(said) is None


def test_lines_that_make_no_sense_are_left_out() -> None:
    hostile = [
        "card", "card\teth0", "card\teth0\tzz:00", "card\teth0\t00:00:00:00:00:00", "card\teth0\tff:ff:ff:ff:ff:ff",
        "disk", "disk\tsda", "disk\tsda\t-5", "disk\tsda\t9999999999999999999999", "disk\t\t5", "disk\tsda\t\u0665",
        "sensor", "sensor\tx", "lldp", "lldp\t[", "lldp\t" + "[" * 3000, "lldp\t[1]", 'lldp\t{"Neighbors": [3, {}]}',
        'lldp\t{"Neighbors": [{"Neighbors": [{"SystemName": ["x"]}]}]}', "smbios", "smbios\t!!", "smbios\tAAAA",
        "machine", "machine\ta\tb\tc\tno uuid", "bmc\t0.0.0.0", "unheard\tof", "\t\t\t",
    ]  # fmt: skip
    made = read_inventory(text(*hostile))
    assert made is not None
    assert (made.cards, made.disks, made.sensors, made.bars, made.uuid) == ((), (), (), (), "")
    assert (made.bmc, made.bmc_address) == ("ipmi", "")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "169.254.1.1", "x", ""])
def test_a_bmc_has_an_address_that_can_be_one(address: str) -> None:
    made = read_inventory(text(f"bmc\t{address}"))
    assert made is not None and made.bmc_address == ""


def test_words_can_be_printed_and_rows_have_an_end() -> None:
    made = read_inventory(
        text(
            "machine\t\x1b[31mred\u202e\t" + "x" * 10_000,
            *(f"disk\td{number}\t8" for number in range(200)),
            *(f"card\te{number}\t00:00:5e:00:{number:02x}:01" for number in range(100)),
            *(f"sensor\ts{number}\t1" for number in range(100)),
        )
    )
    assert made is not None
    assert made.vendor == "[31mred" and len(made.product) == LONGEST
    assert (len(made.disks), len(made.cards), len(made.sensors)) == (MOST_DISKS, MOST_CARDS, MOST_SENSORS)


def test_a_line_that_was_broken_off_does_not_count() -> None:
    made = read_inventory(text() + "disk\tsda\t1000")
    assert made is not None and made.disks == ()


def test_bombs_in_the_tables_stay_small() -> None:
    made = read_inventory(text(f"smbios\t{packed(bytes(200 << 20))}"))
    assert made is not None and made.bars == ()
    many = read_tables(bar(1024, "same") * 2000 + END)
    assert len(many.bars) == many.slots == MOST_BARS
    assert [one.slot for one in many.bars[:2]] == ["same #1", "same #2"]


def test_tables_as_boards_have_them() -> None:
    found = read_tables(bar(0x8000 | 0x4000) + bar(0xFFFF, "unknown") + bar(8, "BIOS", kind=0x09) + IPMI + END)
    assert found.bars == (Bar("slot 1", 16, "DDR4", 3200),) and found.slots == 2 and found.has_ipmi
    assert read_tables(b"").slots == read_tables(b"\x11\x03\0\0\0\0").slots == 0


def test_whatever_comes_is_read_or_refused() -> None:
    dice = random.Random(7)
    whole = text(f"card\teno1\t{MAC}\te\t1\t10", f"smbios\t{packed(bar(8192, 'A') + IPMI + END)}", "bmc\t10.0.0.1")
    for _ in range(2000):
        letters = list(whole)
        for _ in range(dice.randrange(1, 12)):
            letters[dice.randrange(len(letters))] = chr(
                dice.choice((0, 9, 10, 13, 27, 34, 123, 0x202E, 0xD7FF, 0x10FFFF))
            )
        made = read_inventory("".join(letters))
        assert made is None or from_json(json.loads(json.dumps(made.as_json()))) == made
        tables = bytearray(bar(8192, "A") * 3 + IPMI + END)
        for _ in range(4):
            tables[dice.randrange(len(tables))] = dice.randrange(256)
        read_tables(bytes(tables))
