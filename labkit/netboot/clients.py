"""The clients of the boot server: which blade speaks from an address, on which of its boots, and what it may have.

One object that DHCP, TFTP and HTTP share, from two threads: leases and boots change here, and every event leaves here,
stamped with its blade and boot.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from labkit.boot import Rendered, Resource
from labkit.boot.discovery import discovery_files
from labkit.events import (
    REHEARSAL,
    BootStarted,
    Dhcp,
    Event,
    Inventoried,
    Note,
    Ticket,
    Transfer,
    Trouble,
    UnknownMachine,
)
from labkit.lab import Blade, Lab
from labkit.lab.process import steady
from labkit.netboot import arp
from labkit.netboot.boots import Boot, BootBook
from labkit.netboot.dhcp import leases as leasebook
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.leases import LeaseBook
from labkit.netboot.rehearsals import Rehearsals

FOREIGN_EVENTS = 50
FOREIGN_WINDOW_S = 10.0
"""So many events about machines that are no blades are kept in so long: a noisy network must not fill the disk."""
BLADE_EVENTS, BLADE_EVENTS_S = 1000, 1.0
"""Of a blade so many at once, and one more each second: a boot makes fifty, and what runs on it may ask for ever."""
UNKNOWN_AGAIN_S = 600.0
UNKNOWN_KEPT = 1024

parsed = lru_cache(maxsize=1024)(IPv4Address)
"""An address from its text; those who speak are few, and speak often."""


TOO_MANY = "it asks so much that only a part of that is told from here on"


@dataclass
class _Room:
    """How many events of one blade are told still. ``is_news`` until it was said that some are not."""

    left: float = BLADE_EVENTS
    at: float = -1.0
    is_news: bool = True

    def take(self, now: float) -> bool:
        """Whether there is room for one more at a moment of a clock that goes evenly."""
        if self.at >= 0:
            self.left = min(BLADE_EVENTS, self.left + (now - self.at) / BLADE_EVENTS_S)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        self.is_news = self.is_news or self.left > BLADE_EVENTS / 2
        return True


def _is_of_any_number(event: Event) -> bool:
    """Whether a client can have as many of such events as it likes."""
    return isinstance(event, Transfer | Dhcp) or (isinstance(event, Ticket) and event.state == "refused")


@dataclass(frozen=True)
class Refusal:
    """Why an address does not get a file."""

    reason: str


class ClientBook:
    """Who is who. ``emit`` takes finished events and may be called from any thread."""

    def __init__(self, lab: Lab, boots: BootBook, path: Path, emit: Callable[[Event], None]) -> None:
        self.lab, self.boots = lab, boots
        self._rehearsals = Rehearsals(boots)
        self._path, self._emit = path, emit
        self._leases = leasebook.load(path)
        self._is_unsaved = False
        self._unplanned: deque[Boot] = deque()
        self._lock = threading.Lock()
        self._window_began, self._window_count = 0.0, 0
        self._unknown: dict[tuple[str, str, str], float] = {}
        self._rooms = {blade.name: _Room() for blade in lab.blades}
        self._discovered: Mapping[str, Resource] | None = None

    def take_lab(self, lab: Lab) -> None:
        """Know these blades from now on. One that is gone is a stranger: it gets no file, and its boot is over.

        Raises OSError when the boots cannot be written.
        """
        with self._lock:
            self.lab = lab
            self._rooms = {blade.name: self._rooms.get(blade.name, _Room()) for blade in lab.blades}
            self._unknown.clear()
            self._discovered = None
        self.boots.take_lab(lab)

    @property
    def leases(self) -> LeaseBook:
        return self._leases

    def mac_at(self, address: str) -> str:
        """The card that an address is leased to now; behind a proxy, which the kernel knows by it. Empty for none."""
        try:
            of = parsed(address)
        except AddressValueError:
            return ""
        if self.lab.network.is_proxy:
            return arp.mac_at(of, self.lab.network.interface) or ""
        return self._leases.holder(of, steady.now()) or ""

    def blade_at(self, address: str) -> Blade | None:
        """The blade whose card has an address now."""
        mac = self.mac_at(address)
        return self.lab.blade_with_mac(mac) if mac else None

    def boot_at(self, address: str) -> Boot | None:
        """The current boot of the blade at an address."""
        blade = self.blade_at(address)
        return self.boots.current(blade.name) if blade is not None else None

    def lookup(self, address: str, path: str) -> Resource | Refusal:
        """What an address may have under a path without a leading slash. Once a boot has joined, it gets no secrets."""
        blade = self.blade_at(address)
        if blade is None and self.lab.network.discover and self.mac_at(address):
            return self._discovery().get(path) or Refusal("not a file for a machine that is not in the lab")
        rehearsed = self._rehearsals.of(blade.name) if blade is not None else None
        if rehearsed is not None:
            return rehearsed.frozen.resources.get(path) or Refusal("not a file of this boot")
        boot = self.boots.current(blade.name) if blade is not None else None
        if boot is None:
            return Refusal("no blade is booting at this address")
        frozen = self.boots.frozen(boot)
        if frozen.plan is None:
            return Refusal(f"this boot has no plan: {frozen.error}")
        resource = frozen.resources.get(path)
        if resource is None:
            return Refusal("not a file of this boot")
        if isinstance(resource, Rendered) and resource.secret and boot.joined:
            return Refusal("this boot has joined: its secrets are no longer given out")
        self.boots.asked(boot.blade, path)
        return resource

    def _discovery(self) -> Mapping[str, Resource]:
        """What machines that are not in the lab boot: the same for all of them."""
        with self._lock:
            if self._discovered is None:
                self._discovered = discovery_files(self.lab)
            return self._discovered

    def adopt(self, decision: Decision) -> None:
        """Take over what a DHCP decision changed. Its replies must wait for `save`, the plan of its boot need not be
        waited for: see `plan_next`.
        """
        self._leases = decision.leases
        self._is_unsaved = self._is_unsaved or decision.must_save
        if decision.boots and self._rehearsals.of(decision.boots) is None:
            boot = self.boots.sought(decision.boots)
            if boot is not None:
                self.emit(BootStarted(blade=boot.blade, boot=boot.id, cause=boot.cause))
                self._unplanned.append(boot)

    def plan_next(self) -> bool:
        """Plan one of the boots that `adopt` began, and tell if it cannot be served. False when none is left."""
        if not self._unplanned:
            return False
        self._plan(self._unplanned.popleft())
        return True

    def save(self) -> None:
        """Put on disk what has to be there before a client may rely on it. Raises OSError."""
        self.boots.save()
        if self._is_unsaved:
            leasebook.save(self._leases, self._path)
            self._is_unsaved = False

    def begun(self, boot: Boot) -> None:
        """Tell that a boot began, and at once whether it cannot be served."""
        self.emit(BootStarted(blade=boot.blade, boot=boot.id, cause=boot.cause))
        self._plan(boot)

    def _plan(self, boot: Boot) -> None:
        current = self.boots.current(boot.blade)
        if current is None or current.id != boot.id:
            return
        frozen = self.boots.frozen(boot)
        if frozen.error:
            self.emit(Trouble(blade=boot.blade, boot=boot.id, part="plan", detail=frozen.error))
        for note in frozen.plan.notes if frozen.plan is not None else ():
            self.emit(Note(blade=boot.blade, boot=boot.id, detail=note))

    def rehearse(self, blade: Blade) -> None:
        """Begin a rehearsal (see `rehearsal`). Raises ControlError."""
        self._rehearsals.begin(blade, self._leases)

    def end_rehearsal(self, blade: Blade) -> None:
        """End a rehearsal, if there is one. Raises OSError when the leases cannot be written."""
        leases = self._rehearsals.end(blade, self._leases)
        self._is_unsaved = self._is_unsaved or leases is not self._leases
        self._leases = leases
        self.save()

    def emit(self, event: Event) -> None:
        """Stamp an event with its blade and boot, and hand it on; too many about strangers are dropped."""
        name, identity = event.blade, event.boot
        if not name and isinstance(event, Transfer) and event.address:
            blade = self.blade_at(event.address)
            name = blade.name if blade is not None else ""
        if name and not identity:
            boot = self.boots.current(name)
            is_rehearsed = self._rehearsals.of(name) is not None
            identity = REHEARSAL if is_rehearsed else boot.id if boot is not None else ""
            event = replace(event, blade=name, boot=identity, time=event.time or time.time())
        with self._lock:
            if (room := self._rooms.get(event.blade)) and _is_of_any_number(event):
                if room.take(time.monotonic()):
                    self._emit(event)
                elif room.is_news:
                    room.is_news = False
                    self._emit(Trouble(blade=event.blade, boot=event.boot, part="bootd", detail=TOO_MANY))
            elif event.blade or isinstance(event, Inventoried) or self._has_room(event, time.monotonic()):
                self._emit(event)

    def _has_room(self, event: Event, now: float) -> bool:
        if isinstance(event, UnknownMachine):
            told = (event.mac, event.uuid, event.client)  # its firmware may say more than its system did
            if now - self._unknown.get(told, -UNKNOWN_AGAIN_S) < UNKNOWN_AGAIN_S:
                return False
            while len(self._unknown) >= UNKNOWN_KEPT:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[told] = now
        if now - self._window_began > FOREIGN_WINDOW_S:
            self._window_began, self._window_count = now, 0
        self._window_count += 1
        return self._window_count <= FOREIGN_EVENTS
