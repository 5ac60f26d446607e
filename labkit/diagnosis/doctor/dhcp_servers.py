"""Which DHCP servers are there: ``-m labkit.diagnosis.doctor.dhcp_servers INTERFACE`` prints a line of JSON an answer.

It asks as a BIOS, a UEFI and an iPXE client and for UEFI HTTP boot, by raw frames (packet(7)), so that it needs no
address, and holds no port that a DHCP client of this machine has. It takes no lease: an offer is let run out.
"""

from __future__ import annotations

import json
import secrets
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict

from labkit.diagnosis.doctor.facts import Answer
from labkit.lab.process import faults
from labkit.netboot import dhcp
from labkit.netboot.boot_client import firmware, transport
from labkit.netboot.dhcp import BOOTREPLY, NOWHERE, Message, Option

ETH_P_IP, UDP = 0x0800, 17
EVERYBODY = b"\xff" * 6
LISTEN_S = 3.0
TIMES = 2
SERVER_PORT, CLIENT_PORT = 67, 68


def frame(mac: bytes, payload: bytes) -> bytes:
    """A UDP broadcast of a machine without an address, from port 68 to 67: Ethernet, IP (RFC 791), UDP (RFC 768)."""
    length = 28 + len(payload)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, length, 0, 0, 64, UDP, 0, bytes(4), b"\xff" * 4)
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    udp = struct.pack("!HHHH", CLIENT_PORT, SERVER_PORT, 8 + len(payload), 0)  # 0: no checksum, as IPv4 allows
    return EVERYBODY + mac + struct.pack("!H", ETH_P_IP) + head + udp + payload


def payload(data: bytes) -> bytes | None:
    """The payload of a frame that goes to port 68 over UDP; None for any other frame."""
    if len(data) < 42 or data[12:14] != struct.pack("!H", ETH_P_IP) or data[14] >> 4 != 4 or data[23] != UDP:
        return None
    at = 14 + (data[14] & 15) * 4
    if len(data) < at + 8 or data[20] & 0x3F or data[21] or data[at + 2 : at + 4] != struct.pack("!H", CLIENT_PORT):
        return None
    return data[at + 8 : at + int.from_bytes(data[at + 4 : at + 6], "big")]


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return int(~(total + (total >> 16)) & 0xFFFF)


def ask(interface: str, *, listen_s: float = LISTEN_S) -> Iterator[Answer]:
    """Ask as every kind of client and yield each server's answer to each once. Raises OSError."""
    asked = {secrets.randbits(32): kind for kind in firmware.FIRMWARES.values()}
    seen: set[Answer] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP)) as sock:
        sock.bind((interface, ETH_P_IP))
        card: bytes = sock.getsockname()[4]
        for _ in range(TIMES):
            for xid, kind in asked.items():
                sock.send(frame(card, dhcp.encode(firmware.discover(kind, card.hex(":"), xid))))
            until = time.monotonic() + listen_s / TIMES
            while (left := until - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    answer = _answer(sock.recv(65535), asked)
                except TimeoutError:
                    break
                if answer is not None and answer not in seen:
                    seen.add(answer)
                    yield answer


def _answer(data: bytes, asked: dict[int, firmware.Firmware]) -> Answer | None:
    body = payload(data)
    try:
        reply = dhcp.decode(body) if body else None
        if reply is None or reply.op != BOOTREPLY or reply.xid not in asked or reply.message is not Message.OFFER:
            return None
        server = reply.address(Option.SERVER_ID) or reply.siaddr
    except dhcp.DhcpError:
        return None
    address = "" if reply.yiaddr == NOWHERE else str(reply.yiaddr)
    return Answer(asked[reply.xid].name, str(server), address, transport.boot_file(reply))


def main() -> int:
    """Ask on the interface named."""
    for answer in ask(sys.argv[1]):
        print(json.dumps(asdict(answer)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
