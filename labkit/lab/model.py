"""`Lab`: what ``lab.yaml`` says, as frozen values. (Reading and checking the file is `labkit.lab.lab_yaml`.)

Values only: no files, no sockets, no clock, no secrets.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from labkit.lab.bmc import Bmc


class Role(enum.StrEnum):
    """What a blade is in the swarm."""

    MANAGER = "manager"
    WORKER = "worker"


class Flavour(enum.StrEnum):
    """The operating system a blade boots (`labkit.boot.systems`)."""

    LABOS = "labos"
    FLATCAR = "flatcar"
    FEDORA_COREOS = "fedora-coreos"
    CONTAINER_LINUX = "container-linux"
    CUSTOM = "custom"

    @property
    def has_releases(self) -> bool:
        """Whether it is published in releases, of which a blade boots one."""
        return self in (Flavour.FLATCAR, Flavour.FEDORA_COREOS)


class BootMethod(enum.StrEnum):
    """How a blade is brought from its firmware to a kernel.

    ``pxelinux``: everything over TFTP, as the article does it. ``lpxelinux``: configuration over TFTP, kernel and
    initrds over HTTP. ``ipxe``: a script and everything else over HTTP. ``grub``: UEFI by a signed shim and GRUB, which
    Secure Boot lets run, everything over TFTP; BIOS as with ``pxelinux``.
    """

    PXELINUX = "pxelinux"
    LPXELINUX = "lpxelinux"
    IPXE = "ipxe"
    GRUB = "grub"


class FirmwareKind(enum.StrEnum):
    """The firmware of a virtual blade: SeaBIOS, or OVMF that boots by PXE, by HTTP, or with Secure Boot on."""

    BIOS = "bios"
    UEFI = "uefi"
    UEFI_HTTP = "uefi-http"
    UEFI_SECURE = "uefi-secure"


class DhcpMode(enum.StrEnum):
    """``server``: we give addresses and boot files. ``proxy``: a router gives addresses, we only boot files."""

    SERVER = "server"
    PROXY = "proxy"


class NetworkKind(enum.StrEnum):
    """``virtual``: a bridge in a namespace of the lab's own. ``interface``: a network card of this machine."""

    VIRTUAL = "virtual"
    INTERFACE = "interface"


class ChassisKind(enum.StrEnum):
    """``virtual``: QEMU machines behind BMCs of our own. ``ipmi``: real machines, whatever switches them."""

    VIRTUAL = "virtual"
    IPMI = "ipmi"


class Hardware(enum.StrEnum):
    """What a virtual blade is built of (`labkit.lab.hardware`); a real one is what it is."""

    VIRTIO = "virtio"
    RED = "red"
    PC = "pc"


LOG_LIMITS: Mapping[str, str] = {"max-size": "8m", "max-file": "2"}
"""What a container's log may take on an engine of the lab, as options of Docker's log driver ``json-file``: 16 MB. On a
blade that is memory, and without a limit one talkative replica takes all of it in seconds."""

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
    out. With ``discover`` a machine that is not in the lab and asks to boot is booted, to be looked at.
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
    discover: bool = False

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


class ConfigBy(enum.StrEnum):
    """How a system of a person's own gets an Ignition config: in an archive, by a URL, or not at all."""

    NONE = "none"
    URL = "url"
    ARCHIVE = "archive"


@dataclass(frozen=True)
class Custom:
    """A system of a person's own: a kernel, its archives, and its arguments as they are.

    ``place`` is where in the blade's own archive its Ignition looks, for a config by archive.
    """

    kernel: Path
    initrds: tuple[Path, ...] = ()
    arguments: tuple[str, ...] = ()
    config: ConfigBy = ConfigBy.NONE
    place: str = ""


@dataclass(frozen=True)
class Disk:
    """A blade's disk, which Docker's data is put on: the block device as the blade's system names it.

    ``size_mib`` is that of a virtual blade's disk when it is made; a real one has the size it has, and this is 0.
    """

    device: str
    size_mib: int = 0


@dataclass(frozen=True)
class Blade:
    """One blade. ``macs`` are lower-case with colons, the booting card first; ``slot`` counts from 1.

    ``labels`` are those of its node in the swarm that the lab's file gives it, beside labkit's own.
    ``hardware`` and ``plugged``, the numbers of the cards that have a cable, are a virtual blade's; cards count from 1.
    ``config`` are the files whose Ignition is merged for it, in order, a later one over those before it.
    ``version`` is the release of its system, None for the current one or where there are none; ``custom`` is what a
    blade with ``os: custom`` boots. ``disk`` is what Docker's data is on, None for the memory.
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
    config: tuple[Path, ...] = ()
    firmware: FirmwareKind = FirmwareKind.BIOS
    hardware: Hardware = Hardware.VIRTIO
    plugged: tuple[int, ...] = (1,)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    version: str | None = None
    custom: Custom | None = None
    disk: Disk | None = None

    @property
    def is_node(self) -> bool:
        """Whether it is told how to become a node of the swarm; one without any config tells nobody how far it is."""
        return self.custom is None or self.custom.config is not ConfigBy.NONE


VXLAN_PORT = 4789
"""The UDP port of VXLAN (RFC 7348, section 8.1), which Docker takes for overlay networks unless told otherwise."""


@dataclass(frozen=True)
class SwarmRules:
    """How the swarm's members are kept in order.

    ``lost_after_s``: how long a blade that is gone without a word stays on the list, None for ever. ``window_s``: how
    long a boot's ticket is good for a place in the swarm. ``window_on_discover``: whether a boot that we did not cause
    may join too. ``drained``: whether the controller of a swarm that labkit made takes no tasks; None leaves it as it
    is, and one that is made now is drained. ``pool``: what overlay networks of a swarm that is made get their addresses
    from, None for what is free; ``data_path_port`` the UDP port of their packets, None for Docker's own where a swarm
    is made and for whatever one has that is there. ``roll_blade_s``: how long one blade may take when the blades are
    rolled, from the word to leave until every service is whole again. ``autolock``: whether the swarm is locked with a
    key, which the lab keeps; None leaves one that is there as it is, and one that is made now without.
    """

    lost_after_s: float | None = 3600.0
    window_s: float = 900.0
    window_on_discover: bool = True
    drained: bool | None = None
    pool: IPv4Network | None = None
    roll_blade_s: float = 900.0
    data_path_port: int | None = None
    autolock: bool | None = None

    @property
    def vxlan_port(self) -> int:
        """The UDP port of overlay networks' packets, as far as ``lab.yaml`` says."""
        return self.data_path_port or VXLAN_PORT


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


PUBLISHED = ("flatcar", "fedora-coreos")
"""Systems whose releases are fetched from those who publish them."""


@dataclass(frozen=True)
class ImageSources:
    """Where releases are fetched: ``mirrors`` are pairs of a system and a URL in place of its publisher's.

    ``proxy`` is a URL, empty for what the environment says.
    """

    mirrors: tuple[tuple[str, str], ...] = ()
    proxy: str = ""

    def mirror(self, system: str) -> str:
        """The URL to fetch a system's releases below, empty for its publisher's own."""
        return dict(self.mirrors).get(system, "")


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
    images: ImageSources = ImageSources()

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
