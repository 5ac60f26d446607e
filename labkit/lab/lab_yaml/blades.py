"""The blades of a lab file: what each says, what all share, and what no two of them may have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import yaml

from labkit.lab import Blade, BootMethod, ConfigBy, Custom, Disk, FirmwareKind, Flavour, Hardware, Role
from labkit.lab.hardware import BUILDS
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.bmcs import BMC as BMC
from labkit.lab.lab_yaml.bmcs import BmcReader
from labkit.lab.lab_yaml.custom import Config, read_configs, read_custom
from labkit.lab.lab_yaml.network import MAX_SLOTS, Net, host
from labkit.lab.lab_yaml.positions import Kind, Notes, Section
from labkit.lab.lab_yaml.storage import read_disk

BLADE_OFFSET = 10  # slot 1 of 10.77.0.0/24 has the address 10.77.0.11
MOST_CARDS = 8
NO_BLADES = "the lab has no blades"

SHARED = (
    "role", "os", "version", "custom", "boot", "hardware", "plugged", "firmware", "memory", "console", "autologin",
    "config", "labels", "disk",
)  # fmt: skip
BLADE = Kind("a blade", ("name", "slot", "macs", "address", "bmc", *SHARED), {"ssh_keys": "at the top of the file"})


@dataclass(frozen=True)
class Shared:
    """What blades usually have in common."""

    role: Role = Role.WORKER
    os: Flavour = Flavour.LABOS
    version: str | None = None
    custom: Custom | None = None
    boot: BootMethod = BootMethod.LPXELINUX
    hardware: Hardware = Hardware.VIRTIO
    plugged: tuple[int, ...] = (1,)
    autologin: bool = True
    config: tuple[Config, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    disk: Disk | None = None
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
        self._shared = self._take_shared(top, Shared())
        self._bmcs = BmcReader(top, net, path, notes, self._claim)

    def read(self) -> list[tuple[Blade, Section]]:
        """Every blade with its section, wrong ones too."""
        nodes = self._top.items("blades")
        if not self._top.has("blades") or (nodes == [] and not isinstance(self._top.node("blades"), yaml.SequenceNode)):
            fix = "write 'blades:' and below it '  - name: blade1', or 'blades: []' where there is none yet"
            self._top.note("blades", NO_BLADES, fix)
        blades: list[tuple[Blade, Section]] = []
        for node in nodes or ():
            section = Section(node, node, BLADE, self._notes)
            if section.broken:
                continue
            blades.append((self._blade(section, blades[-1][0].slot + 1 if blades else 1), section))
        self._net.check_pool()
        boots = any(blade.os is Flavour.CUSTOM for blade, _ in blades) or not blades
        if self._top.has("custom") and not boots and not self._top.bad("custom", "os"):
            self._top.note("custom", "no blade has os: custom", "write os: custom where it is meant, or remove this")
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
        self._check_version(section, shared)
        self._check_custom(section, shared)
        self._check_firmware(section, shared)
        self._check_disk(section, shared)
        return Blade(
            name=name,
            slot=slot,
            macs=macs,
            address=address,
            bmc=self._bmcs.read(section, name, slot, macs),
            role=shared.role,
            os=shared.os,
            version=shared.version,
            custom=shared.custom if shared.os is Flavour.CUSTOM else None,
            boot=shared.boot,
            firmware=shared.firmware or build.firmware,
            memory_mib=shared.memory_mib or build.memory_mib,
            console=build.console if shared.console is None else shared.console,
            autologin=shared.autologin,
            config=tuple(one.file for one in shared.config if one.is_for(shared.role, shared.os)),
            labels=shared.labels,
            hardware=shared.hardware,
            plugged=shared.plugged,
            disk=shared.disk,
        )

    def _check_version(self, section: Section, shared: Shared) -> None:
        """Note a release of a system that has none."""
        its = section if section.has("version") else self._top
        if shared.version is not None and not shared.os.has_releases and not its.bad("version", "os"):
            having = " or ".join(os for os in Flavour if os.has_releases)
            what = f"there are no releases of {shared.os} to choose from"
            its.note("version", what, f"remove this line, or write os: {having}")

    def _check_custom(self, section: Section, shared: Shared) -> None:
        """Note a system of a person's own that is not there, that nothing boots, or that no config can reach."""
        if shared.os is not Flavour.CUSTOM:
            if section.has("custom") and not section.bad("os"):
                section.note("custom", f"os: {shared.os} is not of your own making", "write os: custom, or remove this")
            return
        if shared.custom is None:
            its = section if section.has("os") else self._top
            if not its.bad("os") and not section.bad("custom") and not self._top.bad("custom"):
                its.note("os", "nothing says what os: custom boots", "write 'custom:' and below it '  kernel: vmlinuz'")
        elif section.has("config") and shared.custom.config is ConfigBy.NONE and not section.bad("custom"):
            fix = "say below custom how it gets there, as with 'config: url'; or remove this line"
            section.note("config", "with custom: {config: none} no config reaches this system", fix)

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

    def _check_firmware(self, section: Section, shared: Shared) -> None:
        """Note a firmware that no loader of the boot method is for, and Secure Boot without what it takes."""
        firmware = shared.firmware
        if firmware is FirmwareKind.UEFI_HTTP and shared.boot in (BootMethod.PXELINUX, BootMethod.GRUB):
            what = f"UEFI HTTP boot has no loader for boot: {shared.boot}"
            section.note("firmware", what, "write boot: ipxe, or firmware: uefi")
        if firmware is not FirmwareKind.UEFI_SECURE or section.bad("boot", "hardware"):
            return
        if shared.boot is not BootMethod.GRUB:
            what = f"Secure Boot lets no loader of boot: {shared.boot} run, since none has a signature"
            section.note("firmware", what, "write boot: grub, or firmware: uefi")
        elif shared.hardware is not Hardware.VIRTIO:
            what = f"with Secure Boot nothing drives the card of hardware: {shared.hardware}, whose ROM is not signed"
            section.note("firmware", what, "write hardware: virtio, or firmware: uefi")

    def _check_disk(self, section: Section, shared: Shared) -> None:
        """Note a disk that a virtual blade does not have, and one that no config tells a system of."""
        its = section if section.has("disk") else self._top
        if shared.disk is None or its.bad("disk"):
            return
        there, device = BUILDS[shared.hardware].disk, shared.disk.device
        if not self._net.real and device != there and not device.startswith("/dev/disk/"):
            what = f"the disk of a virtual blade with hardware: {shared.hardware} is {there}, not {device}"
            its.note("disk", what, f"write {there}")
        silent = shared.os is Flavour.CUSTOM and shared.custom is not None and shared.custom.config is ConfigBy.NONE
        if silent and section.has("disk"):
            fix = "say below custom how it gets a config, as with 'config: url'; or remove this line"
            section.note("disk", "with custom: {config: none} nothing tells this system of a disk", fix)

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
        os = section.take("os", positions.choice(Flavour), base.os)
        return Shared(
            role=section.take("role", positions.choice(Role), base.role),
            os=os,
            version=section.take("version", values.version, base.version if os is base.os else None),
            custom=read_custom(section, self._path, self._notes, base.custom),
            boot=section.take("boot", positions.choice(BootMethod), base.boot),
            hardware=section.take("hardware", positions.choice(Hardware), base.hardware),
            plugged=base.plugged if plugged is None else tuple(value for _, value in plugged),
            firmware=section.take("firmware", positions.choice(FirmwareKind), base.firmware),
            memory_mib=section.take("memory", values.memory, base.memory_mib),
            console=base.console if console is None else tuple(value for _, value in console),
            autologin=section.take("autologin", positions.boolean, base.autologin),
            config=read_configs(section, self._path, self._notes, base.config, own=section is not self._top),
            labels={**base.labels, **(section.take_map("labels", values.label, values.label_value) or {})},
            disk=read_disk(section, self._notes, base.disk, real=self._net.real),
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
