"""ISC's dhcpd (dhcpd.conf(5), dhcp-options(5), dhcp-eval(5)): DHCP without TFTP."""

from __future__ import annotations

from collections.abc import Iterator

from labkit.boot.export.rules import (
    NUMBERS,
    Rule,
    Wanted,
    cards,
    commented,
    full_server,
    head,
    quoted,
    rules,
    text,
    tftp_and_http,
)
from labkit.boot.loaders import Client, Firmware
from labkit.lab import Blade, Network

FILE = "labkit-dhcpd.conf"

CLIENTS = {
    Client.IPXE: 'suffix(option user-class, 4) = "iPXE"',
    Client.PXE: 'substring(option vendor-class-identifier, 0, 9) = "PXEClient"',
    Client.HTTP: 'substring(option vendor-class-identifier, 0, 10) = "HTTPClient"',
}
"""In the order in which they have to be tried: iPXE calls itself a PXEClient too."""


def render(wanted: Wanted) -> str:
    """The lab as ``/etc/dhcp/dhcpd.conf``."""
    network = full_server(wanted, "isc-dhcp")
    copied = [
        "Copy it to /etc/dhcp/dhcpd.conf, or include it there (dhcpd -t -cf FILE checks it); INTERFACESv4 in",
        f"/etc/default/isc-dhcp-server names the card, {network.link}. Then start isc-dhcp-server again.",
    ]
    lines = [
        *commented([*head(wanted, "isc-dhcp", copied), *tftp_and_http(wanted)]),
        "",
        "option labkit-arch code 93 = array of unsigned integer 16;",
        "option space ipxe;",
        "option ipxe-encap code 175 = encapsulate ipxe;",
        "option ipxe.no-pxedhcp code 176 = unsigned integer 8;",
        "",
        f"default-lease-time {wanted.lease_s};",
        f"max-lease-time {wanted.lease_s};",
        "not authoritative;  # who is no blade gets no answer that calls its address wrong",
        "ddns-update-style none;",
        "",
        *_subnet(network),
    ]
    for blade in wanted.lab.blades:
        lines += ["", *_blade(network, blade)]
    return text(lines)


def _subnet(network: Network) -> list[str]:
    return [
        f"subnet {network.subnet.network_address} netmask {network.subnet.netmask} {{",
        f"  option broadcast-address {network.subnet.broadcast_address};",
        *([f"  option routers {network.router};"] if network.router else []),
        *([f"  option domain-name-servers {', '.join(map(str, network.dns))};"] if network.dns else []),
        *([f"  option ntp-servers {', '.join(map(str, network.ntp))};"] if network.ntp else []),
        *([f"  option domain-name {quoted(network.domain)};"] if network.domain else []),
        *([f"  option domain-search {quoted(network.domain)};"] if network.domain else []),
        *([f"  pool {{ deny known-clients; range {network.pool[0]} {network.pool[1]}; }}"] if network.pool else []),
        "}",
    ]


def _blade(network: Network, blade: Blade) -> list[str]:
    lines = ["group {", f"  option host-name {quoted(blade.name)};"]
    word = "if"
    for client, said in CLIENTS.items():
        its = [rule for rule in rules(network, blade) if rule.client is client]
        lines += [f"  {word} {said} {{", *(f"    {line}" for line in _client(network, its)), "  }"]
        word = "elsif"
    for name, mac in cards(blade):
        lines.append(f"  host {name} {{ hardware ethernet {mac}; fixed-address {blade.address}; }}")
    return [*lines, "}"]


def _client(network: Network, its: list[Rule]) -> Iterator[str]:
    """A file for each firmware; the one for any other firmware comes last, as `LOADERS` has it."""
    word = "if"
    for rule in its:
        yield "else {" if rule.firmware is Firmware.OTHER else f"{word} {_firmware(rule.firmware)} {{"
        yield f"  filename {quoted(rule.file)};"
        yield f"  next-server {network.server};"
        yield f"  server-name {quoted(str(network.server))};"
        yield from (f"  {line}" for line in _beside(rule))
        yield "}"
        word = "elsif"


def _beside(rule: Rule) -> list[str]:
    """What goes with a boot file, whether it was asked for or not."""
    forced = "option dhcp-parameter-request-list = concat(option dhcp-parameter-request-list, {});"
    if rule.client is Client.IPXE:
        return ["option ipxe.no-pxedhcp 1;", forced.format("af")]
    if rule.client is Client.HTTP:
        return ['option vendor-class-identifier "HTTPClient";', forced.format("3c")]
    if rule.firmware is Firmware.BIOS:
        said = ['option vendor-class-identifier "PXEClient";', "option vendor-encapsulated-options 06:01:08:ff;"]
        return [*said, forced.format("3c:2b")]
    return []


def _firmware(firmware: Firmware) -> str:
    """A condition; who names no architecture is a BIOS."""
    numbers = [f"substring(option labkit-arch, 0, 2) = 00:{number:02x}" for number in NUMBERS[firmware]]
    return " or ".join([*numbers, *(["not exists labkit-arch"] if firmware is Firmware.BIOS else [])])
