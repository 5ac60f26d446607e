"""dnsmasq(8): DHCP, or boot files beside a router's DHCP, and TFTP."""

from __future__ import annotations

from labkit.boot.export.rules import NUMBERS, Rule, Wanted, commented, head, quoted, rules, text
from labkit.boot.loaders import Client, Firmware
from labkit.lab import Blade, Network

FILE = "labkit-dnsmasq.conf"

CLIENTS = {
    Client.PXE: "tag:pxe,tag:!ipxe",
    Client.IPXE: "tag:ipxe",
    Client.HTTP: "tag:http,tag:!ipxe",
}
FIRMWARE = {
    Firmware.BIOS: "tag:bios",
    Firmware.EFI_X64: "tag:efi-x64",
    Firmware.OTHER: "tag:!bios,tag:!efi-x64",
}
"""How clients and firmware are told apart, by the tags that `MATCHES` sets."""
SERVICES = {Firmware.BIOS: "x86PC", Firmware.EFI_X64: "x86-64_EFI"}
"""What ``pxe-service`` calls the firmware whose PXE ROM asks."""

MATCHES = [
    "# Who asks: a PXE ROM, iPXE or UEFI HTTP boot; and on which firmware, by option 93.",
    "dhcp-vendorclass=set:pxe,PXEClient",
    "dhcp-vendorclass=set:http,HTTPClient",
    "dhcp-match=set:ipxe,175",
    "dhcp-userclass=set:ipxe,iPXE",
    "dhcp-match=set:arch,option:client-arch",
    "tag-if=set:bios,tag:!arch",
    *(f"dhcp-match=set:{kind},option:client-arch,{number}" for kind, its in NUMBERS.items() for number in its),
]
REPLIES = [
    "# With a boot file: no discovery (PXE 2.1, option 43), no waiting for a proxy's offer (iPXE, option 175).",
    "dhcp-option-force=tag:known,tag:pxe,tag:!ipxe,tag:bios,60,PXEClient",
    "dhcp-option-force=tag:known,tag:pxe,tag:!ipxe,tag:bios,43,06:01:08:ff",
    "dhcp-option-force=tag:known,tag:http,tag:!ipxe,60,HTTPClient",
    "dhcp-option-force=tag:known,tag:ipxe,encap:175,176,1b",
]


def render(wanted: Wanted) -> str:
    """The lab as a file for ``/etc/dnsmasq.d``."""
    network = wanted.lab.network
    copied = [f"Copy it to /etc/dnsmasq.d/ and start dnsmasq again: dnsmasq --test --conf-file={FILE} checks it."]
    lines = [
        *commented([*head(wanted, "dnsmasq", copied), "", "Large files go over HTTP: ./lab export nginx"]),
        "",
        "port=0  # no DNS",
        f"interface={quoted(network.link)}",
        "bind-interfaces",
        "enable-tftp",
        f"tftp-root={quoted(wanted.files)}",
        "",
        *(_beside(network) if network.is_proxy else _addresses(wanted)),
        "",
        *MATCHES,
    ]
    for blade in wanted.lab.blades:
        lines += ["", f"# {blade.name}", *_blade(network, blade)]
    return text(lines)


def _addresses(wanted: Wanted) -> list[str]:
    network = wanted.lab.network
    first, last = network.pool or (network.subnet.network_address, "static")
    return [
        f"dhcp-range={first},{last},{network.subnet.netmask},{wanted.lease_s}",
        *([] if network.pool else ["dhcp-ignore=tag:!known  # who is no blade gets no answer"]),
        _option("router", network.router or ""),  # empty keeps dnsmasq from naming itself
        _option("dns-server", *network.dns),
        *([_option("ntp-server", *network.ntp)] if network.ntp else []),
        *([_option("domain-name", network.domain)] if network.domain else []),
        *([_option("domain-search", network.domain)] if network.domain else []),
        "",
        *REPLIES,
    ]


def _option(name: str, *values: object) -> str:
    return ",".join([f"dhcp-option=option:{name}", *(str(value) for value in values if value)])


def _beside(network: Network) -> list[str]:
    return [
        "# A router gives the addresses; who is no blade gets no answer. As a proxy dnsmasq knows no UEFI HTTP boot.",
        f"dhcp-range={network.subnet.network_address},proxy,{network.subnet.netmask}",
        "dhcp-ignore=tag:!known",
    ]


def _blade(network: Network, blade: Blade) -> list[str]:
    cards = ",".join(blade.macs)
    lines = [f"dhcp-host={cards},set:{blade.name},{blade.address},{blade.name}"]
    for rule in rules(network, blade):
        if network.is_proxy and rule.client is Client.PXE:
            lines.append(_service(network, blade, rule))
        elif not network.is_proxy or rule.client is Client.IPXE:
            tags = f"tag:{blade.name},{CLIENTS[rule.client]},{FIRMWARE[rule.firmware]}"
            lines.append(f"dhcp-boot={tags},{rule.file},{network.server},{network.server}")
    return lines


def _service(network: Network, blade: Blade, rule: Rule) -> str:
    return f"pxe-service=tag:{blade.name},tag:!ipxe,{SERVICES[rule.firmware]},labkit,{rule.file},{network.server}"
