"""`Bmc`: what presses one blade's buttons, as ``bmc:`` in ``lab.yaml`` says it. PURE."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path


class PowerKind(enum.StrEnum):
    """By what a blade's power is switched.

    ``ipmi`` and ``redfish`` ask its management controller; ``wol`` wakes its network card; ``command`` runs a program
    of one's own, as for a smart plug; ``manual`` asks a person.
    """

    IPMI = "ipmi"
    REDFISH = "redfish"
    WOL = "wol"
    COMMAND = "command"
    MANUAL = "manual"


PORTS = {PowerKind.IPMI: 623, PowerKind.REDFISH: 443, PowerKind.WOL: 9}
"""UDP for IPMI and Wake-on-LAN, TCP for Redfish."""


@dataclass(frozen=True)
class Bmc:
    """What presses a blade's buttons. Which fields count is the kind's; the password itself is never part of a lab.

    A controller has ``address``, ``port`` and ``user``; its password is in ``password_file``, a path beside
    ``lab.yaml``, in the environment variable ``password_env``, or in the system's keyring, where ``password_keyring``
    is its service and its user. For a virtual chassis all are empty: the supervisor makes one up for each lab.
    ``certificate`` is the SHA-256 fingerprint of a Redfish controller's certificate in 64 hexadecimal digits,
    ``system`` which of its machines is the blade, both empty where nothing says so.

    Wake-on-LAN wakes the card ``mac`` by a packet to the broadcast address ``address``. A command's words are ``on``,
    ``off`` and ``state``, empty for one that is not there. ``place`` is where a person finds the blade.
    """

    address: str
    port: int = 623
    user: str = "labkit"
    password_file: Path | None = None
    kind: PowerKind = PowerKind.IPMI
    password_env: str = ""
    certificate: str = ""
    system: str = ""
    password_keyring: tuple[str, str] | None = None
    mac: str = ""
    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    place: str = ""

    @property
    def has_password(self) -> bool:
        """Whether whoever presses its buttons has to log in."""
        return self.kind in (PowerKind.IPMI, PowerKind.REDFISH)

    @property
    def password_key(self) -> str:
        """The key of ``lab.yaml`` that says where its password is."""
        if self.password_keyring is not None:
            return "password_keyring"
        return "password_env" if self.password_env else "password_file"

    @property
    def ipmi_port(self) -> int:
        """The UDP port that a virtual slot answers IPMI at, whatever presses its buttons."""
        return self.port if self.kind is PowerKind.IPMI else PORTS[PowerKind.IPMI]

    @property
    def tells_state(self) -> bool:
        """Whether the blade's power can be asked for, and not only switched."""
        return self.has_password or bool(self.state)
