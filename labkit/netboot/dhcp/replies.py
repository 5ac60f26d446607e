"""DHCP replies: what goes into an OFFER, an ACK or a NAK, and where it is sent (RFC 2131 sections 4.1, 4.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any

from labkit.boot import discovery, loaders
from labkit.boot.loaders import Client, Firmware
from labkit.lab import Blade, Network
from labkit.netboot import dhcp
from labkit.netboot.dhcp import BOOTREPLY, BROADCAST_FLAG, NOWHERE, Message, Option, Packet, identity

SERVER_PORT, CLIENT_PORT = 67, 68
EVERYWHERE = IPv4Address("255.255.255.255")
ECHOED = (Option.CLIENT_ID, Option.CLIENT_UUID, Option.RELAY_AGENT)
"""What a reply brings back: RFC 6842, RFC 4578 section 2.3, RFC 3046 section 2.2, which wants 82 to be last."""
EXPENDABLE = (
    *(Option.DOMAIN_SEARCH, Option.TIME_SERVER, Option.SERVER_NAME, Option.BOOT_FILE, Option.BROADCAST),
    *(Option.DOMAIN, Option.HOST_NAME, Option.RELAY_AGENT),
)
"""What is left out of a reply too long for its client, in this order: 119 says what 15 says, 66 and 67 are in
``siaddr`` and ``file`` as well, and 82 is to be left out where it does not fit (RFC 3046 section 2.2)."""
PXE_USE_BOOT_FILE = bytes((6, 1, 8, 255))
"""Option 43 with bit 3 of PXE_DISCOVERY_CONTROL: no discovery, take the boot file named here (PXE 2.1, table 2-1)."""
IPXE_NO_PROXY = bytes((0xB0, 1, 1))
"""Option 175 with ``no-pxedhcp``: iPXE need not wait for a proxy's offer."""


Peer = tuple[IPv4Address, int]
"""Address and port that a message came from."""
SERVER_ID_OVERRIDE = 11
"""Sub-option of option 82 (RFC 5107)."""
PXE_BOOT_ITEM = 71
"""Sub-option of option 43: the server type and layer asked for, which a boot server repeats (PXE 2.1, table 2-1)."""


@dataclass(frozen=True)
class Reply:
    """A message to send, and the address and port it goes to."""

    packet: Packet
    to: IPv4Address
    port: int


@dataclass(frozen=True)
class BootFile:
    """The boot file for a client, a path for TFTP or a URL; empty where there is none, and ``reason`` may say why."""

    file: str = ""
    reason: str = ""


def server_id(asked: Packet, network: Network) -> IPv4Address:
    """Who we are to a client: our address, or that of a relay which wants to stay between us (RFC 5107)."""
    override = asked.part(Option.RELAY_AGENT, SERVER_ID_OVERRIDE) if asked.giaddr != NOWHERE else None
    return IPv4Address(override) if override is not None and len(override) == 4 else network.server


def boot_file_of(asked: Packet, blade: Blade | None, network: Network) -> BootFile:
    """The boot file that answers a message. An operating system gets none, and neither does the firmware of a machine
    that is not in the lab, unless the lab discovers such.
    """
    client = identity.client_of(asked)
    if client is Client.OS or (blade is None and not network.discover):
        return BootFile()
    method, firmware = blade.boot if blade is not None else discovery.METHOD, identity.firmware_of(asked)
    file = loaders.loader(method, client, firmware)
    if file == loaders.SCRIPT and not identity.speaks_http(asked):  # then it loads another iPXE by TFTP, as a ROM does
        file = loaders.loader(method, Client.PXE, firmware)
    if file is None:
        return BootFile(reason=f"boot method {method} has no loader for {client} clients with {firmware} firmware")
    return BootFile(loaders.named(network, client, file))


def grant(
    asked: Packet,
    blade: Blade | None,
    network: Network,
    kind: Message,
    address: IPv4Address,
    lease_s: int,
    boot: BootFile,
) -> Reply:
    """An OFFER or an ACK of an address for ``lease_s`` seconds; ``NOWHERE`` makes it the answer to an INFORM."""
    ours = server_id(asked, network).packed
    options: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((kind,)), Option.SERVER_ID: ours}
    if address != NOWHERE:
        options[Option.LEASE_TIME] = lease_s.to_bytes(4, "big")
        options[Option.RENEWAL_TIME] = (lease_s // 2).to_bytes(4, "big")
        options[Option.REBINDING_TIME] = (lease_s * 7 // 8).to_bytes(4, "big")
    options[Option.SUBNET_MASK] = network.subnet.netmask.packed
    options |= _beyond(network, asked.options.get(Option.PARAMETERS, b""))
    options[Option.BROADCAST] = network.subnet.broadcast_address.packed
    if blade is not None:
        options[Option.HOST_NAME] = blade.name.encode()
    fields = {"yiaddr": address, "ciaddr": asked.ciaddr if kind is Message.ACK else NOWHERE}
    options |= _boot_options(asked, network, boot)
    reply = _reply(asked, options, ECHOED, **fields, **_file_fields(network, boot))
    return _addressed(asked, _shortened(asked, reply))


def _beyond(network: Network, wanted: bytes) -> dict[int, bytes]:
    """Router, name servers, time servers and domain: RFC 2132 sections 3.5, 3.8, 8.3 and 3.17, RFC 3397.

    Clients of today read the list of domains to search, older ones their own domain: it is both. One that asks for
    classless routes (RFC 3442) would rather have its router among them.
    """
    options: dict[int, bytes] = {}
    if network.router is not None:
        options[Option.ROUTER] = network.router.packed
        if Option.CLASSLESS_ROUTES in wanted:
            options[Option.CLASSLESS_ROUTES] = b"\0" + network.router.packed  # to everywhere
    if network.dns:
        options[Option.NAME_SERVER] = b"".join(address.packed for address in network.dns)
    if network.ntp:
        options[Option.TIME_SERVER] = b"".join(address.packed for address in network.ntp)
    if network.domain:
        options[Option.DOMAIN] = network.domain.encode()
        labels = [label.encode() for label in network.domain.split(".")]
        options[Option.DOMAIN_SEARCH] = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return options


def name_boot_file(asked: Packet, network: Network, kind: Message, boot: BootFile, peer: Peer | None) -> Reply:
    """A proxy's OFFER, or the ACK of its boot service to ``peer``: a boot file, no address, no lease (PXE 2.1, 2.2.3).

    UEFI firmware takes an OFFER without option 43 as the word to ask port 4011 for the file.
    """
    options: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((kind,)), Option.SERVER_ID: network.server.packed}
    client = identity.client_of(asked)
    options[Option.VENDOR_CLASS] = b"HTTPClient" if client is Client.HTTP else b"PXEClient"
    if client is Client.PXE and identity.firmware_of(asked) is Firmware.BIOS:
        options[Option.VENDOR] = _boot_item(asked) + PXE_USE_BOOT_FILE
    options |= _names(network, boot)
    reply = _reply(asked, options, ECHOED, **_file_fields(network, boot))
    if peer is not None:
        return Reply(_shortened(asked, replace(reply, ciaddr=asked.ciaddr)), *peer)
    return _addressed(asked, _shortened(asked, reply))


def confirm(asked: Packet, network: Network, peer: Peer) -> Reply:
    """The ACK of an INFORM, to where it came from, with nothing in it but who answers."""
    options: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((Message.ACK,)), Option.SERVER_ID: network.server.packed}
    return Reply(_reply(asked, options, (), ciaddr=asked.ciaddr), *peer)


def _boot_item(asked: Packet) -> bytes:
    """Sub-option 71 as it was asked for, or nothing."""
    item = asked.part(Option.VENDOR, PXE_BOOT_ITEM)
    return b"" if item is None else bytes((PXE_BOOT_ITEM, len(item))) + item


def refuse(asked: Packet, network: Network, reason: str) -> Reply:
    """A NAK: broadcast, and through a relay with the flag that makes the relay broadcast it (section 4.3.2)."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((Message.NAK,)),
        Option.SERVER_ID: server_id(asked, network).packed,
        Option.MESSAGE: reason.encode()[:255],
    }
    reply = _shortened(asked, _reply(asked, options, (Option.CLIENT_ID, Option.RELAY_AGENT)))
    if asked.giaddr == NOWHERE:
        return Reply(reply, EVERYWHERE, CLIENT_PORT)
    return Reply(replace(reply, flags=reply.flags | BROADCAST_FLAG), asked.giaddr, SERVER_PORT)


def _boot_options(asked: Packet, network: Network, boot: BootFile) -> dict[int, bytes]:
    """The options around a boot file. A name is NUL-terminated: some ROMs read on until they find one."""
    options: dict[int, bytes] = {}
    if not boot.file:
        return options
    client = identity.client_of(asked)
    if client is Client.HTTP:
        options[Option.VENDOR_CLASS] = b"HTTPClient"
    elif client is Client.IPXE:
        options[Option.IPXE] = IPXE_NO_PROXY
    elif identity.firmware_of(asked) is Firmware.BIOS:
        options[Option.VENDOR_CLASS] = b"PXEClient"
        options[Option.VENDOR] = PXE_USE_BOOT_FILE
    return {**options, **_names(network, boot)}


def _names(network: Network, boot: BootFile) -> dict[int, bytes]:
    return {
        Option.SERVER_NAME: str(network.server).encode() + b"\0",
        Option.BOOT_FILE: boot.file.encode() + b"\0",
    }


def _file_fields(network: Network, boot: BootFile) -> dict[str, Any]:
    """The fields of a reply that name its boot file, if there is one, as the options do."""
    if not boot.file:
        return {}
    file = boot.file.encode() if len(boot.file) < 128 else b""
    return {"siaddr": network.server, "sname": str(network.server).encode(), "file": file}


def _reply(asked: Packet, options: dict[int, bytes], echoed: tuple[Option, ...], **fields: Any) -> Packet:
    """A reply with the fields that table 3 copies, ``fields`` of its own, and what is echoed behind its own options."""
    echo: dict[int, bytes] = {code: asked.options[code] for code in echoed if code in asked.options}
    return Packet(
        op=BOOTREPLY, htype=asked.htype, xid=asked.xid, flags=asked.flags, giaddr=asked.giaddr, chaddr=asked.chaddr,
        options={**options, **echo}, **fields,
    )  # fmt: skip


def _shortened(asked: Packet, reply: Packet) -> Packet:
    """A reply no longer than its client can take (option 57)."""
    limit_b = max(asked.wish(Option.MAXIMUM_SIZE, 2) or 0, dhcp.DATAGRAM_B) - dhcp.UDP_IP_B
    for code in EXPENDABLE:
        if dhcp.size_b(reply) <= limit_b:
            break
        reply = replace(reply, options={key: value for key, value in reply.options.items() if key != code})
    return reply


def _addressed(asked: Packet, reply: Packet) -> Reply:
    """Where an OFFER or ACK goes (section 4.1). A client without an address hears broadcasts, whatever its flag."""
    if asked.giaddr != NOWHERE:
        return Reply(reply, asked.giaddr, SERVER_PORT)
    if asked.ciaddr != NOWHERE and asked.message is not Message.DISCOVER:
        return Reply(reply, asked.ciaddr, CLIENT_PORT)
    return Reply(reply, EVERYWHERE, CLIENT_PORT)
