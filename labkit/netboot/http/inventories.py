"""What the machines of a lab are made of, kept from one boot to the next: each hands it in, and is told of what is
another since.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from labkit.events import HardwareChange, Inventoried, Trouble, kept_inventories
from labkit.events.inventory import Inventory
from labkit.events.kept_inventories import Kept, after, name_of, read, write
from labkit.lab import Blade
from labkit.lab.process import steady
from labkit.lab.state import remove_unfinished
from labkit.netboot.clients import ClientBook
from labkit.netboot.http.blade_inventory import read_inventory

AGAIN_S = 60.0
"""A machine that hands in again before so much time has passed is not heard."""
NO_SENSE = "this is no inventory that makes sense"
TOO_SOON = "this machine has told that just now"


class Inventories:
    """The inventories in a folder, a file a machine. ``clients`` tells of them in events."""

    def __init__(self, clients: ClientBook, folder: Path) -> None:
        self._clients, self._folder = clients, folder
        self._heard: dict[str, float] = {}

    def take_blade(self, blade: Blade, boot: str, text: str) -> str:
        """Keep what a blade hands in; why not, or nothing."""
        now = read_inventory(text)
        if now is None or not self._is_heard(blade.name):
            return NO_SENSE if now is None else TOO_SOON
        others = [name_of(mac) for mac in blade.macs]
        before = self.of(blade.name) or next((kept for name in others if (kept := self.of(name)) is not None), None)
        self._keep(blade.name, before, now, blade=blade.name, boot=boot)
        with contextlib.suppress(OSError):
            for name in others:
                self._path(name).unlink(missing_ok=True)
        return ""

    def take_stranger(self, mac: str, text: str) -> str:
        """Keep what a machine hands in that is not in the lab and asked with this card; why not, or nothing."""
        now = read_inventory(text)
        if now is None or not self._is_heard(name_of(mac), kept_inventories.MOST_STRANGERS):
            return NO_SENSE if now is None else TOO_SOON
        self._keep(name_of(mac), self.of(name_of(mac)), now, mac=mac)
        kept_inventories.drop_oldest(self._folder)
        return ""

    def of(self, name: str) -> Kept | None:
        """What is kept of a blade, or under the `name_of` a card."""
        return read(self._folder, name)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _is_heard(self, name: str, most: int | None = None) -> bool:
        """Whether it has not told just now; with ``most``, nor so many others."""
        now = steady.now()
        heard = {other: at for other, at in self._heard.items() if now - at < AGAIN_S}
        self._heard = heard
        if name in heard or (most is not None and len(heard) >= most):
            return False
        self._heard = {**heard, name: now}
        return True

    def _keep(
        self, name: str, before: Kept | None, now: Inventory, *, blade: str = "", boot: str = "", mac: str = ""
    ) -> None:
        kept, found = after(before, now, round(time.time(), 3))
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            remove_unfinished(self._path(name))
            write(self._folder, name, kept)
        except OSError as error:
            detail = f"the inventory of {blade or mac} could not be kept: {error.strerror}"
            self._clients.emit(Trouble(blade=blade, boot=boot, part="bootd", detail=detail))
        macs = tuple(dict.fromkeys((*([mac] if mac else []), *now.macs)))
        self._clients.emit(
            Inventoried(
                blade=blade, boot=boot, words=now.brief, macs=macs, uuid=now.uuid, memory_mib=now.installed_mib,
                bmc=now.bmc_address,
            )
        )  # fmt: skip
        for one in found:
            state = "worse" if one.is_worse else "other"
            self._clients.emit(
                HardwareChange(blade=blade, boot=boot, part=one.part, state=state, detail=one.words, mac=mac)
            )
