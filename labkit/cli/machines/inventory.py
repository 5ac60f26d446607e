"""``./lab inventory``: what each blade is made of, as it told last, and what was another by then."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labkit.cli.answers import answer, find_state, lab_path, terminal_width
from labkit.errors import ParameterError
from labkit.events import kept_inventories
from labkit.events.amounts import room
from labkit.events.inventory import Inventory
from labkit.events.kept_inventories import Kept
from labkit.events.tables import grid
from labkit.lab.lab_yaml import rewrite
from labkit.lab.lab_yaml.adopt import Source, mac_address

NONE = "no machine has told yet what it is made of: a blade does half a minute after its system is up"
UNCHANGED = "nothing has changed since the machines told first"


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verb with ``verb(name, run, words, as_json=…)``, which gives its parser."""
    sub = verb("inventory", show, "what each blade is made of, and what of that has changed", as_json=True)
    sub.add_argument("machine", metavar="BLADE", nargs="?", help="one blade, or a card of a machine that is none")
    sub.add_argument("--changes", action="store_true", help="only what was another from one boot to a later one")


def show(options: argparse.Namespace) -> int:
    """Print the inventories, of all machines or of one."""
    source = rewrite.open_lab(lab_path(options)).source
    found = _all(options, source)
    if options.machine:
        found = _chosen(options, source, found)
    if options.changes:
        text = "\n".join(_changes(found)) or (UNCHANGED if found else NONE)
    elif not found:
        text = NONE
    elif options.machine:
        text = "\n".join(line for name, kept in found.items() for line in _whole(name, kept))
    else:
        text = _table(found)
    answer({name: kept.as_json() for name, kept in found.items()}, options.json, text)
    return 0


def _all(options: argparse.Namespace, source: Source) -> dict[str, Kept]:
    """The blades' by their names, then those of machines that are no blades', by a card."""
    folder = find_state(options).inventory
    found = kept_inventories.read_blades(folder, source.blades)
    for mac, kept in kept_inventories.read_others(folder):
        if not any(source.blade_with_mac(one) for one in (mac, *kept.inventory.macs)):
            found[mac] = kept
    return found


def _chosen(options: argparse.Namespace, source: Source, found: Mapping[str, Kept]) -> dict[str, Kept]:
    names = {blade.name for blade in source.blades}
    name = options.machine if options.machine in names else mac_address(options.machine) if _is_mac(options) else ""
    if not name:
        fix = f"its blades are: {', '.join(sorted(names))}" if names else "./lab machines shows those that asked"
        raise ParameterError(f"there is no blade {options.machine!r}", where=str(source.path), fix=fix)
    if name in found:
        return {name: found[name]}
    for mac, kept in found.items():
        if name in kept.inventory.macs:
            return {mac: kept}
    return {}


def _is_mac(options: argparse.Namespace) -> bool:
    return ":" in options.machine or options.machine.count("-") == 5


def _table(found: Mapping[str, Kept]) -> str:
    head = ["blade", "processor", "memory", "disks", "cards", "BMC", "told"]
    rows = []
    for name, kept in found.items():
        made = kept.inventory
        disks = ", ".join(map(str, made.disks)) or "-"
        cards = ", ".join(f"{card.name} {card.speed}" for card in made.cards) or "-"
        rows.append([name, made.cpu, room(made.installed_mib), disks, cards, _bmc(made) or "-", _when(kept.at)])
    lost = [f"{name}: {change.words}" for name, kept in found.items() for change in kept.latest if change.is_worse]
    return "\n".join([grid(head, rows, terminal_width()), *(["", *lost] if lost else [])])


def _whole(name: str, kept: Kept) -> Iterator[str]:
    """All of one machine, a line for each thing."""
    made = kept.inventory
    what = " ".join(filter(None, (made.vendor, made.product))) or "a machine"
    yield f"{name}: {what}, told {_when(kept.at)}"
    parts = f"{len(made.bars)} of {made.slots} slots" if made.slots else ""
    rows: list[tuple[str, str]] = [
        ("serial", made.serial),
        ("UUID", made.uuid),
        ("processor", made.cpu),
        (
            "memory",
            f"{room(made.installed_mib)}{f', {parts}' if parts else ''}, {room(made.memory_mib)} for its system",
        ),
    ]
    for bar in made.bars:
        speed = f"{bar.speed_mts} MT/s" if bar.speed_mts else ""
        rows.append(("", ", ".join(filter(None, (bar.slot, room(bar.size_mib), bar.kind, speed)))))
    rows += [("disk", f"{disk}{f', serial {disk.serial}' if disk.serial else ''}") for disk in made.disks]
    rows += [("card", f"{card}{f', {card.driver}' if card.driver else ''}") for card in made.cards]
    rows += [("BMC", _bmc(made))]
    rows += [
        ("sensor", f"{one.name}: {one.value}{'' if one.is_well else ', and that is not well'}") for one in made.sensors
    ]
    yield from (f"  {title:10} {words}" for title, words in rows if words)
    yield from (f"  changed    {_when(change.at)}  {change.words}" for change in kept.changes)


def _changes(found: Mapping[str, Kept]) -> list[str]:
    told: list[tuple[float, str, Any]] = [
        (change.at, name, change) for name, kept in found.items() for change in kept.changes
    ]
    return [
        f"{_when(at)}  {name}: {change.words}" for at, name, change in sorted(told, key=lambda one: (one[0], one[1]))
    ]


def _bmc(made: Inventory) -> str:
    """``10.0.0.7 (ipmi)``; that there is one where nothing tells its address."""
    if not made.bmc:
        return ""
    return f"{made.bmc_address} ({made.bmc})" if made.bmc_address else f"{made.bmc}, its address is not told"


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
