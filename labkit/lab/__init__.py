"""What a lab is: the values of ``lab.yaml``, reading that file, and the folder of what a lab remembers."""

from __future__ import annotations

from labkit.lab.bmc import Bmc, PowerKind
from labkit.lab.model import (
    BRIDGE,
    DOCKER_HUB,
    LOG_LIMITS,
    PUBLISHED,
    Blade,
    BootMethod,
    Chassis,
    ChassisKind,
    ConfigBy,
    Custom,
    DhcpMode,
    Disk,
    FirmwareKind,
    Flavour,
    Hardware,
    ImageSources,
    Lab,
    Network,
    NetworkKind,
    Role,
    Storage,
    SwarmRules,
)

__all__ = [
    "BRIDGE", "DOCKER_HUB", "LOG_LIMITS", "PUBLISHED", "Blade", "Bmc", "BootMethod", "Chassis", "ChassisKind",
    "ConfigBy", "Custom", "DhcpMode", "Disk", "FirmwareKind", "Flavour", "Hardware", "ImageSources", "Lab", "Network",
    "NetworkKind", "PowerKind", "Role", "Storage", "SwarmRules",
]  # fmt: skip
