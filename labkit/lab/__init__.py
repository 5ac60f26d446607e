"""What a lab is: the values of ``lab.yaml``, reading that file, and the folder of what a lab remembers."""

from __future__ import annotations

from labkit.lab.model import (
    BRIDGE,
    DOCKER_HUB,
    Blade,
    Bmc,
    BootMethod,
    Chassis,
    ChassisKind,
    DhcpMode,
    FirmwareKind,
    Flavour,
    Hardware,
    Lab,
    Network,
    NetworkKind,
    Role,
    Storage,
    SwarmRules,
)

__all__ = [
    "BRIDGE", "DOCKER_HUB", "Blade", "Bmc", "BootMethod", "Chassis", "ChassisKind", "DhcpMode", "FirmwareKind",
    "Flavour", "Hardware", "Lab", "Network", "NetworkKind", "Role", "Storage", "SwarmRules",
]  # fmt: skip
