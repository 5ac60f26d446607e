"""What firmwares say over DHCP: the messages of a BIOS PXE ROM, of iPXE, of UEFI PXE and of UEFI HTTP boot.

By the PXE specification 2.1 (table 2-1), RFC 4578 and the UEFI specification (24.7, HTTP boot).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from labkit.boot import loaders
from labkit.lab import Blade, Lab
from labkit.netboot.dhcp import BOOTREQUEST, BROADCAST_FLAG, Message, Option, Packet

PARAMETERS, UNDI = 55, 94
ASKED_FOR = bytes((1, 2, 3, 6, 12, 15, 17, 43, 54, 60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135, 175, 209))
LARGEST_B = 1472
HTTP_FEATURE = bytes((0x13, 1, 1))
"""Option 175 as iPXE sends it: the features it has, each a suboption of value 1; here only that it speaks HTTP."""


@dataclass(frozen=True)
class Firmware:
    """A kind of firmware: its name, option 93, options 60 and 77, and the TFTP block it asks for."""

    name: str
    arch: int
    vendor_class: str
    user_class: str = ""
    blksize_b: int = 1456


def _pxe(kind: str, arch: int) -> str:
    return f"{kind}Client:Arch:{arch:05d}:UNDI:003010"


FIRMWARES: Mapping[str, Firmware] = {
    one.name: one
    for one in (
        Firmware("bios", 0, _pxe("PXE", 0)),
        Firmware("ipxe", 0, _pxe("PXE", 0), "iPXE", 1432),
        Firmware("uefi", 7, _pxe("PXE", 7), blksize_b=1468),
        Firmware("http", 16, _pxe("HTTP", 16)),
    )
}


def second_stage(first: Firmware) -> Firmware:
    """The iPXE that another firmware has loaded; on UEFI it says the same however it came."""
    arch = FIRMWARES["uefi"].arch if first.name == "http" else first.arch
    return replace(FIRMWARES["ipxe"], arch=arch, vendor_class=_pxe("PXE", arch))


def discover(firmware: Firmware, mac: str, xid: int) -> Packet:
    """The message that looks for servers. Its answers come as broadcasts."""
    return _message(firmware, mac, xid, Message.DISCOVER, {})


def request(firmware: Firmware, mac: str, offer: Packet) -> Packet:
    """The message that takes an offer."""
    chosen: dict[int, bytes] = {
        Option.REQUESTED_ADDRESS: offer.yiaddr.packed,
        Option.SERVER_ID: offer.options.get(Option.SERVER_ID, offer.siaddr.packed),
    }
    return _message(firmware, mac, offer.xid, Message.REQUEST, chosen)


def release(mac: str, ack: Packet, xid: int) -> Packet:
    """The message that gives an address back."""
    server = ack.options.get(Option.SERVER_ID, ack.siaddr.packed)
    options: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((Message.RELEASE,)), Option.SERVER_ID: server}
    return Packet(op=BOOTREQUEST, xid=xid, chaddr=_bytes(mac), ciaddr=ack.yiaddr, options=options)


def _message(firmware: Firmware, mac: str, xid: int, kind: Message, more: Mapping[int, bytes]) -> Packet:
    card = _bytes(mac)
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((kind,)),
        **more,
        Option.MAXIMUM_SIZE: LARGEST_B.to_bytes(2, "big"),
        PARAMETERS: ASKED_FOR,
        Option.VENDOR_CLASS: firmware.vendor_class.encode(),
        Option.CLIENT_ARCHITECTURE: firmware.arch.to_bytes(2, "big"),
        UNDI: bytes((1, 3, 16)),
        Option.CLIENT_UUID: bytes(11) + card,  # type 0 and a UUID that ends in the card's address
    }
    if firmware.user_class:
        options |= {Option.USER_CLASS: firmware.user_class.encode(), Option.IPXE: HTTP_FEATURE}
    return Packet(op=BOOTREQUEST, xid=xid, chaddr=card, flags=BROADCAST_FLAG, options=options)


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


SPEAKERS = {
    (loaders.Client.PXE, loaders.Firmware.BIOS): "bios",
    (loaders.Client.IPXE, loaders.Firmware.BIOS): "ipxe",
    (loaders.Client.PXE, loaders.Firmware.EFI_X64): "uefi",
    (loaders.Client.HTTP, loaders.Firmware.EFI_X64): "http",
}
"""Which of the walk's firmwares speaks as who."""


def default_firmware(lab: Lab, blade: Blade) -> str:
    """The firmware of a blade; a real one, of which nobody said more, is taken for a BIOS with a PXE ROM."""
    return SPEAKERS[loaders.first_asker(lab, blade)]
