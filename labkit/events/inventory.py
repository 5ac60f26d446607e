"""What a machine is made of, as it told itself; and what of that is another since it told last. PURE.

Amounts are as machines have them: memory and disks in binary units or bytes, a card's speed in Mbit/s.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from labkit.events.amounts import room, size

LESS_MEMORY = 0.03
"""A kernel may keep more or less of the memory for itself; a part of it that is larger than this is missing."""
SHORT_OF = 0.85
"""Of the memory that is plugged in a system sees at least this much; one that sees less does not use all bars."""


@dataclass(frozen=True)
class Bar:
    """A memory bar: the ``slot`` that it is in as the board calls it, MiB, ``DDR4`` or the like, MT/s (0: not told)."""

    slot: str
    size_mib: int
    kind: str = ""
    speed_mts: int = 0


@dataclass(frozen=True)
class Disk:
    """A disk that is built in. ``kind`` is ``hdd`` or ``ssd``."""

    name: str
    size_b: int
    kind: str = ""
    model: str = ""
    serial: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, size(self.size_b), self.kind.upper(), self.model)))


@dataclass(frozen=True)
class Card:
    """A network card: ``speed_mbit`` is 0 where it has no link or does not say; ``neighbour`` and ``port`` are the
    switch that announces itself there (LLDP) and which of its ports that is."""

    name: str
    mac: str
    driver: str = ""
    has_link: bool = False
    speed_mbit: int = 0
    neighbour: str = ""
    port: str = ""

    @property
    def speed(self) -> str:
        """``1 Gbit/s``, ``no link``, or ``link`` where its speed is not told."""
        if not self.has_link:
            return "no link"
        if not self.speed_mbit:
            return "link"
        return f"{self.speed_mbit / 1000:g} Gbit/s" if self.speed_mbit >= 1000 else f"{self.speed_mbit} Mbit/s"

    def __str__(self) -> str:
        at = f" to {self.neighbour}{f' ({self.port})' if self.port else ''}" if self.neighbour else ""
        return f"{self.name} {self.mac} {self.speed}{at}"


@dataclass(frozen=True)
class Sensor:
    """What a sensor says, such as ``CPU Temp``, ``45 degrees C``; ``is_well`` as its controller judges."""

    name: str
    value: str
    is_well: bool = True


@dataclass(frozen=True)
class Inventory:
    """One machine. What it could not tell is empty, or 0.

    ``memory_mib`` is what its system has, ``bars`` what is plugged in, of ``slots`` places for them. ``bmc`` is the
    kind of its management controller, and ``bmc_address`` the address of that, empty where it has none or cannot tell.
    """

    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""
    processor: str = ""
    sockets: int = 0
    cores: int = 0
    threads: int = 0
    memory_mib: int = 0
    slots: int = 0
    bars: tuple[Bar, ...] = ()
    disks: tuple[Disk, ...] = ()
    cards: tuple[Card, ...] = ()
    bmc: str = ""
    bmc_address: str = ""
    bmc_mac: str = ""
    sensors: tuple[Sensor, ...] = ()

    @property
    def macs(self) -> tuple[str, ...]:
        """The addresses of its cards."""
        return tuple(dict.fromkeys(card.mac for card in self.cards))

    @property
    def installed_mib(self) -> int:
        """The memory it was built with: that of its bars, unless the system plainly has not all of it."""
        plugged = sum(bar.size_mib for bar in self.bars)
        return plugged if plugged and self.memory_mib >= SHORT_OF * plugged else self.memory_mib

    @property
    def cpu(self) -> str:
        """Its processor in words."""
        many = f"{self.sockets} × " if self.sockets > 1 else ""
        cores = _many(self.cores, "core") if self.cores else ""
        threads = f"{self.threads} threads" if self.threads > self.cores else ""
        return ", ".join(filter(None, (f"{many}{self.processor}".strip(" ×"), cores, threads)))

    @property
    def brief(self) -> str:
        """Cores, memory, disks and cards on a few words: ``4 cores, 16 GiB, 1 disk (480.1 GB), 2 cards``."""
        all_disks = size(sum(disk.size_b for disk in self.disks))
        disks = f"{_many(len(self.disks), 'disk')} ({all_disks})" if self.disks else ""
        cores = _many(self.cores, "core") if self.cores else ""
        memory = room(self.installed_mib) if self.installed_mib else ""
        cards = _many(len(self.cards), "card") if self.cards else ""
        return ", ".join(filter(None, (cores, memory, disks or "no disk", cards)))

    def as_json(self) -> dict[str, Any]:
        """The same for programs, and for `from_json`."""
        return dataclasses.asdict(self)


def _many(count: int, one: str) -> str:
    return f"{count} {one}{'s' * (count != 1)}"


TYPES = {"str": str, "int": int, "bool": bool}
T = TypeVar("T")


def from_json(value: object) -> Inventory:
    """An inventory from what `Inventory.as_json` gave; what is not known is left out. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("no inventory")
    rows = {name: value.get(name, ()) for name in ("bars", "disks", "cards", "sensors")}
    if not all(isinstance(row, list | tuple) for row in rows.values()):
        raise ValueError("no inventory: a part of it is no list")
    return dataclasses.replace(
        _made(Inventory, {key: one for key, one in value.items() if key not in rows}),
        bars=tuple(_made(Bar, one) for one in rows["bars"]),
        disks=tuple(_made(Disk, one) for one in rows["disks"]),
        cards=tuple(_made(Card, one) for one in rows["cards"]),
        sensors=tuple(_made(Sensor, one) for one in rows["sensors"]),
    )


def _made(kind: type[T], value: object) -> T:
    known = {one.name: TYPES.get(str(one.type)) for one in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(value, dict):
        raise ValueError(f"no {kind.__name__.lower()}")
    given = {key: one for key, one in value.items() if key in known}
    if wrong := [key for key, one in given.items() if type(one) is not known[key]]:
        raise ValueError(f"no {kind.__name__.lower()}: its {wrong[0]} is {given[wrong[0]]!r}"[:200])
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(str(error)) from None


# --- what is another --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """What is another in a ``part`` of a machine, ``memory`` or ``disk`` or …; ``is_worse`` where it has lost by it."""

    part: str
    words: str
    is_worse: bool = False


def differences(before: Inventory, now: Inventory) -> tuple[Difference, ...]:
    """What is another since a machine told last, what it has lost first; of another machine only that it is another."""
    is_another = bool(before.uuid and now.uuid) and before.uuid != now.uuid
    if is_another and not set(before.macs) & set(now.macs):
        was = " ".join(filter(None, (before.vendor, before.product, before.serial))) or f"the one with {before.uuid}"
        return (Difference("machine", f"it is another machine than the last, which was {was}"),)
    found = (*_processors(before, now), *_memory(before, now), *_disks(before, now), *_cards(before, now))
    rest = (*_bmc(before, now), *_sensors(before, now))
    return tuple(sorted((*found, *rest), key=lambda one: not one.is_worse))


def _processors(before: Inventory, now: Inventory) -> Iterator[Difference]:
    for name, one in (("sockets", "processor"), ("cores", "core"), ("threads", "thread")):
        was, has = getattr(before, name), getattr(now, name)
        if was and has and was != has:
            yield Difference("processor", f"it has {_many(has, one)}, and had {was}", has < was)
            return


def _memory(before: Inventory, now: Inventory) -> Iterator[Difference]:
    was, has = ({bar.slot: bar for bar in one.bars} for one in (before, now))
    changed = False
    for slot in dict.fromkeys((*was, *has)) if was and has else ():
        old, new = was.get(slot), has.get(slot)
        if old is not None and (new is None or new.size_mib < old.size_mib):
            left = (
                f" has {room(new.size_mib)} of its {room(old.size_mib)}" if new else f", {room(old.size_mib)}, is gone"
            )
            yield Difference("memory", f"the memory bar in {slot}{left}", is_worse=True)
            changed = True
        elif new is not None and (old is None or new.size_mib > old.size_mib):
            yield Difference("memory", f"there is a new memory bar in {slot}, {room(new.size_mib)}")
            changed = True
    if changed or not (before.memory_mib and now.memory_mib):
        return
    by = now.memory_mib - before.memory_mib
    if abs(by) > LESS_MEMORY * before.memory_mib:
        words = f"its system has {room(now.memory_mib)} of memory, and had {room(before.memory_mib)}"
        yield Difference("memory", words, by < 0)


def _disks(before: Inventory, now: Inventory) -> Iterator[Difference]:
    def key(disk: Disk) -> tuple[str, ...]:
        return (disk.serial,) if disk.serial else (disk.model, str(disk.size_b))

    was, has = (Counter(map(key, one.disks)) for one in (before, now))
    for disk in _without(before.disks, was - has, key):
        yield Difference("disk", f"the disk {disk} is gone", is_worse=True)
    for disk in _without(now.disks, has - was, key):
        yield Difference("disk", f"there is a new disk, {disk}")


def _without(disks: Iterable[Disk], missing: Counter[tuple[str, ...]], key: Any) -> Iterator[Disk]:
    for disk in disks:
        if missing[key(disk)] > 0:
            missing[key(disk)] -= 1
            yield disk


def _cards(before: Inventory, now: Inventory) -> Iterator[Difference]:
    was, has = ({card.mac: card for card in one.cards} for one in (before, now))
    for mac in dict.fromkeys((*was, *has)):
        old, new = was.get(mac), has.get(mac)
        if new is None:
            yield Difference("card", f"the network card {was[mac].name} ({mac}) is gone", is_worse=True)
        elif old is None:
            yield Difference("card", f"there is a new network card, {new.name} ({mac})")
        else:
            yield from _link(old, new)


def _link(old: Card, new: Card) -> Iterator[Difference]:
    if old.has_link and not new.has_link:
        yield Difference("card", f"{new.name} ({new.mac}) has no link any more", is_worse=True)
        return
    if new.has_link and not old.has_link:
        yield Difference("card", f"{new.name} ({new.mac}) has a link, and had none")
    elif old.speed_mbit and new.speed_mbit and old.speed_mbit != new.speed_mbit:
        words = f"{new.name} ({new.mac}) has {new.speed}, and had {old.speed}"
        yield Difference("card", words, new.speed_mbit < old.speed_mbit)
    if old.neighbour and new.neighbour and (old.neighbour, old.port) != (new.neighbour, new.port):
        is_at, was_at = (f"{one.neighbour} {one.port}".strip() for one in (new, old))
        yield Difference("card", f"{new.name} ({new.mac}) is plugged into {is_at}, and was into {was_at}")


def _bmc(before: Inventory, now: Inventory) -> Iterator[Difference]:
    if before.bmc_address and now.bmc_address and before.bmc_address != now.bmc_address:
        yield Difference("bmc", f"its BMC has the address {now.bmc_address}, and had {before.bmc_address}")


def _sensors(before: Inventory, now: Inventory) -> Iterator[Difference]:
    was = {sensor.name for sensor in before.sensors if sensor.is_well}
    for sensor in now.sensors:
        if not sensor.is_well and sensor.name in was:
            yield Difference("sensor", f"its sensor {sensor.name} says {sensor.value}", is_worse=True)
