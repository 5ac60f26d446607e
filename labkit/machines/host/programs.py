"""What a lab runs of this machine's own programs, and the Debian package each comes from."""

from __future__ import annotations

import shutil
from pathlib import Path

from labkit.errors import MachineError
from labkit.lab import ChassisKind, FirmwareKind, Lab
from labkit.machines.virtual import qemu

PROGRAMS = {
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
}
VIRTUAL_PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "ipmi_sim": "openipmi"}


def needed_programs(lab: Lab) -> dict[str, str]:
    """The programs and firmware files that a lab runs, and the packages that have them."""
    if lab.chassis.kind is not ChassisKind.VIRTUAL:
        return PROGRAMS
    efi = any(blade.firmware is not FirmwareKind.BIOS for blade in lab.blades)
    way_out = {"nft": "nftables"} if lab.network.internet else {}
    secure = any(blade.firmware is FirmwareKind.UEFI_SECURE for blade in lab.blades)
    ovmf = [qemu.OVMF_CODE] * efi + [qemu.SECURE_CODE, qemu.SECURE_VARS] * secure
    return PROGRAMS | VIRTUAL_PROGRAMS | way_out | {str(path): "ovmf" for path in ovmf}


def check_programs(lab: Lab) -> None:
    """Raise MachineError naming every program that is missing and the packages that have them."""
    wanted = needed_programs(lab)
    missing = sorted(name for name in wanted if shutil.which(name) is None and not Path(name).is_file())
    if missing:
        packages = " ".join(sorted({wanted[name] for name in missing}))
        raise MachineError(f"not installed: {', '.join(missing)}", fix=f"./lab setup, or apt-get install {packages}")
