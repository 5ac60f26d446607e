"""What the Redfish service of virtual slots is told when it starts (`labkit.lab.process.handover`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labkit.lab import Blade, Lab, PowerKind, certificates
from labkit.lab.secret import Secret
from labkit.lab.state import State


def of_redfish(lab: Lab) -> tuple[Blade, ...]:
    """The blades of a virtual chassis whose slots answer Redfish as well."""
    return tuple(blade for blade in lab.blades if blade.bmc.kind is PowerKind.REDFISH)


@dataclass(frozen=True)
class Slots:
    """The blades whose slots answer Redfish, what lets one in, the TLS chain, and the socket that presses buttons."""

    blades: tuple[Blade, ...]
    password: Secret
    chain: Secret
    control: Path

    @classmethod
    def of(cls, lab: Lab, state: State) -> Slots:
        """What lies in the state folder; made where it does not. Raises MachineError."""
        blades = of_redfish(lab)
        made = certificates.ensure_redfish(state, [blade.bmc.address for blade in blades])
        return cls(blades, state.bmc_password, certificates.chain(made), state.slots)
