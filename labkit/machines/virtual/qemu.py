"""A virtual blade's command line, and whether this machine's hardware virtualisation really works."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from labkit.lab import Blade, FirmwareKind
from labkit.lab.hardware import BUILDS, Build
from labkit.machines.virtual.network import tap_name

BINARY = "qemu-system-x86_64"
OVMF_CODE, OVMF_VARS = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
"""UEFI firmware and its empty variable store, from Debian's package ``ovmf``."""
SECURE_CODE, SECURE_VARS = Path("/usr/share/OVMF/OVMF_CODE_4M.ms.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
"""The same with Secure Boot: the store has Microsoft's keys, as boards come with them, and the switch is on."""
KVM, TUN = Path("/dev/kvm"), Path("/dev/net/tun")


@dataclass(frozen=True)
class Machine:
    """Where one virtual blade's sockets and logs lie.

    ``serial_port`` and ``ipmi_port`` are TCP ports on the loopback of the lab: the first is listened on, at the second
    the slot's controller is.
    ``variables`` is where a UEFI blade's firmware keeps its variables: a copy of `fresh_variables` of its own.
    ``disk`` is the file that a blade's disk is, of those that have one (`labkit.machines.virtual.disks`).
    """

    blade: Blade
    accelerator: str
    monitor: Path
    console_log: Path
    serial_port: int
    ipmi_port: int
    variables: Path
    disk: Path | None = None

    def command(self) -> list[str]:
        """The whole command line (qemu-system-x86_64(1)).

        The machine boots from its network card's ROM, as a diskless blade does, and never from anything handed over.
        """
        blade, build = self.blade, self.build
        return [
            BINARY,
            *("-name", f"{blade.name},process=blade-{blade.slot}"),
            *("-machine", self._board(), "-accel", self.accelerator),
            *("-cpu", "host" if self.accelerator.startswith("kvm") else build.cpu),
            *("-smp", "1", "-m", str(blade.memory_mib)),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-uuid", f"00000000-0000-4000-8000-{blade.macs[0].replace(':', '')}"),
            *("-rtc", "base=utc"),
            *("-boot", "reboot-timeout=5000"),  # a board that found nothing to boot tries again; milliseconds
            *self._lines(),
            *("-qmp", f"unix:{value(self.monitor)},server=on,wait=off"),
            *build.devices,
            *self._drive(),
            *self._firmware(),
            *self._ipmi(),
            *self._cards(),
            *(["-S"] if self.unplugged else []),  # it begins when the cables are where they belong
        ]

    @property
    def build(self) -> Build:
        """What the machine is built of."""
        return BUILDS[self.blade.hardware]

    @property
    def is_secure(self) -> bool:
        """Whether the firmware runs nothing without a signature."""
        return self.blade.firmware is FirmwareKind.UEFI_SECURE

    @property
    def fresh_variables(self) -> Path:
        """The variable store that a UEFI blade's firmware begins with."""
        return SECURE_VARS if self.is_secure else OVMF_VARS

    @property
    def unplugged(self) -> tuple[str, ...]:
        """The devices of the cards that have no cable.

        QEMU takes a card without a peer for one with a link: its monitor has to be told (``set_link``), and then that
        the machine may begin (``cont``).
        """
        return tuple(f"card{number}" for number in self._numbers() if number not in self.blade.plugged)

    def _board(self) -> str:
        """OVMF guards Secure Boot's variables by System Management Mode, which only the newer board has."""
        return "q35,smm=on" if self.is_secure else self.build.machine

    def _numbers(self) -> range:
        return range(1, len(self.blade.macs) + 1)

    def _cards(self) -> list[str]:
        """The network cards, of which firmware tries one after the other, as boards do."""
        words = []
        for number, mac in zip(self._numbers(), self.blade.macs, strict=True):
            card = f"{self.build.card},id=card{number},mac={mac},bootindex={number}"
            if number in self.blade.plugged:
                tap = f"tap,id=net{number},ifname={tap_name(self.blade.slot, number)},script=no,downscript=no"
                words += ["-netdev", tap]
                card += f",netdev=net{number}"
            if self.blade.firmware is not FirmwareKind.BIOS:
                card += f",romfile={self.build.efi_rom}"
            words += ["-device", card]
        return words

    def _lines(self) -> list[str]:
        """The serial ports up to the slot's, which is the last of them."""
        words = []
        for number in range(self.build.line):
            words += ["-chardev", f"null,id=line{number}", "-device", f"isa-serial,chardev=line{number}"]
        return [*words, "-chardev", self._serial(), "-device", "isa-serial,chardev=serial"]

    def _ipmi(self) -> list[str]:
        """The slot's own controller, as its system sees it: IPMI's keyboard style (IPMI 2.0, section 9).

        QEMU 7.2 ends with a segmentation fault when the connection stands before the machine is whole. With
        ``reconnect`` (seconds) it connects once that is so, and again to a controller that was started anew.
        """
        if not self.build.has_ipmi:
            return []
        controller = f"socket,id=ipmi,host=127.0.0.1,port={self.ipmi_port},reconnect=1"
        seen = ("-device", "ipmi-bmc-extern,id=bmc,chardev=ipmi", "-device", "isa-ipmi-kcs,bmc=bmc")
        return ["-chardev", controller, *seen]

    def _drive(self) -> list[str]:
        """The disk, if there is one. It has no ``bootindex``: firmware is not to look for a system there.

        What the blade discards, or fills with zeros, takes no room in the file.
        """
        if self.blade.disk is None or self.disk is None:
            return list(self.build.empty)
        file = "driver=raw,node-name=disk,discard=unmap,detect-zeroes=unmap,file.driver=file,file.discard=unmap"
        words = ["-blockdev", f"{file},file.filename={value(self.disk)}"]
        return [*words, "-device", f"{self.build.drive},drive=disk,serial=labkit-{self.blade.slot}"]

    def _firmware(self) -> list[str]:
        """Nothing for SeaBIOS. OVMF has a network stack of its own: a card with a ROM would bring iPXE's instead."""
        if self.blade.firmware is FirmwareKind.BIOS:
            return []
        words = []
        if self.is_secure:  # the system writes to the store through the firmware alone
            words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        code = SECURE_CODE if self.is_secure else OVMF_CODE
        words += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"]
        words += ["-drive", f"if=pflash,unit=1,format=raw,file={value(self.variables)}"]
        # IPv6 is nothing we answer. Without PXE over IPv4 what is left is HTTP boot.
        without = ["IPv6PXESupport"] + ["IPv4PXESupport"] * (self.blade.firmware is FirmwareKind.UEFI_HTTP)
        for name in without:
            words += ["-fw_cfg", f"name=opt/org.tianocore/{name},string=n"]
        return words

    def _serial(self) -> str:
        return (
            f"socket,id=serial,host=127.0.0.1,port={self.serial_port},server=on,wait=off,nodelay=on,"
            f"logfile={value(self.console_log)},logappend=on"
        )


def value(path: Path) -> str:
    """A path as an option's value, which a comma would end (QEMU's Invocation, "doubling commas")."""
    return str(path).replace(",", ",,")


def find_accelerator(kernel: Path) -> str:
    """``kvm`` where it works, else ``tcg,thread=multi``.

    /dev/kvm may be there and yet unable to run a stock kernel, so ``kernel`` is started under it: it must get as far as
    its own last words, which without an initrd are that it found no root file system.
    """
    if os.access(KVM, os.R_OK | os.W_OK) and _kvm_runs(kernel):
        return "kvm"
    return "tcg,thread=multi"


def _kvm_runs(kernel: Path) -> bool:
    command = [BINARY, "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=8, check=False)
    except (subprocess.TimeoutExpired, OSError):
        return False
    return b"Unable to mount root fs" in done.stdout
