"""Whose card it is, and the table that says so, which is made from the IEEE's list."""

from __future__ import annotations

import re
import sys
import textwrap
from collections import defaultdict
from pathlib import Path

import pytest

from labkit.events import card_vendors
from labkit.events.card_vendors import LOCAL, vendor_of

TABLE = Path(card_vendors.__file__).with_suffix(".txt")
MAKERS = {
    "Advantech": "advantech ", "Aquantia": "aquantia ", "ASRock": "asrock ",
    "ASUS": "asustek ", "Broadcom": "broadcom( |$)", "Chelsio": "chelsio ", "D-Link": "d-link ", "Dell": "dell( |$)",
    "Elitegroup": "elitegroup ", "Emulex": "emulex ", "Foxconn": "hon hai |foxconn",
    "Fujitsu": "fujitsu (limited|tech)", "Gigabyte": "giga-?byte tech", "HP": "hewlett packard|hp inc",
    "IBM": "ibm( corp|$)", "Inspur": "inspur (elec|group)",
    "Intel": "intel corp", "Inventec": r"inventec ?(corp|\()", "Lenovo": r"lenovo($|\(beijing| \(beijing)",
    "Marvell": "marvell ", "Mellanox": "mellanox ", "Microsoft": "microsoft($| corp)", "MiTAC": "mitac |tyan ",
    "MSI": "micro-star int", "NVIDIA": "nvidia", "Oracle": "oracle( |$)", "Pegatron": "pegatron ",
    "Pensando": "pensando ", "QLogic": "qlogic ", "Quanta": "quanta computer", "Raspberry Pi": "raspberry pi ",
    "Realtek": "realtek ", "Solarflare": "solarflare ", "Supermicro": "super micro computer",
    "TP-Link": "tp-link ", "VMware": "vmware", "Wistron": r"wistron (corp|info|infor|\(|mex)", "xFusion": "xfusion ",
}  # fmt: skip
"""What a maker is called here, and how the names begin that it has in the list."""
LISTED = (
    "A4-BF-01   (hex)\t\tIntel Corporate\nA4BF01     (base 16)\t\tIntel Corporate\n"
    "00-25-90   (hex)\t\tSuper Micro Computer, Inc.\n"
)


def made_of(listed: str) -> str:
    """The table, from the IEEE's ``oui.txt``."""
    found = defaultdict(list)
    for prefix, name in re.findall(r"^(\S{8}) +\(hex\)\s+(.*?)\s*$", listed, re.M):
        for maker, begins in MAKERS.items():
            if re.match(begins, name.lower()):
                found[maker].append(prefix.replace("-", "").lower())
    lines = []
    for maker, prefixes in sorted(found.items()):
        lines += [f"{maker}: {row}" for row in textwrap.wrap(" ".join(sorted(prefixes)), 119 - len(maker) - 1)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("mac", "vendor"),
    [
        ("00:25:90:12:34:56", "Supermicro"), ("A0:36:9F:00:00:01", "Intel"), ("00:e0:4c:00:00:01", "Realtek"),
        ("52:54:00:4d:00:01", LOCAL), ("02:00:00:00:00:01", LOCAL), ("00:00:5e:00:53:01", ""), ("", ""),
    ],
)  # fmt: skip
def test_whose_card(mac: str, vendor: str) -> None:
    assert vendor_of(mac) == vendor


def test_the_table_names_a_prefix_once_and_all_makers() -> None:
    rows = [line.partition(": ") for line in TABLE.read_text(encoding="ascii").splitlines()]
    prefixes = [prefix for _, _, its in rows for prefix in its.split()]
    assert len(prefixes) == len(set(prefixes)) and all(re.fullmatch("[0-9a-f]{6}", prefix) for prefix in prefixes)
    assert {name for name, _, _ in rows} == set(MAKERS)
    assert not [prefix for prefix in prefixes if int(prefix[:2], 16) & 3], "an address of no maker's"


def test_it_is_made_from_the_list() -> None:
    assert made_of(LISTED) == "Intel: a4bf01\nSupermicro: 002590\n"


if __name__ == "__main__":
    TABLE.write_text(made_of(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="ascii")
