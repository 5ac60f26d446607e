"""What a machine says it is made of, read from the text that it hands in. PURE.

The text is what `labkit.boot.artifacts` has it send (``templates/scripts/inventory.j2``): a line each for what there
is, the kind of thing first, then its facts, with tabs between them. It comes from a machine that may be anything:
lines that make no sense are left out, every row has an end, and of a word only what can be printed is kept.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv4Address
from typing import Any
from uuid import UUID

from labkit.events.inventory import Card, Disk, Inventory, Sensor
from labkit.lab.plain_text import letters
from labkit.netboot.http.smbios import Tables, read_tables

FIRST_LINE = "labkit-inventory 1"
MOST_LINES = 512
MOST_DISKS, MOST_CARDS, MOST_SENSORS = 64, 32, 64
LONGEST = 64
MOST_TABLES_B = 256 << 10
MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
NONE = frozenset({"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"})
NOTHING_SAID = {
    "to be filled by o.e.m.", "default string", "system serial number", "system product name", "system manufacturer",
    "not specified", "none", "n/a", "0", "unknown", "not applicable", "o.e.m.", "oem",
}  # fmt: skip
"""What makers of boards leave where a word of theirs was to be."""


@dataclass
class _Draft:
    """What was read so far."""

    made: Inventory
    disks: list[Disk] = field(default_factory=list)
    cards: dict[str, Card] = field(default_factory=dict)
    sensors: list[Sensor] = field(default_factory=list)
    neighbours: dict[str, tuple[str, str]] = field(default_factory=dict)
    tables: Tables = field(default_factory=Tables)


def read_inventory(text: str) -> Inventory | None:
    """What a machine is made of; None for a text that is no inventory, or says nothing of memory and processor."""
    lines = text.split("\n")
    if lines[0] != FIRST_LINE:
        return None
    draft = _Draft(Inventory())
    for line in lines[1:-1][:MOST_LINES]:  # the last one is empty, or broken off
        kind, *words = line.split("\t")
        read = READERS.get(kind)
        if read is not None:
            read(draft, words)
    made = draft.made
    if not made.memory_mib or not made.threads:
        return None
    cards = tuple(
        replace(card, neighbour=draft.neighbours.get(card.name, ("", ""))[0],
                port=draft.neighbours.get(card.name, ("", ""))[1])
        for card in draft.cards.values()
    )  # fmt: skip
    return replace(
        made, bars=draft.tables.bars, slots=draft.tables.slots, disks=tuple(draft.disks), cards=cards,
        sensors=tuple(draft.sensors), bmc=made.bmc or ("ipmi" if draft.tables.has_ipmi else ""),
    )  # fmt: skip


# --- words and numbers ------------------------------------------------------------------------------------------------


def _word(words: list[str], at: int) -> str:
    """A word of a line: what can be printed of it, with single blanks; empty where somebody left it to others."""
    text = _plain(words, at)
    return "" if text.lower() in NOTHING_SAID else text


def _plain(words: list[str], at: int) -> str:
    return " ".join(letters(words[at], LONGEST).split()) if at < len(words) else ""


def _number(words: list[str], at: int, most: int) -> int:
    """A number of a line; 0 where there is none that makes sense."""
    text = words[at] if at < len(words) else ""
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        return 0
    return int(text) if int(text) <= most else 0


def _mac(words: list[str], at: int) -> str:
    text = words[at].lower() if at < len(words) else ""
    return text if MAC.fullmatch(text) and text not in NONE else ""


def _address(words: list[str], at: int) -> str:
    try:
        address = IPv4Address(words[at] if at < len(words) else "")
    except AddressValueError:
        return ""
    usable = not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)
    return str(address) if usable and address.packed[0] not in (0, 255) else ""


# --- a line of each kind ----------------------------------------------------------------------------------------------


def _machine(draft: _Draft, words: list[str]) -> None:
    try:
        uuid = str(UUID(words[3])) if len(words) > 3 else ""
    except ValueError:
        uuid = ""
    vendor, product, serial = (_word(words, at) for at in range(3))
    draft.made = replace(draft.made, vendor=vendor, product=product, serial=serial, uuid=uuid)


def _processor(draft: _Draft, words: list[str]) -> None:
    sockets, cores, threads = (_number(words, at, 1 << 16) for at in (1, 2, 3))
    draft.made = replace(draft.made, processor=_word(words, 0), sockets=sockets, cores=cores, threads=threads)


def _memory(draft: _Draft, words: list[str]) -> None:
    draft.made = replace(draft.made, memory_mib=_number(words, 0, 1 << 44) >> 10)


def _disk(draft: _Draft, words: list[str]) -> None:
    name, sectors = _word(words, 0), _number(words, 1, 1 << 53)
    if name and sectors and len(draft.disks) < MOST_DISKS:
        kind = {"0": "ssd", "1": "hdd"}.get(words[2] if len(words) > 2 else "", "")
        draft.disks.append(Disk(name, sectors * 512, kind, _word(words, 3), _word(words, 4)))


def _card(draft: _Draft, words: list[str]) -> None:
    name, mac = _word(words, 0), _mac(words, 1)
    if name and mac and mac not in draft.cards and len(draft.cards) < MOST_CARDS:
        has_link = words[3:4] == ["1"]
        speed = _number(words, 4, 10_000_000) if has_link else 0
        draft.cards[mac] = Card(name, mac, _word(words, 2), has_link, speed)


def _bmc(draft: _Draft, words: list[str]) -> None:
    draft.made = replace(draft.made, bmc="ipmi", bmc_address=_address(words, 0), bmc_mac=_mac(words, 1))


def _sensor(draft: _Draft, words: list[str]) -> None:
    name, value = _plain(words, 0), " ".join(filter(None, (_plain(words, 1), _plain(words, 2))))
    if name and value and len(draft.sensors) < MOST_SENSORS:
        draft.sensors.append(Sensor(name, value, is_well=words[3:4] in ([], [""], ["ok"])))


def _neighbours(draft: _Draft, words: list[str]) -> None:
    """Who announces itself where, as networkctl(1) gives it with ``--json=short lldp``."""
    try:
        told: Any = json.loads(words[0] if words else "")
    except (ValueError, RecursionError):
        return
    for link in _rows(told, "Neighbors")[:MOST_CARDS]:
        for one in _rows(link, "Neighbors")[:1]:
            said = {key: _said(one.get(key)) for key in ("SystemName", "ChassisID", "PortDescription", "PortID")}
            who, port = said["SystemName"] or said["ChassisID"], said["PortID"] or said["PortDescription"]
            if who:
                draft.neighbours[_said(link.get("InterfaceName"))] = who, port


def _rows(value: object, key: str) -> list[dict[str, Any]]:
    rows = value.get(key) if isinstance(value, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _said(value: object) -> str:
    return _word([value], 0) if isinstance(value, str) else ""


def _tables(draft: _Draft, words: list[str]) -> None:
    """SMBIOS's tables, gzip(1)ed and in base64."""
    try:
        packed = base64.b64decode("".join(words[:1]), validate=True)
        tables = zlib.decompressobj(wbits=31).decompress(packed, MOST_TABLES_B)
    except (binascii.Error, ValueError, zlib.error):
        return
    draft.tables = read_tables(tables)


READERS: Mapping[str, Callable[[_Draft, list[str]], None]] = {
    "machine": _machine, "processor": _processor, "memory": _memory, "disk": _disk, "card": _card, "bmc": _bmc,
    "sensor": _sensor, "lldp": _neighbours, "smbios": _tables,
}  # fmt: skip
