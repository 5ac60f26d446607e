"""Which boot file a client gets: who is asking (`Client`, `Firmware`), and the one table of loaders.

The names are paths below the server's root, as Debian's packages name the files.
"""

from __future__ import annotations

import enum

from labkit.lab import Blade, BootMethod, ChassisKind, FirmwareKind, Lab, Network


class Client(enum.StrEnum):
    """Who speaks DHCP: a ROM's PXE stack, iPXE, UEFI HTTP boot, or an operating system."""

    PXE = "pxe"
    IPXE = "ipxe"
    HTTP = "http"
    OS = "os"


class Firmware(enum.StrEnum):
    """What can be executed on the machine, from the numbers of option 93."""

    BIOS = "bios"
    EFI_X64 = "efi-x64"
    OTHER = "other"


FIRMWARE = {0: Firmware.BIOS, 7: Firmware.EFI_X64, 9: Firmware.EFI_X64, 16: Firmware.EFI_X64}
"""IANA's "Processor Architecture Types". EFI x64 says 7 in practice, 9 by RFC 4578; 16 is its HTTP boot."""

SCRIPT = "boot.ipxe"

FILES = {
    "pxelinux.0": ("/usr/lib/PXELINUX/pxelinux.0", "pxelinux"),
    "lpxelinux.0": ("/usr/lib/PXELINUX/lpxelinux.0", "pxelinux"),
    "ldlinux.c32": ("/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common"),
    "syslinux.efi": ("/usr/lib/SYSLINUX.EFI/efi64/syslinux.efi", "syslinux-efi"),
    "ldlinux.e64": ("/usr/lib/syslinux/modules/efi64/ldlinux.e64", "syslinux-common"),
    "undionly.kpxe": ("/usr/lib/ipxe/undionly.kpxe", "ipxe"),
    "ipxe.efi": ("/usr/lib/ipxe/ipxe.efi", "ipxe"),
    "snponly.efi": ("/usr/lib/ipxe/snponly.efi", "ipxe"),
}
"""The loaders and what they load of themselves: where Debian puts each, and in which package. ``ipxe.efi`` brings its
own drivers; it is for firmware whose network ``snponly.efi`` cannot use."""

SHIM, GRUB = "shimx64.efi", "grubx64.efi"
SIGNED = {
    SHIM: ("usr/lib/shim/shimx64.efi.signed", "shim-signed"),
    GRUB: ("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "grub-efi-amd64-signed"),
}
"""The loaders with signatures, for Secure Boot: where each is in its Debian package, which is not for this machine
(`labkit.images.secure_boot`). Shim asks for GRUB by this name. Only blades with ``boot: grub`` need them."""

SECOND_PARTS = {"pxelinux.0": "ldlinux.c32", "lpxelinux.0": "ldlinux.c32", "syslinux.efi": "ldlinux.e64"}
"""The loaders that read ``pxelinux.cfg``, and the second part that each fetches first. The others become iPXE, but for
shim, which fetches a GRUB."""

LOADERS: dict[tuple[BootMethod, Client, Firmware], str] = {
    (BootMethod.PXELINUX, Client.PXE, Firmware.BIOS): "pxelinux.0",
    (BootMethod.PXELINUX, Client.IPXE, Firmware.BIOS): "pxelinux.0",
    (BootMethod.PXELINUX, Client.PXE, Firmware.EFI_X64): "syslinux.efi",
    (BootMethod.PXELINUX, Client.IPXE, Firmware.EFI_X64): "syslinux.efi",
    (BootMethod.LPXELINUX, Client.PXE, Firmware.BIOS): "lpxelinux.0",
    (BootMethod.LPXELINUX, Client.IPXE, Firmware.BIOS): "pxelinux.0",
    (BootMethod.LPXELINUX, Client.PXE, Firmware.EFI_X64): "snponly.efi",
    (BootMethod.LPXELINUX, Client.HTTP, Firmware.EFI_X64): "snponly.efi",
    (BootMethod.LPXELINUX, Client.IPXE, Firmware.EFI_X64): SCRIPT,
    (BootMethod.IPXE, Client.PXE, Firmware.BIOS): "undionly.kpxe",
    (BootMethod.IPXE, Client.PXE, Firmware.EFI_X64): "snponly.efi",
    (BootMethod.IPXE, Client.HTTP, Firmware.EFI_X64): "snponly.efi",
    (BootMethod.IPXE, Client.IPXE, Firmware.BIOS): SCRIPT,
    (BootMethod.IPXE, Client.IPXE, Firmware.EFI_X64): SCRIPT,
    (BootMethod.IPXE, Client.IPXE, Firmware.OTHER): SCRIPT,
    (BootMethod.GRUB, Client.PXE, Firmware.EFI_X64): SHIM,
    (BootMethod.GRUB, Client.PXE, Firmware.BIOS): "pxelinux.0",
    (BootMethod.GRUB, Client.IPXE, Firmware.BIOS): "pxelinux.0",
}
"""An iPXE that asks again gets the script and no loader, which ends the chain.

An iPXE ROM speaks HTTP for pxelinux.0, which then takes URLs as lpxelinux.0 does. lpxelinux.0 brings a TCP of its own
and waits for the ROM's interrupts, and over iPXE's UNDI it can miss one and stop in the middle of a file: seen in one
boot in five of virtual blades under load. So it goes to other ROMs only. UEFI gets iPXE in its place: HTTP of
syslinux.efi, over the firmware's own TCP, is slow and was seen to stand still.

GRUB fetches all it loads over TFTP. Debian 13's signed one has HTTP inside (Debian 12's has not), but a kernel came no
faster by it. HTTP boot of shim was not tried. A BIOS knows no Secure Boot and gets PXELINUX, over TFTP as well.
"""


def loader(method: BootMethod, client: Client, firmware: Firmware) -> str | None:
    """The boot file of a client; None when the method has none for it, and for an operating system."""
    return LOADERS.get((method, client, firmware))


def is_signed(lab: Lab) -> bool:
    """Whether a lab needs the loaders for Secure Boot."""
    return any(blade.boot is BootMethod.GRUB for blade in lab.blades)


ASKERS: dict[FirmwareKind, tuple[Client, Firmware]] = {
    FirmwareKind.BIOS: (Client.PXE, Firmware.BIOS),
    FirmwareKind.UEFI: (Client.PXE, Firmware.EFI_X64),
    FirmwareKind.UEFI_HTTP: (Client.HTTP, Firmware.EFI_X64),
    FirmwareKind.UEFI_SECURE: (Client.PXE, Firmware.EFI_X64),
}


def first_asker(lab: Lab, blade: Blade) -> tuple[Client, Firmware]:
    """Who asks first when a blade is switched on. A virtual BIOS leaves that to its card's ROM, an iPXE."""
    client, firmware = ASKERS[blade.firmware]
    is_ipxe = blade.firmware is FirmwareKind.BIOS and lab.chassis.kind is ChassisKind.VIRTUAL
    return (Client.IPXE if is_ipxe else client), firmware


def named(network: Network, client: Client, file: str) -> str:
    """A boot file as DHCP names it to a client."""
    return f"{network.http_root}/{file}" if is_url(client, file) else file


def is_url(client: Client, file: str) -> bool:
    """Whether a boot file is named by its URL: iPXE's script and all of HTTP boot; the rest comes by TFTP."""
    return client is Client.HTTP or file == SCRIPT
