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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from labkit.boot import BootPlan, BootSecrets, Resource, held
from labkit.errors import LabkitError, MachineError
from labkit.lab import Blade, Lab
from labkit.lab.process import steady
from labkit.lab.secret import Secret
from labkit.lab.state import remove_unfinished, write_whole

SCHEMA = 1

Prepare = Callable[[Blade, str, BootSecrets], tuple[BootPlan, Mapping[str, Resource]]]
"""Blade, boot and what only that boot may know to the plan and all it may fetch. Raises LabkitError."""


@dataclass(frozen=True)
class Boot:
    """One boot of one blade.

    ``begun`` is wall-clock seconds; ``kernel`` says that it asked for its kernel, ``joined`` that it needs no ticket to
    join with any more. ``opened`` is when its join window opened, ``returning`` when it said that its blade reboots,
    both 0 for never. ``again`` says that it has joined, was put out of the swarm while it ran, and may join once more.
    ``version`` tells what it brought (`labkit.boot.boot_version`), empty before it was planned.
    ``disk`` is what a boot of the blade said last of its disk, in words, and ``found`` the mark of what was on it,
    ``told`` whether it was this boot;
    ``wipe`` is such a mark that this boot may wipe, by a person's word, and ``wipe_next`` one that the next boot may.
    ``expected`` is when somebody meant to switch the blade on, and nobody could be asked whether it was off: the next
    boot within the window is ours. ``held`` is why it gets no kernel, empty where it does.
    """

    blade: str
    id: str
    cause: str
    begun: float
    kernel: bool = False
    joined: bool = False
    opened: float = 0.0
    returning: float = 0.0
    expected: float = 0.0
    held: str = ""
    again: bool = False
    version: str = ""
    disk: str = ""
    found: str = ""
    told: bool = False
    wipe: str = ""
    wipe_next: str = ""


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

    def take_lab(self, lab: Lab) -> None:
        """Keep the boots of these blades alone from now on."""
        with self._lock:
            self._lab = lab
            names = {blade.name for blade in lab.blades}
            self._boots = {name: boot for name, boot in self._boots.items() if name in names}
            self._is_unsaved = True
            self.save()

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
            boot = self._begin(blade, cause, steady.now() if now is None else now)
            self.save()
        return boot

    def _begin(self, blade: str, cause: str, begun: float) -> Boot:
        before = self._boots.get(blade)
        opened = begun if self._welcome(before, cause, begun) else 0.0
        boot = Boot(
            self._lab.blade(blade).name, secrets.token_hex(4), cause, round(begun, 3), opened=round(opened, 3),
            held=before.held if before is not None else "",
            disk=before.disk if before is not None else "", found=before.found if before is not None else "",
            wipe=before.wipe_next if before is not None else "",
        )  # fmt: skip
        self._frozen.pop(blade, None)
        self._boots[blade] = boot
        self._is_unsaved = True
        return boot

    def expect(self, blade: str) -> Boot | None:
        """A boot may be about to begin by our doing, of a blade whose power nobody can be asked for: the boot that
        begins so, or None while the one it is in may go on.
        """
        with self._lock:
            boot = self._boots.get(blade)
            if boot is None or not boot.kernel:
                return self.begin(blade, "power")
            self._put(replace(boot, expected=round(steady.now(), 3)))
            return None

    def sought(self, blade: str) -> Boot | None:
        """The blade's firmware looks for a boot server: the boot that begins so, None where the current one goes on.

        It is on disk after the next `save`, and its blade must not hear of it before: a rack that is switched on costs
        one writing.
        """
        with self._lock:
            boot = self._boots.get(blade)
            if boot is not None and not boot.kernel:
                return None
            now = steady.now()
            is_ours = boot is not None and now - boot.expected < self._lab.swarm.window_s
            return self._begin(blade, "power" if is_ours else "pxe", now)

    def asked(self, blade: str, path: str) -> None:
        """Note that a boot asks for a file. After the kernel, the next look for a boot server is another boot's."""
        with self._lock:
            boot = self._boots.get(blade)
            if boot is None or boot.kernel:
                return
            plan = self.frozen(boot).plan
            if plan is not None and path == plan.kernel:
                self._put(replace(self._boots[blade], kernel=True))  # planning it has told its version

    def joined(self, blade: str) -> None:
        """Close the join window of a blade's current boot."""
        with self._lock:
            boot = self._boots.get(blade)
            if boot is not None and (not boot.joined or boot.again):
                self._put(replace(boot, kernel=True, joined=True, again=False))

    def put_out(self, blade: str) -> None:
        """Note that a blade's current boot, which has joined, is off the swarm's list: it may join once more.

        Its secrets stay closed; it has them.
        """
        with self._lock:
            boot = self._boots.get(blade)
            if boot is not None and boot.joined and not boot.again:
                self._put(replace(boot, again=True))

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
            boot = replace(boot, opened=round(steady.now() if now is None else now, 3))
            self._put(boot)
            return boot

    def returning(self, blade: str, now: float | None = None) -> None:
        """Note that a blade leaves in order to reboot: its next boot may join."""
        with self._lock:
            boot = self._boots.get(blade)
            if boot is not None:
                self._put(replace(boot, returning=round(steady.now() if now is None else now, 3)))

    def told_disk(self, boot: Boot, mark: str, words: str) -> bool:
        """Note what a boot says of its disk; False where nothing of that is new."""
        with self._lock:
            now = self._boots.get(boot.blade)
            if now is None or now.id != boot.id or (now.found, now.disk, now.told) == (mark, words, True):
                return False
            self._put(replace(now, found=mark, disk=words, told=True))
            return True

    def let_wipe(self, blade: str, *, allowed: bool) -> Boot | None:
        """Let the next boot of a blade wipe just what was found on its disk, or no longer; the boot as it is then.

        None where nothing was found, or a boot of it never told.
        """
        with self._lock:
            boot = self._boots.get(blade)
            if boot is None or not boot.found:
                return None
            boot = replace(boot, wipe_next=boot.found if allowed else "")
            self._put(boot)
            return boot

    def hold(self, blade: str, why: str) -> bool:
        """Give a blade no kernel from now on, until `release`; one that its boot has asked for is its last. False when
        it is held already, or never booted.
        """
        return self._set_held(blade, why)

    def release(self, blade: str) -> bool:
        """Let a blade boot again; False when it is not held."""
        return self._set_held(blade, "")

    def _set_held(self, blade: str, why: str) -> bool:
        with self._lock:
            boot = self._boots.get(blade)
            if boot is None or bool(boot.held) == bool(why):
                return False
            if not boot.kernel:
                self._frozen.pop(blade, None)
            self._put(replace(boot, held=why))
            return True

    def is_open(self, boot: Boot, now: float | None = None) -> bool:
        """Whether a boot's ticket is good for a place in the swarm now."""
        moment = steady.now() if now is None else now
        return boot.again or (not boot.joined and 0 <= moment - boot.opened < self._lab.swarm.window_s)

    def ticket(self, boot: Boot) -> Secret:
        """The boot's ticket."""
        return ticket(self._key, boot.blade, boot.id)

    def frozen(self, boot: Boot) -> Frozen:
        """What a boot may fetch, planned when first asked for."""
        with self._lock:
            frozen = self._frozen.get(boot.blade)
            if frozen is None or frozen.boot != boot.id:
                frozen = self._frozen[boot.blade] = self.freeze(boot)
                self._note_version(boot, frozen)
            return frozen

    def _note_version(self, boot: Boot, frozen: Frozen) -> None:
        """Remember what a boot brings. It is on disk with whatever is saved next, at the latest when it has its kernel.

        A boot that has joined runs what it had, also where a server that was started anew would give it something else.
        """
        current = self._boots.get(boot.blade)
        if current is not None and current.id == boot.id and not current.joined and frozen.plan is not None:
            self._boots[boot.blade] = replace(current, version=frozen.plan.version)
            self._is_unsaved = self._is_unsaved or current.version != frozen.plan.version

    def versions(self) -> tuple[dict[str, str], dict[str, str]]:
        """What a boot of each blade would bring now, and of those that could not boot why."""
        versions, wrong = {}, {}
        for blade in self._lab.blades:
            try:
                versions[blade.name] = self._prepare(blade, "", BootSecrets(Secret("")))[0].version
            except LabkitError as error:
                wrong[blade.name] = str(error)
        return versions, wrong

    def freeze(self, boot: Boot) -> Frozen:
        """Plan a boot anew."""
        try:
            blade = self._lab.blade(boot.blade)
            plan, files = self._prepare(blade, boot.id, BootSecrets(self.ticket(boot), boot.wipe))
        except KeyError:
            return Frozen(boot.id, None, {}, "its blade was taken out of the lab")
        except LabkitError as error:
            return Frozen(boot.id, None, {}, str(error))
        if boot.held and not boot.kernel:
            files = held.resources(self._lab, blade, boot.held, files)
        return Frozen(boot.id, plan, files)

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
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"this is not a boot book: {error!r}"
        raise MachineError(what, where=str(path), fix="remove it: blades that are booting begin again") from None
    return {boot.blade: boot for boot in boots}
