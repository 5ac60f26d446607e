"""A virtual blade's command line, and whether this machine's hardware virtualisation really works."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from labkit.chassis.network import tap_name
from labkit.lab import Blade, FirmwareKind

BINARY = "qemu-system-x86_64"
OVMF_CODE, OVMF_VARS = Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
"""UEFI firmware and its empty variable store, from Debian's package ``ovmf``."""
KVM, TUN = Path("/dev/kvm"), Path("/dev/net/tun")


@dataclass(frozen=True)
class Machine:
    """Where one virtual blade's sockets and logs lie; ``serial_port`` is a TCP port on the loopback of the lab.

    ``variables`` is where a UEFI blade's firmware keeps its variables: a copy of `OVMF_VARS` of its own.
    """

    blade: Blade
    accelerator: str
    monitor: Path
    console_log: Path
    serial_port: int
    variables: Path

    def command(self) -> list[str]:
        """The whole command line (qemu-system-x86_64(1)).

        The machine boots from its network card's ROM, as a diskless blade does, and never from anything handed over.
        """
        blade = self.blade
        command = [
            BINARY,
            *("-name", f"{blade.name},process=blade-{blade.slot}"),
            *("-accel", self.accelerator),
            *("-cpu", "host" if self.accelerator.startswith("kvm") else "max"),
            *("-smp", "1", "-m", str(blade.memory_mib)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"),
            *("-uuid", f"00000000-0000-4000-8000-{blade.macs[0].replace(':', '')}"),
            *("-rtc", "base=utc"),
            *("-boot", "reboot-timeout=5000"),  # a board that found nothing to boot tries again; milliseconds
            *("-chardev", self._serial(), "-device", "isa-serial,chardev=serial"),
            *("-qmp", f"unix:{value(self.monitor)},server=on,wait=off"),
            *("-device", "virtio-rng-pci"),
            *self._firmware(),
        ]
        for number, mac in enumerate(blade.macs):
            # Only the first card is wired: on real blades the other three have empty sockets too.
            wired = f",netdev=net{number}" if number == 0 else ""
            if number == 0:
                command += ["-netdev", f"tap,id=net0,ifname={tap_name(blade.slot)},script=no,downscript=no"]
            rom = "" if number == 0 and blade.firmware is FirmwareKind.BIOS else ",romfile="
            boot = ",bootindex=1" if number == 0 else ""
            command += ["-device", f"virtio-net-pci,mac={mac}{wired}{boot}{rom}"]
        return command

    def _firmware(self) -> list[str]:
        """Nothing for SeaBIOS. OVMF has a network stack of its own: a card with a ROM would bring iPXE's instead."""
        if self.blade.firmware is FirmwareKind.BIOS:
            return []
        words = ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}"]
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
