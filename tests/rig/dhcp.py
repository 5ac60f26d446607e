"""What the tests of the boot server share: a lab, messages as clients send them, and a place for events."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

from labkit.boot import BootPlan, BootSecrets, ImageFile, Rendered, Resource
from labkit.errors import PlanError
from labkit.events import Dhcp, Event
from labkit.lab import Blade, Bmc, BootMethod, Chassis, ChassisKind, Flavour, Lab, Network, NetworkKind
from labkit.lab.secret import Secret
from labkit.netboot.boots import BootBook
from labkit.netboot.clients import ClientBook
from labkit.netboot.dhcp import BOOTREQUEST, NOWHERE, Message, Option, Packet
from labkit.netboot.dhcp.decide import decide
from labkit.netboot.dhcp.decision import Decision
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState
from labkit.netboot.dhcp.replies import Reply

E = TypeVar("E", bound=Event)

SERVER = IPv4Address("10.77.0.1")
MAC = "52:54:00:4d:00:01"
SECOND_CARD = "52:54:00:4d:01:01"
STRANGER = "00:00:5e:00:53:99"
ADDRESS = IPv4Address("10.77.0.11")
POOL = (IPv4Address("10.77.0.100"), IPv4Address("10.77.0.102"))
NOW = 1_700_000_000.0
ELSEWHERE = IPv4Address("192.168.1.9")


def make_lab(
    boot: BootMethod = BootMethod.PXELINUX,
    *,
    pool: tuple[IPv4Address, IPv4Address] | None = None,
    server: str = str(SERVER),
    subnet: str = "10.77.0.0/24",
    http_port: int = 80,
) -> Lab:
    """Three blades, the first of which has two cards."""
    net = IPv4Network(subnet)
    blades = tuple(
        Blade(
            name=f"blade{slot}",
            slot=slot,
            macs=(f"52:54:00:4d:00:0{slot}", *((SECOND_CARD,) if slot == 1 else ())),
            address=net[10 + slot],
            bmc=Bmc(str(net[200 + slot])),
            boot=boot,
        )
        for slot in (1, 2, 3)
    )
    network = Network(
        NetworkKind.VIRTUAL, net, IPv4Address(server), net[2], pool, http_port=http_port, router=IPv4Address(server)
    )
    return Lab("test", Path("lab.yaml"), network, Chassis(ChassisKind.VIRTUAL, 3), blades)


def request(
    message: Message,
    mac: str = MAC,
    options: Mapping[int, bytes] | None = None,
    *,
    ciaddr: IPv4Address = NOWHERE,
    giaddr: IPv4Address = NOWHERE,
    flags: int = 0,
) -> Packet:
    """A client's message."""
    own = {Option.MESSAGE_TYPE: bytes((message,)), **(options or {})}
    chaddr = bytes.fromhex(mac.replace(":", ""))
    return Packet(op=BOOTREQUEST, xid=0x1234ABCD, chaddr=chaddr, ciaddr=ciaddr, giaddr=giaddr, flags=flags, options=own)


PXE_BIOS: dict[int, bytes] = {60: b"PXEClient:Arch:00000:UNDI:002001", 93: b"\0\0"}
PXE_EFI: dict[int, bytes] = {60: b"PXEClient:Arch:00007:UNDI:003001", 93: b"\0\7"}
HTTP_EFI: dict[int, bytes] = {60: b"HTTPClient:Arch:00016:UNDI:003001", 93: b"\0\x10"}
IPXE: dict[int, bytes] = {**PXE_BIOS, 77: b"iPXE", 175: b"\xb1\x05\x01\x1a\xf4\x10\x00"}
IPXE_EFI: dict[int, bytes] = {**PXE_EFI, 77: b"\x04iPXE"}


def asked(address: IPv4Address) -> dict[int, bytes]:
    """The option that asks for an address."""
    return {Option.REQUESTED_ADDRESS: address.packed}


def selecting(address: IPv4Address = ADDRESS, server: bytes = SERVER.packed) -> dict[int, bytes]:
    """The options of a client that has chosen an offer."""
    return {**asked(address), Option.SERVER_ID: server}


def only(decision: Decision) -> Reply:
    """The one reply."""
    [reply] = decision.replies
    return reply


def told(decision: Decision) -> Dhcp:
    """The one event about the message."""
    [event] = [event for event in decision.events if isinstance(event, Dhcp)]
    return event


def bound(mac: str = MAC, address: IPv4Address = ADDRESS, until: float = NOW + 1000) -> LeaseBook:
    """A book with one lease."""
    return LeaseBook({address: Lease(address, mac, LeaseState.BOUND, until)})


def answer(packet: Packet, lab: Lab | None = None, leases: LeaseBook | None = None, now: float = NOW) -> Decision:
    """`decide` with the usual lab and no leases, on a network where nobody answers for an address."""
    lab, probed = lab or make_lab(), dict[IPv4Address, str]()
    decision = decide(packet, lab, leases or LeaseBook(), now)
    while decision.probe is not None and not decision.replies:
        probed[decision.probe] = ""
        decision = decide(packet, lab, decision.leases, now, probed=probed)
    return decision


@dataclass
class Seen:
    """Collects events; may be called from any thread."""

    events: list[Event] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind so far."""
        with self._lock:
            return [event for event in self.events if isinstance(event, kind)]

    def wait_for(self, kind: type[E], count: int = 1, *, where: Callable[[E], bool] = lambda event: True) -> list[E]:
        """The events of a kind that fulfil a condition, once there are ``count`` of them. Fails after 10 s."""
        until = time.monotonic() + 10
        while True:
            found = [event for event in self.of(kind) if where(event)]
            if len(found) >= count:
                return found
            assert time.monotonic() < until, f"{len(found)} of {count} {kind.__name__} events: {self.events}"
            time.sleep(0.005)


def prepare(blade: Blade, boot: str, secrets: BootSecrets) -> tuple[BootPlan, Mapping[str, Resource]]:
    """A small plan, in the shape of the real one."""
    if blade.name == "blade3":
        raise PlanError("blade3 cannot be planned")
    plan = BootPlan(
        blade=blade.name, boot=boot, method=blade.boot, os=Flavour.LABOS, nbp="pxelinux.0", kernel="labos/vmlinuz",
        initrds=("labos/labos.cpio", "labos/oem.cpio.gz"), arguments=(), ignition=secrets.ticket,
    )  # fmt: skip
    return plan, {
        "pxelinux.0": ImageFile("pxelinux.0"),
        "labos/vmlinuz": ImageFile("labos/vmlinuz"),
        "pxelinux.cfg/default": Rendered(f"menu of {blade.name}\n".encode()),
        "labos/oem.cpio.gz": Rendered(f"{blade.name} {boot} {secrets.ticket.reveal()}".encode(), secret=True),
    }


def make_clients(folder: Path, emit: Callable[[Event], None], lab: Lab | None = None) -> ClientBook:
    """A roster whose first two blades hold their addresses, none of which is booting yet."""
    lab = lab or make_lab()
    clients = ClientBook(
        lab, BootBook(lab, Secret("key"), folder / "boots.json", prepare), folder / "leases.json", emit
    )
    book = LeaseBook()
    for blade in lab.blades[:2]:
        book = book.put(Lease(blade.address, blade.macs[0], LeaseState.BOUND, time.time() + 86_400))
    clients.adopt(Decision(book, must_save=True))
    clients.save()
    return clients


def on_loopback(lab: Lab) -> Lab:
    """The lab with its first blade at 127.0.0.1, where a test's own client is."""
    first = replace(lab.blades[0], address=IPv4Address("127.0.0.1"))
    return replace(lab, blades=(first, *lab.blades[1:]))


def choices(mac: str) -> list[IPv4Address]:
    """The addresses of the pool in the order in which a card is given a free one."""
    start = zlib.crc32(bytes.fromhex(mac.replace(":", "")))
    return [POOL[0] + (start + step) % 3 for step in range(3)]


FIRST, SECOND, THIRD = choices(STRANGER)


WITH_POOL = make_lab(pool=POOL)
