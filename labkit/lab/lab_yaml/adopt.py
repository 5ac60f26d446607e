"""A machine that becomes a blade of a lab file, one that is taken out again, a blade's config: text in, text out.

What comes out is a lab: it was parsed, its other blades are what they were, and a text that is none is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import yaml

from labkit.errors import LabFileError, ParameterError
from labkit.lab import Blade, Bmc, Lab, NetworkKind, PowerKind, lab_yaml
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.blades import BLADE_OFFSET, NO_BLADES
from labkit.lab.lab_yaml.bmcs import BMC_OFFSET
from labkit.lab.lab_yaml.edit import LabText, Odd
from labkit.lab.lab_yaml.entry import Entry
from labkit.lab.lab_yaml.network import MAX_SLOTS, host
from labkit.lab.lab_yaml.positions import EMPTY, Wrong

T = TypeVar("T")

UNSWITCHED = (PowerKind.MANUAL.value, PowerKind.WOL.value)
"""What may be said in place of a BMC's address: kinds of power that need no more than the machine."""


@dataclass(frozen=True)
class Source:
    """A lab file's text, and the lab it is; None where it has no blade yet, which is the one thing wrong with it."""

    text: str
    path: Path
    lab: Lab | None

    @property
    def blades(self) -> tuple[Blade, ...]:
        return self.lab.blades if self.lab is not None else ()

    def blade_with_mac(self, mac: str) -> Blade | None:
        """The blade that has this card, or None."""
        return self.lab.blade_with_mac(mac) if self.lab is not None else None


def read(text: str, path: Path) -> Source:
    """A lab file's text, also of a lab that has no blade yet. Raises LabFileError with every mistake."""
    try:
        return Source(text, path, lab_yaml.parse(text, path))
    except LabFileError as error:
        if any(mistake.what not in (EMPTY, NO_BLADES) for mistake in error.mistakes):
            raise
        return Source(text, path, None)


def adopt(
    source: Source,
    macs: Sequence[str],
    *,
    name: str = "",
    slot: int = 0,
    bmc: str = "",
    prefix: str = "",
    told_bmc: str = "",
) -> Source:
    """The file with one more blade, behind all others: a machine with these cards, the one it boots from first.

    Without a name it is called by ``prefix``, else as the last blade is, and by a number that is free; without a slot
    it gets the first that is free. ``bmc`` is the address of its BMC, or one of `UNSWITCHED`; ``told_bmc`` the address
    that the machine told, which counts where the file wants one and ``bmc`` is empty. Raises ParameterError for
    what is taken or cannot be, and LabFileError for what would be no lab.
    """
    for mac in macs:
        if (owner := source.blade_with_mac(mac)) is not None:
            fix = f"leave it as it is, or ./lab forget {owner.name} first"
            raise ParameterError(f"{mac} is {owner.name}'s already", where=str(source.path), fix=fix)
    slot = _slot(source, slot)
    name = _name(source, name, prefix, slot)
    entry = Entry(name, slot, tuple(macs), _bmc(source, name, bmc, told_bmc))
    new = _checked(source, lambda text: text.added(entry), f"write it under 'blades:' yourself: {entry.in_braces()}")
    *others, blade = new.blades
    if tuple(others) != source.blades or (blade.name, blade.slot, blade.macs) != (name, slot, entry.macs):
        raise _odd(source, f"write it under 'blades:' yourself: {entry.in_braces()}")
    return new


def forget(source: Source, name: str) -> Source:
    """The file without a blade; without its last one, ``blades: []``. The others keep their slots, also those that
    follow from the order.

    Raises ParameterError for a blade that is not there, and LabFileError for what is or would be no lab.
    """
    if source.lab is None:
        lab_yaml.parse(source.text, source.path)  # raises what is wrong with it
    at = next((at for at, blade in enumerate(source.blades) if blade.name == name), None)
    if at is None:
        names = ", ".join(blade.name for blade in source.blades)
        fix = f"its blades are: {names}" if names else "it has no blade yet: there is nothing to take out"
        raise ParameterError(f"there is no blade {name!r}", where=str(source.path), fix=fix)
    before, behind = source.blades[:at], source.blades[at + 1 :]
    next_slot = before[-1].slot + 1 if before else 1
    keeps = behind[0].slot if behind and behind[0].slot != next_slot else None
    fix = "take its lines out yourself"
    new = _checked(source, lambda text: text.removed(name, keeps=keeps), fix)
    if new.blades != (*before, *behind):
        raise _odd(source, fix)
    return new


def configure(source: Source, name: str, config: str | None) -> tuple[Source, str | None]:
    """The file with this behind ``config:`` in the entry of a blade, or without that key; and what was there before.

    ``config`` is YAML: a file's name in quotes, or what was returned before. Raises ParameterError and LabFileError.
    """
    fix = f"write it into the entry of {name} yourself: config: {config}"
    old = {blade.name: blade for blade in source.blades}
    try:
        before = LabText(source.text).config(name)
    except (Odd, yaml.YAMLError):
        raise _odd(source, fix) from None
    new = _checked(source, lambda text: text.with_config(name, config), fix)
    same = [replace(blade, config=old[blade.name].config) if blade.name == name else blade for blade in new.blades]
    if tuple(same) != source.blades or LabText(new.text).config(name) != config:
        raise _odd(source, fix)
    return new, before


def mac_address(text: str) -> str:
    """A network card's address as lab files have it. Raises ParameterError."""
    return _parsed(values.mac, text)


def _checked(source: Source, change: Callable[[LabText], str], fix: str) -> Source:
    """The changed text as the lab it is. Raises LabFileError with the mistakes that would be in it."""
    try:
        text = change(LabText(source.text))
        LabText(text)
    except (Odd, yaml.YAMLError):
        raise _odd(source, fix) from None
    try:
        return Source(text, source.path, lab_yaml.parse(text, source.path))
    except LabFileError as error:
        raise LabFileError(f"{source.path} (as it would be; nothing was written)", error.mistakes) from None


def _odd(source: Source, fix: str) -> ParameterError:
    what = "its blades are written in a way that cannot be changed without writing other lines anew"
    return ParameterError(what, where=str(source.path), fix=fix)


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except Wrong as wrong:
        raise ParameterError(wrong.what, fix=wrong.fix) from None


def _slot(source: Source, slot: int) -> int:
    owners = {blade.slot: blade.name for blade in source.blades}
    free = next((number for number in range(1, MAX_SLOTS + 1) if _is_free(source, number)), 0)
    if slot in owners:
        fix = f"--slot {free} is free" if free else f"all {MAX_SLOTS} are: ./lab forget one first"
        raise ParameterError(f"slot {slot} is {owners[slot]}'s", where=str(source.path), fix=fix)
    if slot:
        return slot
    if not free:
        raise ParameterError("no slot is free", where=str(source.path), fix="./lab forget a blade that is gone")
    return free


def _is_free(source: Source, slot: int) -> bool:
    """Whether nobody has a slot, nor the address that follows from it."""
    if source.lab is None:
        return True
    network = source.lab.network
    wanted = [host(network.subnet, BLADE_OFFSET + slot)]
    if network.kind is NetworkKind.VIRTUAL:
        wanted.append(host(network.subnet, BMC_OFFSET + slot))
    theirs = {str(place) for blade in source.blades for place in (blade.address, blade.bmc.address)}
    theirs |= {str(place) for place in (network.server, network.controller, network.router)}
    first, last = network.pool or (None, None)
    is_pooled = first is not None and last is not None and any(first <= place <= last for place in wanted)
    is_taken = any(blade.slot == slot for blade in source.blades) or not theirs.isdisjoint(map(str, wanted))
    return not is_taken and not is_pooled


def _name(source: Source, name: str, prefix: str, slot: int) -> str:
    taken = {blade.name for blade in source.blades}
    if name:
        if _parsed(positions.name, name) in taken:
            near = _numbered(_stem(name), slot, taken)
            raise ParameterError(f"there is a blade {name!r}", where=str(source.path), fix=f"--name {near} is free")
        return name
    usual = _stem(source.blades[-1].name) if source.blades else "blade"
    return _parsed(positions.name, _numbered(prefix or usual, slot, taken))


def _stem(name: str) -> str:
    return re.sub(r"[0-9]+$", "", name) or "blade"


def _numbered(stem: str, slot: int, taken: set[str]) -> str:
    """A name that is free: with the slot's number, else with the next that is."""
    return next(f"{stem}{number}" for number in range(slot, slot + len(taken) + 1) if f"{stem}{number}" not in taken)


def _bmc(source: Source, name: str, bmc: str, told: str) -> tuple[tuple[str, str], ...]:
    """What stands below ``bmc:``. Raises ParameterError where the file's kind of power needs an address."""
    text = LabText(source.text)
    said = text.value("bmc", "kind")
    kind = PowerKind(said) if said in list(PowerKind) else PowerKind.IPMI
    is_real = text.value("network", "kind") == NetworkKind.INTERFACE
    if bmc in UNSWITCHED:
        return () if bmc == kind else (("kind", bmc),)
    if bmc:
        address = ("address", _parsed(values.host, bmc))
        return (address,) if Bmc("", kind=kind).has_password else (("kind", PowerKind.IPMI.value), address)
    if is_real and Bmc("", kind=kind).has_password:
        if told:
            return (("address", _parsed(values.host, told)),)
        fix = f"--bmc ADDRESS; or --bmc {' or --bmc '.join(UNSWITCHED)}, where it has none"
        raise ParameterError(f"nothing says the address of {name}'s BMC", where=str(source.path), fix=fix)
    return ()
