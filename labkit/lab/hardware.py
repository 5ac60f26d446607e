"""What a virtual blade is built of: the shipped lab's machine, and two that have nothing virtual about them.

A kind of hardware says what stands in ``lab.yaml`` unless the file says otherwise, and what QEMU is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labkit.lab import FirmwareKind, Hardware


@dataclass(frozen=True)
class Build:
    """One kind of hardware.

    ``cards`` network cards of QEMU's device ``card``; ``efi_rom`` is the driver that UEFI boots from one with, empty
    where its own network stack has it. ``devices`` are whole further arguments.
    ``disk`` is what its system calls a disk of it, which is QEMU's device ``drive``; ``empty`` are the arguments for
    one with nothing on it, where such hardware has a disk also when nobody asks for one.
    ``line`` is the number of the serial port that is the slot's: ``ttyS0`` or ``ttyS1``. With ``has_ipmi`` the system
    reaches the slot's own controller.
    """

    machine: str
    cpu: str
    card: str
    cards: int
    devices: tuple[str, ...]
    memory_mib: int
    console: tuple[str, ...]
    firmware: FirmwareKind
    disk: str
    drive: str
    empty: tuple[str, ...] = ()
    line: int = 0
    efi_rom: str = ""
    has_ipmi: bool = False


BUILDS: Mapping[Hardware, Build] = {
    # Fast, and without firmware that takes its time.
    Hardware.VIRTIO: Build(
        machine="pc",
        cpu="max",
        card="virtio-net-pci",
        cards=1,
        devices=("-vga", "none", "-device", "virtio-rng-pci"),
        memory_mib=2048,
        console=("tty0", "ttyS0,115200"),
        firmware=FirmwareKind.BIOS,
        disk="/dev/vda",
        drive="virtio-blk-pci",
    ),
    # The article's: four Intel 82574L of which one is plugged in, a disk controller without disk, a board with IPMI.
    Hardware.RED: Build(
        machine="q35",  # with its AHCI controller
        cpu="SandyBridge",
        card="e1000e",
        cards=4,
        devices=("-vga", "std"),
        memory_mib=4096,
        console=("tty0", "ttyS1,115200"),
        firmware=FirmwareKind.BIOS,
        disk="/dev/sda",
        drive="ide-hd",
        line=1,
        has_ipmi=True,
    ),
    # An office machine of today: UEFI, a Realtek card, an NVMe drive with nothing on it.
    Hardware.PC: Build(
        machine="q35",
        cpu="Haswell-noTSX",
        card="rtl8139",
        cards=1,
        devices=("-vga", "std"),
        memory_mib=2048,
        console=("tty0", "ttyS0,115200"),
        firmware=FirmwareKind.UEFI,
        disk="/dev/nvme0n1",
        drive="nvme",
        empty=(
            *("-blockdev", "driver=null-co,node-name=empty,size=8589934592,read-zeroes=on"),
            *("-device", "nvme,drive=empty,serial=empty"),
        ),
        efi_rom="efi-rtl8139.rom",
    ),
}
