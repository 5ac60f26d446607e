"""A bad link: a relay of Ethernet frames between a blade's tap and the lab's bridge that loses, doubles and reorders.

``python relay.py TAP BRIDGE SEED`` runs in the lab's network namespace until SIGTERM and prints what it did as JSON.
The kernel's own tool for that, netem, is not in every kernel. `Faults` decides and is pure: the same seed and the same
frames meet the same fate.
"""

from __future__ import annotations

import json
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

HARSH, MILD, NONE = "harsh", "mild", "none"
LOSS = {HARSH: 0.20, MILD: 0.01, NONE: 0.0}
DOUBLED = {HARSH: 0.05, MILD: 0.0, NONE: 0.0}
LATE = {HARSH: 0.05, MILD: 0.0, NONE: 0.0}
LATE_S = 0.004
"""Late enough for the frames behind it to overtake it."""
LARGE_FILES = (b"vmlinuz", b"labos.cpio")

ETHERNET_B = 14
IPV4 = b"\x08\0"
UDP, TCP = 17, 6
DHCP_PORTS = {67, 68, 4011}
TFTP_PORT, HTTP_PORT = 69, 80


@dataclass(frozen=True)
class Fate:
    """How often a frame arrives, and whether late."""

    copies: int
    is_late: bool = False


class Faults:
    """What becomes of each frame. DHCP, loaders, configs and archives fare badly, the large files a little."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._flows: dict[tuple[int, int], str] = {}
        self.seen: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()

    def judge(self, frame: bytes) -> Fate:
        """The fate of the next frame."""
        kind = self._kind(frame)
        self.seen[kind] += 1
        draw = self._chance.random()
        if draw < LOSS[kind]:
            self.lost[kind] += 1
            return Fate(0)
        draw -= LOSS[kind]
        if draw < DOUBLED[kind]:
            return Fate(2)
        return Fate(1, is_late=draw < DOUBLED[kind] + LATE[kind])

    def _kind(self, frame: bytes) -> str:
        """How bad the link is for a frame: by the file that its transfer asked for."""
        if frame[12:14] != IPV4 or len(frame) < ETHERNET_B + 28:
            return NONE
        at = ETHERNET_B + (frame[ETHERNET_B] & 15) * 4
        protocol, source, target = frame[ETHERNET_B + 9], *struct.unpack_from("!HH", frame, at)
        if protocol == UDP:
            return self._of_udp(source, target, frame[at + 8 :])
        return self._of_tcp(source, target, frame[at + (frame[at + 12] >> 4) * 4 :]) if protocol == TCP else NONE

    def _of_udp(self, source: int, target: int, payload: bytes) -> str:
        if {source, target} & DHCP_PORTS:
            return HARSH
        if target == TFTP_PORT:  # a request: the client's port is the transfer's from now on
            self._flows[UDP, source] = _kind_of_file(payload[2:].split(b"\0")[0])
            return HARSH
        return self._flows.get((UDP, source)) or self._flows.get((UDP, target)) or NONE

    def _of_tcp(self, source: int, target: int, payload: bytes) -> str:
        if HTTP_PORT not in (source, target):
            return NONE
        flow = (TCP, target if source == HTTP_PORT else source)
        verb, _, rest = payload[:200].partition(b" ")
        if target == HTTP_PORT and verb in (b"GET", b"HEAD"):
            self._flows[flow] = _kind_of_file(rest.split(b" ")[0])
        elif target == HTTP_PORT and verb == b"POST":  # the system is up: what it says is no part of the boot
            self._flows[flow] = NONE
        return self._flows.get(flow, HARSH)


def _kind_of_file(path: bytes) -> str:
    return MILD if path.endswith(LARGE_FILES) else HARSH


# --- the relay -----------------------------------------------------------------------------------------------------

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23  # linux/if_packet.h
VNET_HEADER_B = 10  # says which checksums a card was to fill in, and goes along with the frame (virtio 1.1, 5.1.6)
LARGEST_B = VNET_HEADER_B + 70_000


def link_up(tap: str, bridge: str) -> None:
    """Take the tap off the bridge and put a pair of our own in its place.

    What arrives at the tap and at our end of the pair is for us alone. The kernel, left to itself, would answer for the
    bridge there, ARP and "port unreachable"; of a port whose bridge is down it drops every frame, once we have it.
    """
    inner, outer, nowhere = f"{tap}i", f"{tap}o", f"{tap}n"
    for words in (
        f"link add {nowhere} type bridge",
        f"link set {tap} master {nowhere}",
        f"link add {inner} type veth peer name {outer}",
        f"link set {inner} master {nowhere} addrgenmode none promisc on up",
        f"link set {outer} master {bridge} gso_max_segs 1 up",  # one frame a packet: each can be lost
        f"link set {tap} addrgenmode none promisc on up",
    ):
        subprocess.run(["ip", *words.split()], check=True)


def open_link(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sock.bind((name, ETH_P_ALL))
    return sock


def relay(tap: str, bridge: str, seed: int) -> Faults:
    """Carry frames until SIGTERM."""
    link_up(tap, bridge)
    faults, ends, late = Faults(seed), {}, list[tuple[float, socket.socket, bytes]]()
    a, b = open_link(tap), open_link(f"{tap}i")
    ends = {a: b, b: a}
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    print("ready", flush=True)
    while not stopping:
        ready, _, _ = select.select(list(ends), [], [], LATE_S / 2 if late else 0.2)
        for sock in ready:
            data = sock.recv(LARGEST_B)
            fate = faults.judge(data[VNET_HEADER_B:])
            if fate.is_late:
                late.append((time.monotonic() + LATE_S, ends[sock], data))
                continue
            for _ in range(fate.copies):
                send(ends[sock], data)
        now = time.monotonic()
        while late and late[0][0] <= now:
            _, sock, data = late.pop(0)
            send(sock, data)
    return faults


def send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.send(data)
    except OSError:
        pass  # a full queue, or a machine that is switched off: frames are lost on links


def main() -> None:
    faults = relay(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print(json.dumps({"seen": dict(faults.seen), "lost": dict(faults.lost)}), flush=True)


if __name__ == "__main__":
    main()
