"""The memory bars in a machine's SMBIOS tables, and whether it has a management controller. PURE.

By DMTF's DSP0134, "System Management BIOS Reference Specification" 3.7: sections 6.1.2 and 6.1.3 have the form of a
structure, 7.18 the memory devices (type 17), 7.39 the IPMI device (type 38).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from labkit.events.inventory import Bar
from labkit.lab.plain_text import letters

MEMORY_DEVICE, IPMI_DEVICE, END = 17, 38, 127
MOST_STRUCTURES, MOST_BARS = 4096, 256
LONGEST = 64
KINDS = {
    0x0F: "SDRAM", 0x12: "DDR", 0x13: "DDR2", 0x14: "DDR2", 0x18: "DDR3", 0x1A: "DDR4", 0x1B: "LPDDR", 0x1C: "LPDDR2",
    0x1D: "LPDDR3", 0x1E: "LPDDR4", 0x1F: "NVDIMM", 0x20: "HBM", 0x21: "HBM2", 0x22: "DDR5", 0x23: "LPDDR5",
}  # fmt: skip
"""The field "Memory Type" by what people say (table 78)."""
NO_MEMORY = range(0x08, 0x0D)
"""ROM and flash, which some boards list among their memory devices."""


@dataclass(frozen=True)
class Tables:
    """What the tables tell: the bars that are plugged in, how many places there are for such, whether there is IPMI."""

    bars: tuple[Bar, ...] = ()
    slots: int = 0
    has_ipmi: bool = False


def read_tables(tables: bytes) -> Tables:
    """What is in a table as ``/sys/firmware/dmi/tables/DMI`` has it. Total: what is broken off ends it."""
    bars, slots, has_ipmi = [], 0, False
    for kind, body, words in _structures(tables):
        has_ipmi = has_ipmi or kind == IPMI_DEVICE
        if kind == MEMORY_DEVICE and len(body) >= 0x15 and body[0x12] not in NO_MEMORY and slots < MOST_BARS:
            slots += 1
            bar = _bar(body, words, slots)
            bars += [bar] if bar.size_mib else []
    names = Counter(bar.slot for bar in bars)
    told: Counter[str] = Counter()
    for at, bar in enumerate(bars):
        if names[bar.slot] > 1:  # each processor's may be called alike
            told[bar.slot] += 1
            bars[at] = replace(bar, slot=f"{bar.slot} #{told[bar.slot]}")
    return Tables(tuple(bars), slots, has_ipmi)


def _structures(tables: bytes) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """Each structure's type, its formatted part, and its strings, of which the first is number 1."""
    at = 0
    for _ in range(MOST_STRUCTURES):
        if at + 4 > len(tables):
            return
        kind, length = tables[at], tables[at + 1]
        end = tables.find(b"\0\0", at + length)
        if length < 4 or end < 0 or kind == END:
            return
        yield kind, tables[at : at + length], tables[at + length : end].split(b"\0")
        at = end + 2


def _bar(body: bytes, words: list[bytes], number: int) -> Bar:
    size = int.from_bytes(body[0x0C:0x0E], "little")
    size_mib = (size & 0x7FFF) >> 10 if size & 0x8000 else size
    if size == 0xFFFF:  # not known
        size_mib = 0
    elif size == 0x7FFF and len(body) >= 0x20:
        size_mib = int.from_bytes(body[0x1C:0x20], "little") & 0x7FFFFFFF
    speed = int.from_bytes(body[0x15:0x17], "little") if len(body) >= 0x17 else 0
    slot = " ".join(filter(None, (_word(words, body[0x10]), _bank(words, body))))
    return Bar(slot or f"slot {number}", size_mib, KINDS.get(body[0x12], ""), speed if speed != 0xFFFF else 0)


def _bank(words: list[bytes], body: bytes) -> str:
    """The name of its bank, where that of its slot alone says nothing."""
    return "" if _word(words, body[0x10]) else _word(words, body[0x11])


def _word(words: list[bytes], number: int) -> str:
    """A string of a structure; empty for none."""
    if not 0 < number <= len(words):
        return ""
    return letters(words[number - 1].decode("ascii", "replace").replace("�", "").strip(), LONGEST)
