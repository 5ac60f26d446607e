"""The inventories that are kept, a file of JSON for each machine: what it told last, and what was another by then.

A blade's file is called as the blade is, and that of a machine that is not in the lab by the card that asked. The boot
server keeps them for itself, and the lab's owner gets a copy of each in the state folder (``State.inventory``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.events.inventory import Difference, Inventory, differences, from_json
from labkit.lab import Blade
from labkit.lab.state import write_whole

SCHEMA = 1
MOST_CHANGES = 50
MOST_STRANGERS = 256
"""Of so many machines that are not in the lab an inventory is kept: a network may be full of made-up addresses."""
LARGEST_B = 256 << 10
OF_MAC = re.compile(r"mac_(?:[0-9a-f]{2}-){5}[0-9a-f]{2}")


@dataclass(frozen=True)
class Change:
    """A `Difference` that was told at a time, in seconds since the epoch."""

    at: float
    part: str
    words: str
    is_worse: bool = False


@dataclass(frozen=True)
class Kept:
    """What a machine told last and when, in seconds since the epoch, and the last `MOST_CHANGES`, the newest behind."""

    at: float
    inventory: Inventory
    changes: tuple[Change, ...] = ()

    @property
    def latest(self) -> tuple[Change, ...]:
        """What was another when it told last."""
        return tuple(change for change in self.changes if change.at == self.at)

    def as_json(self) -> dict[str, Any]:
        """The same for programs, and for `from_file`."""
        changes = [dataclasses.asdict(change) for change in self.changes]
        return {"v": SCHEMA, "at": self.at, "inventory": self.inventory.as_json(), "changes": changes}


def after(before: Kept | None, now: Inventory, at: float) -> tuple[Kept, tuple[Difference, ...]]:
    """What is kept once a machine has told, and what of it is another than before."""
    found = differences(before.inventory, now) if before is not None else ()
    told = [Change(at, one.part, one.words, one.is_worse) for one in found]
    changes = (*(before.changes if before is not None else ()), *told)
    return Kept(at, now, changes[-MOST_CHANGES:]), found


def name_of(mac: str) -> str:
    """What the file of a machine that is not in the lab is called."""
    return f"mac_{mac.replace(':', '-')}"


def mac_of(name: str) -> str:
    """The card that such a name tells of; empty for a blade's."""
    return name.removeprefix("mac_").replace("-", ":") if OF_MAC.fullmatch(name) else ""


def parse(value: object) -> Kept:
    """A kept inventory from its JSON. Raises ValueError."""
    if not isinstance(value, dict) or not isinstance(value.get("changes", []), list):
        raise ValueError("no kept inventory")
    try:
        changes = tuple(Change(**one) for one in value.get("changes", []))
        return Kept(float(value["at"]), from_json(value["inventory"]), changes)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no kept inventory: {error!r}") from None


def read(folder: Path, name: str) -> Kept | None:
    """What is kept of a machine; None for nothing, and for what is no inventory: the next one takes its place."""
    try:
        with (folder / f"{name}.json").open("rb") as file:
            return parse(json.loads(file.read(LARGEST_B)))
    except (OSError, ValueError, RecursionError):
        return None


def write(folder: Path, name: str, kept: Kept) -> None:
    """Keep it. Raises OSError."""
    write_whole(folder / f"{name}.json", json.dumps(kept.as_json(), indent=1) + "\n")


def drop_oldest(folder: Path) -> None:
    """Forget all but `MOST_STRANGERS` of the machines that are not in the lab, those that told last."""
    with contextlib.suppress(OSError):
        kept = [path for path in folder.glob("mac_*.json") if mac_of(path.stem)]
        for path in sorted(kept, key=lambda path: path.stat().st_mtime)[:-MOST_STRANGERS]:
            path.unlink()


def read_blades(folder: Path, blades: Iterable[Blade]) -> dict[str, Kept]:
    """What is kept of a lab's blades by their names; of one that was adopted since it told, what it told by then."""
    found = {}
    for blade in blades:
        names = (blade.name, *map(name_of, blade.macs))
        kept = next((kept for name in names if (kept := read(folder, name)) is not None), None)
        if kept is not None:
            found[blade.name] = kept
    return found


def told_mib(folder: Path, blades: Iterable[Blade]) -> dict[str, int]:
    """The memory in MiB that the blades of a lab told of, by their names."""
    return {name: kept.inventory.installed_mib for name, kept in read_blades(folder, blades).items()}


def read_others(folder: Path) -> Iterator[tuple[str, Kept]]:
    """What is kept of machines that were not in the lab when they told, each with the card that asked."""
    for path in sorted(folder.glob("mac_*.json")):
        mac, kept = mac_of(path.stem), read(folder, path.stem)
        if mac and kept is not None:
            yield mac, kept
