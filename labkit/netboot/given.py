"""What a boot server is told when it starts (`labkit.handover`)."""

from __future__ import annotations

from dataclasses import dataclass

from labkit import authoring, certs
from labkit.lab import Lab
from labkit.secret import Secret
from labkit.state import State


@dataclass(frozen=True)
class Given:
    """What a boot server is told: the lab, what that adds to each plan, what tickets are made with, its TLS chain."""

    lab: Lab
    own: authoring.Own
    tickets: Secret
    chain: Secret | None = None

    @classmethod
    def of(cls, lab: Lab, state: State) -> Given:
        """What lies in the state folder; made where it does not. Raises MachineError."""
        chain = certs.chain(certs.ensure_boot_server(state, str(lab.network.server))) if lab.network.tls else None
        return cls(lab, authoring.Own.of(state), state.key("tickets"), chain)
