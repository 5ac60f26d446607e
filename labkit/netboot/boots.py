"""The boot book: which boot of which blade is the current one, and what that boot may fetch.

A boot begins when we switch a blade on, or when its firmware looks for a boot server after the current boot already
asked for its kernel. Its plan is frozen: retries get the same bytes.

With a boot its **join window** opens, in which its ticket is good for a place in the swarm: always when we began the
boot or its blade said it would be back, and, unless the lab forbids it, when a blade just came. It closes when the
blade has joined or the time is up.

The book's file holds identities and states, no secrets: a boot's ticket is derived from the lab's key, so a restarted
server goes on where the last one stopped.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from labkit.boot import BootPlan, Resource
from labkit.errors import LabkitError, MachineError
from labkit.lab import Blade, Lab
from labkit.lab.secret import Secret
from labkit.lab.state import remove_unfinished, write_whole

SCHEMA = 1

Prepare = Callable[[Blade, str, Secret], tuple[BootPlan, Mapping[str, Resource]]]
"""Blade, boot and ticket to the plan and all it may fetch. Raises LabkitError."""


@dataclass(frozen=True)
class Boot:
    """One boot of one blade.

    ``begun`` is wall-clock seconds; ``kernel`` says that it asked for its kernel, ``joined`` that it needs no ticket to
    join with any more. ``opened`` is when its join window opened, ``returning`` when it said that its blade reboots,
    both 0 for never.
    """

    blade: str
    id: str
    cause: str
    begun: float
    kernel: bool = False
    joined: bool = False
    opened: float = 0.0
    returning: float = 0.0


@dataclass(frozen=True)
class Frozen:
    """A boot's plan and everything it may fetch, or ``error``, why there is no plan."""

    boot: str
    plan: BootPlan | None
    resources: Mapping[str, Resource]
    error: str = ""


def ticket(key: Secret, blade: str, boot: str) -> Secret:
    """The ticket of one boot: an HMAC-SHA256 in hex (RFC 2104)."""
    return Secret(hmac.new(key.reveal().encode(), f"{blade}/{boot}".encode(), "sha256").hexdigest())


class BootBook:
    """The boots of a lab's blades. Safe to use from several threads."""

    def __init__(self, lab: Lab, key: Secret, path: Path, prepare: Prepare) -> None:
        self._lab, self._key, self._path, self._prepare = lab, key, path, prepare
        self._lock = threading.RLock()
        names = {blade.name for blade in lab.blades}
        self._boots = {name: boot for name, boot in _load(path).items() if name in names}
        self._frozen: dict[str, Frozen] = {}
        self._is_unsaved = False

    def current(self, blade: str) -> Boot | None:
        """The blade's current boot."""
        return self._boots.get(blade)

    def all(self) -> Mapping[str, Boot]:
        """The current boots, by blade."""
        with self._lock:
            return dict(self._boots)

    def begin(self, blade: str, cause: str, now: float | None = None) -> Boot:
        """Begin a new boot; the one before it is over, and its ticket with it."""
        with self._lock:
            boot = self._begin(blade, cause, time.time() if now is None else now)
            self.save()
        return boot

    def _begin(self, blade: str, cause: str, begun: float) -> Boot:
        opened = begun if self._welcome(self._boots.get(blade), cause, begun) else 0.0
        boot = Boot(self._lab.blade(blade).name, secrets.token_hex(4), cause, round(begun, 3), opened=round(opened, 3))
        self._frozen.pop(blade, None)
        self._boots[blade] = boot
        self._is_unsaved = True
        return boot

    def sought(self, blade: str) -> Boot | None:
        """The blade's firmware looks for a boot server: the boot that begins so, None where the current one goes on.

        It is on disk after the next `save`, and its blade must not hear of it before: a rack that is switched on costs
        one writing.
        """
        with self._lock:
            boot = self._boots.get(blade)
            return self._begin(blade, "pxe", time.time()) if boot is None or boot.kernel else None

    def asked(self, blade: str, path: str) -> None:
        """Note that a boot asks for a file. After the kernel, the next look for a boot server is another boot's."""
        with self._lock:
            boot = self._boots.get(blade)
            if boot is None or boot.kernel:
                return
            plan = self.frozen(boot).plan
            if plan is not None and path == plan.kernel:
                self._put(replace(boot, kernel=True))

    def joined(self, blade: str) -> None:
        """Close the join window of a blade's current boot."""
        with self._lock:
            boot = self._boots.get(blade)
            if boot is not None and not boot.joined:
                self._put(replace(boot, kernel=True, joined=True))

    def _welcome(self, before: Boot | None, cause: str, now: float) -> bool:
        """Whether a boot that begins now may join, with ``before`` the boot before it."""
        rules = self._lab.swarm
        announced = before is not None and now - before.returning < rules.window_s
        return cause == "power" or rules.window_on_discover or announced

    def open(self, blade: str, now: float | None = None) -> Boot | None:
        """Open the join window of a blade's current boot, by a person's word. None when there is nothing to open."""
        with self._lock:
            boot = self._boots.get(blade)
            if boot is None or boot.joined:
                return None
            boot = replace(boot, opened=round(time.time() if now is None else now, 3))
            self._put(boot)
            return boot

    def returning(self, blade: str, now: float | None = None) -> None:
        """Note that a blade leaves in order to reboot: its next boot may join."""
        with self._lock:
            boot = self._boots.get(blade)
            if boot is not None:
                self._put(replace(boot, returning=round(time.time() if now is None else now, 3)))

    def is_open(self, boot: Boot, now: float | None = None) -> bool:
        """Whether a boot's ticket is good for a place in the swarm now."""
        moment = time.time() if now is None else now
        return not boot.joined and 0 <= moment - boot.opened < self._lab.swarm.window_s

    def ticket(self, boot: Boot) -> Secret:
        """The boot's ticket."""
        return ticket(self._key, boot.blade, boot.id)

    def frozen(self, boot: Boot) -> Frozen:
        """What a boot may fetch, planned when first asked for."""
        with self._lock:
            frozen = self._frozen.get(boot.blade)
            if frozen is None or frozen.boot != boot.id:
                frozen = self._frozen[boot.blade] = self.freeze(boot)
            return frozen

    def freeze(self, boot: Boot) -> Frozen:
        """Plan a boot anew."""
        blade = self._lab.blade(boot.blade)
        try:
            return Frozen(boot.id, *self._prepare(blade, boot.id, self.ticket(boot)))
        except LabkitError as error:
            return Frozen(boot.id, None, {}, str(error))

    def _put(self, boot: Boot) -> None:
        self._boots[boot.blade] = boot
        self._is_unsaved = True
        self.save()

    def save(self) -> None:
        """Put on disk what is not there yet, a boot a line. Raises OSError."""
        with self._lock:
            if self._is_unsaved:
                rows = ",\n".join(json.dumps(vars(one)) for one in self._boots.values())
                write_whole(self._path, f'{{"v": {SCHEMA}, "boots": [\n{rows}\n]}}\n')
                self._is_unsaved = False


def _load(path: Path) -> dict[str, Boot]:
    """The saved boots. Raises MachineError when the file is not a boot book."""
    remove_unfinished(path)
    if not path.exists():
        return {}
    try:
        boots = [Boot(**row) for row in json.loads(path.read_bytes())["boots"]]
    except (KeyError, TypeError, ValueError) as error:
        what = f"this is not a boot book: {error!r}"
        raise MachineError(what, where=str(path), fix="remove it: blades that are booting begin again") from None
    return {boot.blade: boot for boot in boots}
