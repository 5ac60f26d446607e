"""Packets as they were seen on the wire: seeds for goldens and for mutation."""

from __future__ import annotations

_ZEROS = "00" * 202

UDHCPC_DISCOVER = bytes.fromhex(
    "010106005d54577300000000000000000000000000000000000000005254004d0001" + _ZEROS + "63825363"
    "3501013902024037070103060c0f1c2a3c20505845436c69656e743a417263683a30303030303a554e44493a3030323030313d0701525400"
    "4d00015d020000ff"
)
"""busybox 1.35, ``udhcpc -V PXEClient:Arch:00000:UNDI:002001 -x 0x5d:0000``."""

DHCLIENT_DISCOVER = bytes.fromhex(
    "01010600be562b0000000000000000000000000000000000000000005254004d0001" + _ZEROS + "63825363"
    "3501010c02766d370d011c02030f06770c2c2f1a792aff" + "00" * 37
)
"""ISC dhclient 4.4.3."""

OVMF_RRQ = b"\0\1snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0"
PXELINUX_RRQ = b"\0\1pxelinux.cfg/01-52-54-00-4d-00-01\0octet\0tsize\x000\0blksize\x001408\0"
"""Requests in the form these firmwares and loaders send them."""
