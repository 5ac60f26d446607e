"""Machines that asked and are not in the lab file, in words, and how they become its blades: for the command line and
for chapter 1.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import events
from labkit.errors import ParameterError
from labkit.events.card_vendors import vendor_of
from labkit.events.unknown_machines import Machine, unknown_machines
from labkit.lab import Blade, NetworkKind
from labkit.lab.lab_yaml import adopt, rewrite
from labkit.lab.lab_yaml.adopt import Source
from labkit.lab.state import State
from labkit.servers.changed_lab.tell import have_taken_in

ARCHITECTURES = {
    0: "BIOS", 6: "UEFI, 32-bit x86", 7: "UEFI, x86-64", 9: "UEFI, x86-64", 10: "UEFI, 32-bit ARM",
    11: "UEFI, 64-bit ARM", 15: "UEFI, 32-bit x86", 16: "UEFI, x86-64", 18: "UEFI, 32-bit ARM",
    19: "UEFI, 64-bit ARM", 27: "UEFI, 64-bit RISC-V",
}  # fmt: skip
"""IANA's "Processor Architecture Types" of option 93, by what a person calls them; 9 as firmware uses it."""
CLIENTS = {"pxe": "PXE", "ipxe": "iPXE", "http": "UEFI HTTP boot", "os": "a system"}
NONE = "no machine has asked that is not in lab.yaml"


@dataclass(frozen=True)
class Heard:
    """A lab file, and the machines its lab has heard of in the order in which they first asked, as of now."""

    file: rewrite.LabFile
    machines: tuple[Machine, ...]

    @property
    def source(self) -> Source:
        return self.file.source

    @property
    def unknown(self) -> list[Machine]:
        """Those with a card that is no blade's."""
        return [machine for machine in self.machines if unclaimed(self.source, machine)]

    @property
    def new(self) -> list[Machine]:
        """Those of which no card is a blade's."""
        return [machine for machine in self.unknown if not owner(self.source, machine)]

    def told_bmc(self, macs: Sequence[str]) -> str:
        """The address of its BMC, as the machine with these cards told itself; empty for none."""
        return next((machine.bmc for machine in self.machines if set(macs) & set(machine.macs)), "")

    def cards(self, mac: str) -> tuple[str, ...]:
        """All cards of the machine that has this one, as far as was heard. Raises ParameterError for one of a blade."""
        known = next((machine for machine in self.machines if mac in machine.macs), None)
        if known is None or self.source.blade_with_mac(mac) is not None:  # which is refused
            return (mac,)
        if name := owner(self.source, known):
            fix = f"write it into the macs of {name}, in lab.yaml"
            raise ParameterError(f"{mac} is another card of {name}", where=str(self.source.path), fix=fix)
        return known.macs


def look(path: Path, state: State) -> Heard:
    """What there is to adopt. Raises LabFileError with every mistake."""
    return Heard(rewrite.open_lab(path), unknown_machines(events.read(state.events)))


@dataclass(frozen=True)
class Taken:
    """What came of a change: the names of new blades, whether a lab is up and knows them, and all that in words."""

    added: tuple[str, ...]
    is_up: bool
    is_known: bool
    words: str


def take_in(heard: Heard, machines: Iterable[Sequence[str]], state: State, *, bmc: str = "") -> Taken:
    """Write machines, each by its cards, into the lab file and have the lab that is up take them in.

    Raises as `labkit.lab.lab_yaml.adopt.adopt` and `labkit.lab.lab_yaml.rewrite.LabFile.write` do.
    """
    new = heard.source
    for macs in machines:
        new = adopt.adopt(new, macs, bmc=bmc, told_bmc=heard.told_bmc(macs))
    return write(heard.file, new, state)


def write(file: rewrite.LabFile, new: Source, state: State) -> Taken:
    """Put a lab file with other blades in its place and have the lab that is up take them in. Raises FileError."""
    file.write(new)
    before, after = file.source.blades, new.blades
    added = [blade for blade in after if blade not in before]
    told = [
        f"{blade.name}: slot {blade.slot}, {blade.address}, {', '.join(blade.macs)}{_bmc(new, blade)}"
        for blade in added
    ]
    told += [f"{blade.name}: taken out" for blade in before if blade not in after]
    is_known, words = have_taken_in(state)
    told += [words] if words else []
    return Taken(tuple(blade.name for blade in added), bool(words), is_known, "\n".join(told))


def _bmc(new: Source, blade: Blade) -> str:
    """Where a new blade's BMC is, in a real lab: it may have told that itself, and a person reads it here."""
    is_real = new.lab is not None and new.lab.network.kind is NetworkKind.INTERFACE
    return f", BMC {blade.bmc.address}" if is_real and blade.bmc.has_password else ""


def ensure_adopted(path: Path, state: State, macs: Sequence[str]) -> str:
    """Have the machines with these cards in the lab file; what was found and done, empty for none.

    Raises ParameterError for what is no MAC address, and as `take_in` does.
    """
    heard = look(path, state)
    wanted = [adopt.mac_address(mac) for mac in macs]
    there = {mac: blade.name for mac in wanted if (blade := heard.source.blade_with_mac(mac)) is not None}
    lines = [f"{mac} is {name}'s already" for mac, name in there.items()]
    machines = dict.fromkeys(heard.cards(mac) for mac in wanted if mac not in there)
    if machines:
        lines.append(take_in(heard, machines, state).words)
    return "\n".join(lines)


# --- a machine in words -----------------------------------------------------------------------------------------------


def unclaimed(source: Source, machine: Machine) -> list[str]:
    """The cards of a machine that are no blade's."""
    return [mac for mac in machine.macs if source.blade_with_mac(mac) is None]


def owner(source: Source, machine: Machine) -> str:
    """The blade that has another card of this machine; empty for none."""
    owners = [blade.name for mac in machine.macs if (blade := source.blade_with_mac(mac)) is not None]
    return owners[0] if owners else ""


def firmware(machine: Machine) -> str:
    """What its firmware is called, empty where nothing tells."""
    numbers = [int(number) for number in machine.arch.split(",") if number.isdecimal()]
    names = [ARCHITECTURES.get(number, f"architecture {number}") for number in numbers]
    return names[0] if names else ""


def about(source: Source, machine: Machine) -> str:
    """What is known of a machine beside its cards, in a line."""
    asked = ", ".join(CLIENTS.get(name, name) for name in machine.clients)
    last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(machine.last))
    name = owner(source, machine)
    said = [
        f"another card of {name}: write it into its macs, in lab.yaml" if name else "",
        machine.words,
        f"BMC {machine.bmc}" if machine.bmc else "",
        vendor_of(machine.macs[0]),
        firmware(machine),
        f"asked by {asked}" if asked else "",
        f"last {last}",
        f"UUID {machine.uuid}" if machine.uuid else "",
    ]
    return "; ".join(filter(None, said))
