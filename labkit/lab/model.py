"""`Lab`: what ``lab.yaml`` says, as frozen values. (Reading and checking the file is `labkit.lab.lab_yaml`.)

Values only: no files, no sockets, no clock, no secrets.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path


class Role(enum.StrEnum):
    """What a blade is in the swarm."""

    MANAGER = "manager"
    WORKER = "worker"


class Flavour(enum.StrEnum):
    """The operating system a blade boots."""

    LABOS = "labos"
    CONTAINER_LINUX = "container-linux"


class BootMethod(enum.StrEnum):
    """How a blade is brought from its firmware to a kernel.

    ``pxelinux``: everything over TFTP, as the article does it. ``lpxelinux``: configuration over TFTP, kernel and
    initrds over HTTP. ``ipxe``: a script and everything else over HTTP.
    """

    PXELINUX = "pxelinux"
    LPXELINUX = "lpxelinux"
    IPXE = "ipxe"


class FirmwareKind(enum.StrEnum):
    """The firmware of a virtual blade: SeaBIOS, or OVMF that boots by PXE or by UEFI HTTP boot."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_HTTP = "uefi-http"


class DhcpMode(enum.StrEnum):
    """``server``: we give addresses and boot files. ``proxy``: a router gives addresses, we only boot files."""

    SERVER = "server"
    PROXY = "proxy"


class NetworkKind(enum.StrEnum):
    """``virtual``: a bridge in a namespace of the lab's own. ``interface``: a network card of this machine."""

    VIRTUAL = "virtual"
    INTERFACE = "interface"


class ChassisKind(enum.StrEnum):
    """``virtual``: QEMU machines behind BMCs of our own. ``ipmi``: real slots with real BMCs."""

    VIRTUAL = "virtual"
    IPMI = "ipmi"


class Hardware(enum.StrEnum):
    """What a virtual blade is built of (`labkit.lab.hardware`); a real one is what it is."""

    VIRTIO = "virtio"
    RED = "red"
    PC = "pc"


BRIDGE = "br0"
"""A virtual network's bridge, in a namespace of the lab's own."""


@dataclass(frozen=True)
class Network:
    """The blades' network.

    ``server`` is the address DHCP, TFTP and HTTP are served on; ``controller`` the address of the swarm's first
    manager (the same machine in a real lab); ``pool`` the first and last address for machines that are not blades.
    With ``dhcp`` as ``proxy`` there is no pool, and what the lab calls a blade's address is what its router gives it.
    With ``tls`` the boot server speaks TLS as well, on ``https_port``, and hears booted blades there only.

    ``router``, ``dns``, ``ntp`` and ``domain`` are what blades are told of the world beyond; ``open`` names those of
    them that the file leaves open, for `labkit.machines.host.uplink` to find. With ``internet`` a virtual lab has a way
    out.
    """

    kind: NetworkKind
    subnet: IPv4Network
    server: IPv4Address
    controller: IPv4Address
    pool: tuple[IPv4Address, IPv4Address] | None = None
    interface: str = ""
    http_port: int = 80
    registry_port: int = 5000
    dhcp: DhcpMode = DhcpMode.SERVER
    tls: bool = False
    https_port: int = 443
    router: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    ntp: tuple[IPv4Address, ...] = ()
    domain: str = ""
    open: frozenset[str] = frozenset()
    internet: bool = False

    @property
    def link(self) -> str:
        """The interface that the boot server listens on: the lab's bridge, or a card of this machine."""
        return BRIDGE if self.kind is NetworkKind.VIRTUAL else self.interface

    @property
    def is_proxy(self) -> bool:
        """Whether addresses come from another DHCP server."""
        return self.dhcp is DhcpMode.PROXY

    @property
    def host(self) -> IPv4Address:
        """The address this machine has towards a virtual lab: the last of the subnet."""
        return self.subnet.broadcast_address - 1

    @property
    def http_root(self) -> str:
        """The URL blades fetch from, without a trailing slash."""
        return f"http://{self.server}" + ("" if self.http_port == 80 else f":{self.http_port}")

    @property
    def home_root(self) -> str:
        """The URL below which a booted blade speaks with its ticket, without a trailing slash."""
        if not self.tls:
            return self.http_root
        return f"https://{self.server}" + ("" if self.https_port == 443 else f":{self.https_port}")

    @property
    def registry(self) -> str:
        """The registry as an image name's first part, ``host:port``."""
        return f"{self.server}:{self.registry_port}"


@dataclass(frozen=True)
class Chassis:
    """What the blades sit in."""

    kind: ChassisKind
    slots: int
    name: str = "chassis1"


@dataclass(frozen=True)
class Bmc:
    """A slot's management controller, spoken to over IPMI 2.0.

    ``password_file`` is a path beside ``lab.yaml``; the password itself is never part of a lab. For a virtual
    chassis it is None: the supervisor makes one up for each lab.
    """

    address: str
    port: int = 623
    user: str = "labkit"
    password_file: Path | None = None


@dataclass(frozen=True)
class Blade:
    """One blade. ``macs`` are lower-case with colons, the booting card first; ``slot`` counts from 1.

    ``hardware`` and ``plugged``, the numbers of the cards that have a cable, are a virtual blade's; cards count from 1.
    """

    name: str
    slot: int
    macs: tuple[str, ...]
    address: IPv4Address
    bmc: Bmc
    role: Role = Role.WORKER
    os: Flavour = Flavour.LABOS
    boot: BootMethod = BootMethod.LPXELINUX
    memory_mib: int = 2048
    console: tuple[str, ...] = ("tty0", "ttyS0,115200")
    autologin: bool = True
    config: Path | None = None
    firmware: FirmwareKind = FirmwareKind.BIOS
    hardware: Hardware = Hardware.VIRTIO
    plugged: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class SwarmRules:
    """How the swarm's members are kept in order.

    ``lost_after_s``: how long a blade that is gone without a word stays on the list, None for ever. ``window_s``: how
    long a boot's ticket is good for a place in the swarm. ``window_on_discover``: whether a boot that we did not cause
    may join too.
    """

    lost_after_s: float | None = 3600.0
    window_s: float = 900.0
    window_on_discover: bool = True


DOCKER_HUB = "https://registry-1.docker.io"


@dataclass(frozen=True)
class Storage:
    """What the lab keeps for its blades beside its own images.

    ``share``: whether a folder is served over NFS, ``folder`` which one (None is ``share/`` in the lab's state).
    ``cache``: the registry whose images are fetched once for all blades, as a URL; empty for none. It answers on
    ``cache_port``.
    """

    share: bool = False
    folder: Path | None = None
    cache: str = ""
    cache_port: int = 5001


@dataclass(frozen=True)
class Lab:
    """A whole lab. ``path`` is the file it came from; ``ssh_keys`` are public keys, one line each."""

    name: str
    path: Path
    network: Network
    chassis: Chassis
    blades: tuple[Blade, ...]
    ssh_keys: tuple[str, ...] = ()
    swarm: SwarmRules = SwarmRules()
    storage: Storage = Storage()

    @property
    def cache_address(self) -> IPv4Address:
        """Where the cache listens: beside the registry, in a virtual lab on the host's side of the way in.

        Only there it can reach another network; the lab's own has no way out.
        """
        if self.network.kind is NetworkKind.VIRTUAL:
            return self.network.host
        return self.network.server

    @property
    def mirror(self) -> str:
        """The cache as an engine's mirror, ``host:port``; empty where there is none."""
        return f"{self.cache_address}:{self.storage.cache_port}" if self.storage.cache else ""

    def blade(self, name: str) -> Blade:
        """The blade of that name. Raises KeyError."""
        for blade in self.blades:
            if blade.name == name:
                return blade
        raise KeyError(name)

    def blade_with_mac(self, mac: str) -> Blade | None:
        """The blade that owns a network card, or None. A blade with four cards answers to each of them."""
        return self._owners.get(mac.lower())

    def blade_at(self, address: IPv4Address) -> Blade | None:
        """The blade that an address is written down for, or None."""
        return self._addresses.get(address)

    @cached_property
    def _addresses(self) -> dict[IPv4Address, Blade]:
        return {blade.address: blade for blade in self.blades}

    @cached_property
    def _owners(self) -> dict[str, Blade]:
        return {mac: blade for blade in reversed(self.blades) for mac in blade.macs}
