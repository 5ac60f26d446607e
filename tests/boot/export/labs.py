"""The lab that is exported in these tests: each boot method, two cards, a name server beyond, no pool."""

from __future__ import annotations

from pathlib import Path

from labkit.boot.export import Wanted
from labkit.lab import Lab, lab_yaml
from labkit.netboot.dhcp.full_server import LEASE_S

BEYOND = "router: 10.77.0.254, dns: [10.77.0.253, 9.9.9.9], ntp: [10.77.0.252], domain: lab.example"
LAB = """
network: {{kind: interface, interface: br0, subnet: 10.77.0.0/24, server: 10.77.0.1, {network}}}
bmc: {{kind: manual}}
blades:
  - {{name: blade1, boot: ipxe, macs: ["52:54:00:4d:00:01", "52:54:00:4d:01:01"], address: 10.77.0.11}}
  - {{name: blade2, boot: pxelinux, macs: ["52:54:00:4d:00:02"], address: 10.77.0.12}}
  - {{name: blade3, boot: lpxelinux, macs: ["52:54:00:4d:00:03"], address: 10.77.0.13}}
"""


def lab(network: str = BEYOND) -> Lab:
    return lab_yaml.parse(LAB.format(network=network), Path("lab.yaml"))


def wanted(network: str = BEYOND, files: str = "/srv/labkit") -> Wanted:
    return Wanted(lab(network), files, LEASE_S)
