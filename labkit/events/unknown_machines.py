"""The machines that asked and are not in the lab, from its events: cards of one machine together. PURE.

A machine that was looked at (`Inventoried`) has told its cards, and what it says counts. Of the others:
Firmware tells its machine's UUID whichever card it asks by. Two ways of writing its bytes are in use, and boards
without one of their own say what their maker left there: `_identity` takes care of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from labkit.events.blade_kinds import Inventoried
from labkit.events.kinds import Dhcp, Event, LabEvent, UnknownMachine

MOST_MACHINES = 1024
"""So many cards are kept, the last to ask: a network may be full of addresses that somebody makes up."""
MOST_CARDS = 8
"""More cards than that with one UUID are boards that share it."""
MOST_TOLD = 32
"""So many of the cards that a machine tells of count."""
NOBODYS = frozenset(
    UUID(text)
    for text in (
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",  # AMI's, on boards whose maker wrote none
        "12345678-1234-5678-90ab-cddeefaabbcc",
    )
)


@dataclass(frozen=True)
class Machine:
    """A machine that is not in the lab.

    ``macs`` are its cards in the order in which they first asked; ``first`` and ``last`` are when it asked, in seconds
    since the epoch; ``clients`` with what (`labkit.boot.loaders.Client`); ``arch`` the numbers of its architectures.
    ``uuid`` and ``arch`` are empty where nothing told them. ``words`` says what it is made of and ``bmc`` is the
    address of its management controller, both as it told itself.
    """

    macs: tuple[str, ...]
    first: float
    last: float
    uuid: str = ""
    arch: str = ""
    clients: tuple[str, ...] = ()
    words: str = ""
    bmc: str = ""

    @property
    def boots(self) -> bool:
        """Whether its firmware asked, and not only a system that runs on it."""
        return any(client != "os" for client in self.clients)

    @property
    def identity(self) -> UUID | None:
        """What tells it from others, whichever way its UUID was written; None where nothing does."""
        return _identity(self.uuid)


def unknown_machines(stream: Iterable[Event]) -> tuple[Machine, ...]:
    """The machines that the lab which ran last did not know, in the order in which they first asked.

    A machine of which a card was adopted since is among them, with all its cards.
    """
    cards: dict[str, Machine] = {}
    heard: dict[str, Machine] = {}
    told: dict[str, Inventoried] = {}
    for event in stream:
        if isinstance(event, LabEvent) and event.state == "starting":
            cards, heard = {}, {}
        elif isinstance(event, Inventoried):  # of machines that are on, a lab that was down and up again hears no more
            _keep_told(told, event)
        elif isinstance(event, UnknownMachine):
            before = cards.get(event.mac, Machine((event.mac,), event.time, event.time))
            _keep(cards, event.mac, _after(before, event.time, event.client, event.arch, event.uuid))
        elif isinstance(event, Dhcp) and not event.blade:
            before = heard.get(event.mac, Machine((event.mac,), event.time, event.time))
            _keep(heard, event.mac, _after(before, event.time, event.client, event.arch))
    return _together([_joined(card, heard[mac]) if mac in heard else card for mac, card in cards.items()], told)


def _keep_told(told: dict[str, Inventoried], event: Inventoried) -> None:
    """Keep it under each card that it names; what was told last of a card counts."""
    for mac in event.macs[:MOST_TOLD]:
        told.pop(mac, None)
        told[mac] = event
    while len(told) > MOST_MACHINES:
        del told[next(iter(told))]


def _keep(cards: dict[str, Machine], mac: str, card: Machine) -> None:
    """Put a card last, and drop those that asked longest ago where there are too many."""
    cards.pop(mac, None)
    cards[mac] = card
    while len(cards) > MOST_MACHINES:
        del cards[next(iter(cards))]


def _after(card: Machine, now: float, client: str, arch: str, uuid: str = "") -> Machine:
    clients = card.clients if client in ("", *card.clients) else (*card.clients, client)
    return replace(card, last=now, clients=clients, arch=arch or card.arch, uuid=uuid or card.uuid)


def _together(cards: list[Machine], told: dict[str, Inventoried]) -> tuple[Machine, ...]:
    """Cards as machines, each at the place of its first card."""
    of: dict[object, list[Machine]] = {}
    same = {identity: event for event in told.values() if (identity := _identity(event.uuid)) is not None}
    for card in sorted(cards, key=lambda card: card.first):
        event = told.get(card.macs[0]) or (same.get(card.identity) if card.identity is not None else None)
        of.setdefault(event or card.identity or card.macs, []).append(card)
    found: list[Machine] = []
    for key, group in of.items():
        if len(group) > MOST_CARDS and not isinstance(key, Inventoried):
            found += group
            continue
        machine, *others = group
        for other in others:
            machine = _joined(machine, other)
        if isinstance(key, Inventoried):
            macs = tuple(dict.fromkeys((*machine.macs, *key.macs[:MOST_TOLD])))
            machine = replace(machine, macs=macs, uuid=machine.uuid or key.uuid, words=key.words, bmc=key.bmc)
        found.append(machine)
    return tuple(sorted(found, key=lambda machine: machine.first))


def _joined(one: Machine, other: Machine) -> Machine:
    """Two sights of one machine."""
    return Machine(
        macs=tuple(dict.fromkeys((*one.macs, *other.macs))),
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        uuid=one.uuid or other.uuid,
        arch=one.arch or other.arch,
        clients=tuple(dict.fromkeys((*one.clients, *other.clients))),
    )


def _identity(text: str) -> UUID | None:
    try:
        uuid = UUID(text)
    except ValueError:  # empty, or of a file that somebody wrote by hand
        return None
    swapped = UUID(bytes=uuid.bytes_le)
    return None if NOBODYS & {uuid, swapped} else min(uuid, swapped)
