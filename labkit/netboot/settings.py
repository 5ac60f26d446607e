"""What a boot server is told when it starts (`labkit.lab.process.handover`)."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.lab import Lab, certificates
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.netboot import plans


@dataclass(frozen=True)
class Settings:
    """What a boot server is told: the lab, what that adds to each plan, what tickets are made with, its TLS chain."""

    lab: Lab
    own: plans.Own
    tickets: Secret
    chain: Secret | None = None

    @classmethod
    def of(cls, lab: Lab, state: State) -> Settings:
        """What lies in the state folder; made where it does not. Raises MachineError."""
        chain = (
            certificates.chain(certificates.ensure_boot_server(state, str(lab.network.server)))
            if lab.network.tls
            else None
        )
        return cls(lab, plans.Own.of(state), state.key("tickets"), chain)
