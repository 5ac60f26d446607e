"""What every exported configuration says: which boot file answers whom, where the files lie, what is not in them.

A blade's files lie in a folder of its name: PXELINUX finds its second part and its menu beside itself, and an HTTP
server picks the folder by the blade's address, as labkit's own does. So paths in menus and scripts stay as they are.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labkit.boot.loaders import LOADERS, Client, Firmware, is_url, named
from labkit.errors import ParameterError
from labkit.lab import Blade, BootMethod, Lab, Network

NUMBERS = {Firmware.BIOS: (0,), Firmware.EFI_X64: (7, 9, 16)}
"""The numbers of option 93 by firmware; who names none is a BIOS."""


@dataclass(frozen=True)
class Wanted:
    """What is to be exported: ``files`` is the folder on the server that boot files lie in, a folder for each blade;
    ``lease_s`` how long a lease is, in seconds.

    Raises ParameterError for a folder that is no plain absolute path, and for blades whose signed GRUB finds its files
    at the root of a TFTP server only, where all blades would have the same.
    """

    lab: Lab
    files: str
    lease_s: int

    def __post_init__(self) -> None:
        if not self.files.startswith("/") or not self.files.isprintable():
            what = f"{self.files!r} is no absolute path of printable characters"
            raise ParameterError(what, where="--files", fix="--files /srv/labkit")
        for blade in self.lab.blades:
            if blade.boot is BootMethod.GRUB:
                what = "the signed GRUB reads grub/grub.cfg at the TFTP server's root, not in a folder for each blade"
                raise ParameterError(what, where=blade.name, fix="write boot: ipxe, or leave its boot to ./lab up")

    def folder(self, blade: Blade) -> str:
        """Where a blade's files lie."""
        return f"{self.files.rstrip('/')}/{blade.name}"


@dataclass(frozen=True)
class Rule:
    """The boot file of a client: a path below the TFTP server's root, or a URL."""

    client: Client
    firmware: Firmware
    file: str


def rules(network: Network, blade: Blade) -> tuple[Rule, ...]:
    """Whom a blade's boot method has a file for, as `labkit.boot.loaders.LOADERS` has it."""
    return tuple(
        Rule(client, firmware, named(network, client, file if is_url(client, file) else f"{blade.name}/{file}"))
        for (method, client, firmware), file in LOADERS.items()
        if method is blade.boot
    )


def cards(blade: Blade) -> Iterator[tuple[str, str]]:
    """A blade's cards as servers keep them that want a name for each: the first has the blade's own."""
    for number, mac in enumerate(blade.macs, 1):
        yield blade.name if number == 1 else f"{blade.name}-card{number}", mac


def full_server(wanted: Wanted, name: str) -> Network:
    """The network, for a server that gives addresses. Raises ParameterError in a lab where a router does."""
    network = wanted.lab.network
    if network.is_proxy:
        what = f"lab.yaml has dhcp: proxy, and {name} cannot answer beside a router's DHCP"
        raise ParameterError(what, where="network", fix="./lab export dnsmasq, which can; or write dhcp: server")
    return network


def head(wanted: Wanted, name: str, copied: Sequence[str]) -> list[str]:
    """What a person has to know and do, line by line; ``copied`` says where this file goes."""
    network = wanted.lab.network
    return [
        f"The lab '{wanted.lab.name}' for {name}, made by ./lab export {name}. When lab.yaml changes, make it anew.",
        "",
        *copied,
        f"It is for the machine with the address {network.server}. labkit's own boot server must be down: ./lab down",
        "",
        *needed_files(wanted),
    ]


def tftp_and_http(wanted: Wanted) -> list[str]:
    """What has to run beside a server that gives addresses only."""
    return [
        "",
        f"A TFTP server, such as tftpd-hpa, has to serve {quoted(wanted.files)} at the same address",
        "(TFTP_DIRECTORY in /etc/default/tftpd-hpa). Large files go over HTTP: ./lab export nginx",
    ]


def needed_files(wanted: Wanted) -> list[str]:
    """How the boot files come to the server, and what is missing in them."""
    trees = [shlex.quote(wanted.folder(blade)) for blade in wanted.lab.blades]
    lines = ["Boot files, a folder for each blade: labkit writes them. Made on another machine, they are copied there."]
    lines += [
        f"  ./lab explain {blade.name} --every-firmware --tree {tree}"
        for blade, tree in zip(wanted.lab.blades, trees, strict=True)
    ]
    return [
        *lines,
        "",
        "What cannot be exported: a blade's ticket to the swarm. labkit's own server makes one for each boot, and it",
        "is good once. These files have a placeholder in its place: the blade boots its system with Docker, and goes",
        "on asking for a place that nobody gives it, until somebody joins it by hand, with the command that",
        "docker swarm join-token worker prints on a manager. What else a config of yours holds is in them, readable:",
        "TFTP gives it to everybody who asks.",
        "Events, power, ./lab why and the holding of blades that boot in circles need labkit's own server too.",
    ]


def commented(lines: Sequence[str], mark: str = "#") -> list[str]:
    """Lines as comments."""
    return [f"{mark} {line}".rstrip() for line in lines]


def text(lines: Sequence[str]) -> str:
    """Lines as a file."""
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """A string as dnsmasq, dhcpd and nginx read it: in double quotes, with backslashes before those and itself."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
