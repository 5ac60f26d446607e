"""The swarm's part of a lab file."""

from __future__ import annotations

import enum
from ipaddress import IPv4Network

from labkit.lab import SwarmRules
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.network import Net
from labkit.lab.lab_yaml.positions import Kind, Notes, Section, Wrong

SWARM = Kind(
    "swarm",
    ("lost_after", "window", "window_on_discover", "controller", "pool", "roll_blade", "data_path_port", "autolock"),
)
NEVER = "never"
DATA_PATH_PORTS, GOSSIP = (1024, 49151), 7946
LONGEST_PREFIX = 20
"""The longest prefix of a pool: 16 overlay networks."""


class Controller(enum.StrEnum):
    """What the controller does beside managing: nothing, or tasks like any node."""

    DRAIN = "drain"
    ACTIVE = "active"


def read_swarm(top: Section, net: Net, notes: Notes) -> SwarmRules:
    """The rules by which the swarm's members are kept in order."""
    section = Section(top.value("swarm"), top.anchor, SWARM, notes)
    rules = SwarmRules()
    controller = section.take("controller", positions.choice(Controller), None)
    pool = section.take("pool", _pool, None)
    if pool is not None and net.sound and pool.overlaps(net.value.subnet):
        what = f"{pool} and the lab's own network, {net.value.subnet}, overlap: containers would not reach the lab"
        section.note("pool", what, "name another private network, or remove the line: labkit chooses one that is free")
    return SwarmRules(
        lost_after_s=section.take("lost_after", _or_never, rules.lost_after_s),
        window_s=section.take("window", values.duration, rules.window_s),
        window_on_discover=section.take("window_on_discover", positions.boolean, rules.window_on_discover),
        pool=pool,
        drained=None if controller is None else controller is Controller.DRAIN,
        roll_blade_s=section.take("roll_blade", values.duration, rules.roll_blade_s),
        data_path_port=section.take("data_path_port", _data_path_port, None),
        autolock=section.take("autolock", positions.boolean, None),
    )


def _pool(text: str) -> IPv4Network:
    """A network with room for overlay networks, of /24 each."""
    pool = values.subnet(text)
    if pool.prefixlen > LONGEST_PREFIX:
        fix = f"take a prefix length from 8 to {LONGEST_PREFIX}; each overlay network is a /24 of it"
        raise Wrong(f"{pool} has too little room for overlay networks", fix)
    return pool


def _data_path_port(text: str) -> int:
    """A port that Docker takes for VXLAN (moby, daemon/cluster: 1024 to 49151), and that is not its own already."""
    port = positions.whole("the port of overlay networks", *DATA_PATH_PORTS)(text)
    if port == GOSSIP:
        raise Wrong(f"{port} is what swarm's engines speak through among themselves", "take another port")
    return port


def _or_never(text: str) -> float | None:
    return None if text.lower() == NEVER else values.duration(text)
