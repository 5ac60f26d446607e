"""The blades of a lab file: what each says, what all share, and what no two of them may have in common."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import yaml

from labkit.lab import Blade, Bmc, BootMethod, FirmwareKind, Flavour, Hardware, Role
from labkit.lab.hardware import BUILDS
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.network import MAX_SLOTS, Net, host
from labkit.lab.lab_yaml.positions import Kind, Notes, Section

BLADE_OFFSET = 10  # slot 1 of 10.77.0.0/24 has the address 10.77.0.11
MOST_CARDS = 8
BMC_OFFSET = 200  # and its BMC in a virtual chassis 10.77.0.201

SHARED = ("role", "os", "boot", "hardware", "plugged", "firmware", "memory", "console", "autologin", "config")
BLADE = Kind("a blade", ("name", "slot", "macs", "address", "bmc", *SHARED), {"ssh_keys": "at the top of the file"})
SHARED_BMC = Kind("bmc", ("user", "password_file", "port"), {"address": "to each blade, since each slot has its own"})
BMC = Kind("bmc", ("address", "port", "user", "password_file"))


@dataclass(frozen=True)
class Shared:
    """What blades usually have in common."""

    role: Role = Role.WORKER
    os: Flavour = Flavour.LABOS
    boot: BootMethod = BootMethod.LPXELINUX
    hardware: Hardware = Hardware.VIRTIO
    plugged: tuple[int, ...] = (1,)
    autologin: bool = True
    config: Path | None = None
    firmware: FirmwareKind | None = None
    memory_mib: int | None = None
    console: tuple[str, ...] | None = None
    """These three are None where nothing says them: then they are as the hardware has them."""


def derived_mac(subnet: IPv4Network, slot: int, card: int = 1) -> str:
    """A virtual blade's network card: QEMU's prefix, the card, the subnet's second and third byte, and the slot."""
    _, second, third, _ = subnet.network_address.packed
    return f"52:54:{card - 1:02x}:{second:02x}:{third:02x}:{slot:02x}"


class Reader:
    """Reads the blades one after the other."""

    def __init__(self, top: Section, net: Net, path: Path, notes: Notes) -> None:
        self._top = top
        self._net = net
        self._path = path
        self._notes = notes
        self._owners: dict[tuple[str, object], str] = {}
        self._bmc_hosts: set[str] = set()
        self._shared = self._take_shared(top, Shared())
        self._bmcs = Section(top.value("bmc"), top.anchor, SHARED_BMC, notes)
        self._bmc = self._take_bmc(self._bmcs, Bmc(address=""))

    def read(self) -> list[tuple[Blade, Section]]:
        """Every blade with its section, wrong ones too."""
        if not self._top.has("blades"):
            self._top.note("blades", "the lab has no blades", "write 'blades:' and below it '  - name: blade1'")
        blades: list[tuple[Blade, Section]] = []
        for node in self._top.items("blades") or ():
            section = Section(node, node, BLADE, self._notes)
            if section.broken:
                continue
            blades.append((self._blade(section, blades[-1][0].slot + 1 if blades else 1), section))
        self._net.check_pool()
        return blades

    def _blade(self, section: Section, next_slot: int) -> Blade:
        slot = section.take("slot", positions.whole("a slot", 1, MAX_SLOTS), min(next_slot, MAX_SLOTS))
        name = section.need("name", positions.name, f"the blade in slot {slot}", f"write name: blade{slot}")
        if not section.bad("name"):
            self._claim("the name", name, f"the blade on line {section.line}", section.node("name"))
        if not section.bad("slot") and not self._claim("slot", slot, name, section.node("slot")):
            section.spoil("slot")  # or its address and card, which follow from the slot, would be called wrong too
        address = section.take("address", values.address, host(self._net.value.subnet, BLADE_OFFSET + slot))
        if section.has("address") or not section.bad("slot"):
            self._net.claim(address, name, section)
        shared = self._take_shared(section, self._shared)
        build = BUILDS[shared.hardware]
        macs = self._macs(section, name, slot, build.cards)
        self._check_hardware(section, shared, macs)
        if shared.firmware is FirmwareKind.UEFI_HTTP and shared.boot is BootMethod.PXELINUX:
            what = f"UEFI HTTP boot has no loader for boot: {shared.boot}"
            section.note("firmware", what, "write boot: ipxe, or firmware: uefi")
        return Blade(
            name=name,
            slot=slot,
            macs=macs,
            address=address,
            bmc=self._own_bmc(section, name, slot),
            role=shared.role,
            os=shared.os,
            boot=shared.boot,
            firmware=shared.firmware or build.firmware,
            memory_mib=shared.memory_mib or build.memory_mib,
            console=build.console if shared.console is None else shared.console,
            autologin=shared.autologin,
            config=shared.config,
            hardware=shared.hardware,
            plugged=shared.plugged,
        )

    def _check_hardware(self, section: Section, shared: Shared, macs: tuple[str, ...]) -> None:
        """Note what only a virtual blade can have, and a cable in a card that is not there."""
        for key in ("hardware", "plugged"):
            its = section if section.has(key) else self._top
            if its.has(key) and self._net.real and self._net.sound:
                its.note(key, f"a real blade's {key} is as it is", f"remove this line: {key} is for virtual blades")
                return
        if macs and not shared.plugged:
            section.note("plugged", "a blade without any cable reaches nothing", "name its cards: plugged: [1]")
        missing = [card for card in shared.plugged if card > len(macs)]
        if macs and missing:
            what = f"there is no card {missing[0]} to plug in: this blade has {len(macs)}"
            section.note("plugged", what, "give it that card's MAC address too, under macs:, or hardware: red")

    def _claim(self, what: str, value: object, owner: str, node: yaml.Node) -> bool:
        """Give a value to its owner, or note that it is somebody's already; whether it was free."""
        first = self._owners.get((what, value))
        if first is None:
            self._owners[what, value] = owner
            return True
        self._notes.add(node, f"{what} {value} is already that of {first}", f"give {owner} one of its own")
        return False

    def _take_shared(self, section: Section, base: Shared) -> Shared:
        console = section.take_all("console", values.console)
        plugged = section.take_all("plugged", positions.whole("a card's number", 1, MOST_CARDS))
        return Shared(
            role=section.take("role", positions.choice(Role), base.role),
            os=section.take("os", positions.choice(Flavour), base.os),
            boot=section.take("boot", positions.choice(BootMethod), base.boot),
            hardware=section.take("hardware", positions.choice(Hardware), base.hardware),
            plugged=base.plugged if plugged is None else tuple(value for _, value in plugged),
            firmware=section.take("firmware", positions.choice(FirmwareKind), base.firmware),
            memory_mib=section.take("memory", values.memory, base.memory_mib),
            console=base.console if console is None else tuple(value for _, value in console),
            autologin=section.take("autologin", positions.boolean, base.autologin),
            config=section.take("config", lambda text: values.existing(text, self._path), base.config),
        )

    def _macs(self, section: Section, name: str, slot: int, cards: int) -> tuple[str, ...]:
        taken = section.take_all("macs", values.mac)
        hint = "list its network cards, the one it boots from first: macs: [52:54:00:12:34:56]"
        if taken is None:
            if self._net.real and not section.has("macs"):
                section.note("macs", f"{name} has no macs", hint)
            if self._net.real or not self._net.sound or section.bad("macs", "slot"):
                return ()
            subnet = self._net.value.subnet
            taken = [(section.anchor, derived_mac(subnet, slot, card)) for card in range(1, cards + 1)]
        elif not taken and not section.bad("macs"):
            section.note("macs", f"{name} has an empty list of macs", hint)
        for node, mac in taken:
            self._claim("MAC address", mac, name, node)
        return tuple(mac for _, mac in taken)

    def _take_bmc(self, section: Section, base: Bmc) -> Bmc:
        if section.has("password_file") and self._net.sound and not self._net.real:
            fix = "remove this line: every virtual lab makes up a password of its own"
            section.note("password_file", "the BMCs of a virtual chassis take no password_file", fix)
        file = section.take("password_file", lambda text: values.beside(text, self._path), base.password_file)
        port = section.take("port", positions.whole("a port", 1, 65535), base.port)
        return Bmc(base.address, port, section.take("user", values.user, base.user), file)

    def _own_bmc(self, blade: Section, name: str, slot: int) -> Bmc:
        section = Section(blade.value("bmc"), blade.anchor, BMC, self._notes)
        bmc = self._take_bmc(section, self._bmc)
        if not self._net.real:
            address = section.take("address", values.address, host(self._net.value.subnet, BMC_OFFSET + slot))
            if section.has("address") or not blade.bad("slot"):
                self._net.claim(address, f"the BMC of {name}", section)
            return Bmc(str(address), bmc.port, bmc.user)
        hint = f"write the address of {name}'s BMC: bmc: {{address: 192.168.7.201}}"
        where = section.need("address", values.host, "", hint)
        if bmc.password_file is None and not section.bad("password_file") and not self._bmcs.bad("password_file"):
            fix = "write 'bmc:' and below it '  password_file: bmc.password' at the top of the file, for all blades"
            section.note("password_file", f"nothing says the password of {name}'s BMC", fix)
        if where and self._claim("BMC address", f"{where}:{bmc.port}", name, section.node("address")):
            self._check_apart(where, name, section)
        return Bmc(where, bmc.port, bmc.user, bmc.password_file)

    def _check_apart(self, where: str, name: str, section: Section) -> None:
        """A real BMC may be in another network, or share its address with others; it must not have a blade's."""
        if where[-1].isdigit() and IPv4Address(where) in self._net.value.subnet and where not in self._bmc_hosts:
            self._bmc_hosts.add(where)
            self._net.claim(IPv4Address(where), f"the BMC of {name}", section)
