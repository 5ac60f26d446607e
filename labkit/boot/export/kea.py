"""Kea's DHCPv4 server (its Administrator Reference Manual, "The DHCPv4 Server" and "Client Classification")."""

from __future__ import annotations

import json
from typing import Any

from labkit.boot.export.rules import NUMBERS, Rule, Wanted, commented, full_server, head, rules, text, tftp_and_http
from labkit.boot.loaders import Client, Firmware
from labkit.lab import Blade, Network

FILE = "labkit-kea-dhcp4.conf"

IPXE = "(option[77].hex == 'iPXE' or option[77].hex == 0x0469505845 or option[175].exists)"
CLIENTS = {
    Client.PXE: f"substring(option[60].hex,0,9) == 'PXEClient' and not {IPXE}",
    Client.IPXE: IPXE,
    Client.HTTP: f"substring(option[60].hex,0,10) == 'HTTPClient' and not {IPXE}",
}


def render(wanted: Wanted) -> str:
    """The lab as ``/etc/kea/kea-dhcp4.conf``: JSON, with the comments that Kea allows."""
    network = full_server(wanted, "kea")
    copied = [
        "Copy it to /etc/kea/kea-dhcp4.conf (kea-dhcp4 -t FILE checks it), and start kea-dhcp4-server again.",
        "A blade has one address for all its cards, and Kea gives it to another when the lease of one is over.",
    ]
    config = {
        "interfaces-config": {"interfaces": [network.link]},
        "lease-database": {"type": "memfile", "persist": True},
        "valid-lifetime": wanted.lease_s,
        "max-valid-lifetime": wanted.lease_s,
        "calculate-tee-times": True,
        "t1-percent": 0.5,
        "t2-percent": 0.875,
        "authoritative": False,
        "ip-reservations-unique": False,
        "client-classes": _classes(wanted),
        "subnet4": [_subnet(wanted, network)],
    }
    notes = commented([*head(wanted, "kea", copied), *tftp_and_http(wanted)], "//")
    return text([*notes, json.dumps({"Dhcp4": config}, indent=2)])


def _classes(wanted: Wanted) -> list[dict[str, Any]]:
    """Who asks, on which firmware, and each blade's boot file by both."""
    network = wanted.lab.network
    found = [{"name": f"from-{client}", "test": test} for client, test in CLIENTS.items()]
    found += [{"name": f"on-{firmware}", "test": _firmware(firmware)} for firmware in Firmware]
    for blade in wanted.lab.blades:
        cards = " or ".join(f"pkt4.mac == 0x{mac.replace(':', '')}" for mac in blade.macs)
        for rule in rules(network, blade):
            found.append(_class(network, blade, rule, cards))
    return found


def _class(network: Network, blade: Blade, rule: Rule, cards: str) -> dict[str, Any]:
    beside = _beside(rule)
    return {
        "name": f"{blade.name}-{rule.client}-{rule.firmware}",
        "test": f"member('from-{rule.client}') and member('on-{rule.firmware}') and ({cards})",
        "next-server": str(network.server),
        "server-hostname": str(network.server),
        "boot-file-name": rule.file,
        **({"option-data": beside} if beside else {}),
    }


def _beside(rule: Rule) -> list[dict[str, Any]]:
    """What goes with a boot file, whether it was asked for or not."""
    if rule.client is Client.IPXE:
        return [{"code": 175, "csv-format": False, "data": "b00101", "always-send": True}]
    name = {"name": "vendor-class-identifier", "always-send": True}
    if rule.client is Client.HTTP:
        return [{**name, "data": "HTTPClient"}]
    if rule.firmware is Firmware.BIOS:  # Kea ends option 43 by itself
        no_discovery = {"code": 43, "csv-format": False, "data": "060108", "always-send": True}
        return [{**name, "data": "PXEClient"}, no_discovery]
    return []


def _firmware(firmware: Firmware) -> str:
    numbers = " or ".join(
        f"substring(option[93].hex,0,2) == 0x{number:04x}"
        for number in NUMBERS.get(firmware, [one for its in NUMBERS.values() for one in its])
    )
    if firmware is Firmware.OTHER:
        return f"option[93].exists and not ({numbers})"
    return f"not option[93].exists or {numbers}" if firmware is Firmware.BIOS else numbers


def _subnet(wanted: Wanted, network: Network) -> dict[str, Any]:
    told = {
        "broadcast-address": [network.subnet.broadcast_address],
        "routers": [network.router] if network.router else [],
        "domain-name-servers": network.dns,
        "ntp-servers": network.ntp,
        "domain-name": [network.domain] if network.domain else [],
        "domain-search": [network.domain] if network.domain else [],
    }
    return {
        "id": 1,
        "subnet": str(network.subnet),
        "pools": [{"pool": f"{network.pool[0]} - {network.pool[1]}"}] if network.pool else [],
        "option-data": [{"name": name, "data": ", ".join(map(str, its))} for name, its in told.items() if its],
        "reservations": [
            {"hw-address": mac, "ip-address": str(blade.address), "hostname": blade.name}
            for blade in wanted.lab.blades
            for mac in blade.macs
        ],
    }
