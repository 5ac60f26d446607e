"""The virtual lab's network, inside namespaces of its own.

::

    host ──veth── uplink │ br0 (the lab server's address) ──tap── blade1
     (lab + tag)         │  ├──tap── blade2
                         │  └──veth── eth0 of the controller's engine, in a namespace of its own

The host is routed, not bridged, to the blades: no broadcast of theirs leaves the namespace, so no DHCP packet can reach
a real LAN, and no DHCP server of the host can answer a blade. The engine keeps to itself because dockerd sets its
namespace's FORWARD policy to DROP, which would filter the frames between the blades too.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from labkit.errors import MachineError
from labkit.lab import BRIDGE, Blade, Lab
from labkit.machines.host.routes import routes

UPLINK = "uplink"


def run_ip(*commands: str, prefix: tuple[str, ...] = ()) -> None:
    """Run ``ip`` commands in one batch. Raises MachineError with what ip said."""
    done = subprocess.run(
        [*prefix, "ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise MachineError(f"the lab's network could not be set up or taken down: {said}")


def tap_name(slot: int, card: int = 1) -> str:
    """The name of the tap that a card of a slot's blade is plugged into."""
    return f"slot{slot}" if card == 1 else f"slot{slot}card{card}"


def host_link(tag: str) -> str:
    """The host's end of the way in. Interface names have at most 15 characters (IFNAMSIZ, netdevice(7))."""
    return f"lab{tag}"


def make_way_in(lab: Lab, tag: str, pid: int) -> None:
    """On the host: a veth whose other end is in the namespace of process ``pid``, and the route to the blades.

    Raises MachineError when another interface or route of this machine already covers the subnet.
    """
    check_subnet(lab.network.subnet, host_link(tag))
    run_ip(f"link add {host_link(tag)} type veth peer name {UPLINK} netns {pid}")
    run_ip(
        f"link set {host_link(tag)} up",
        f"addr add {lab.network.host}/32 dev {host_link(tag)}",
        f"route add {lab.network.subnet} via {lab.network.server} dev {host_link(tag)} onlink src {lab.network.host}",
    )


def remove_way_in(tag: str) -> bool:
    """On the host: remove the veth of a lab that is no more. True when it was there.

    The kernel takes a dead namespace's links away in its own time, maybe between our look and our deed.
    """
    link = Path(f"/sys/class/net/{host_link(tag)}")
    if not link.exists():
        return False
    try:
        run_ip(f"link delete {link.name}")
    except MachineError:
        if link.exists():
            raise
    return True


def check_subnet(subnet: IPv4Network, link: str) -> None:
    """Raise MachineError when a route of this machine, other than the default, already leads into ``subnet``."""
    for route in routes("table", "all"):
        target = route.get("dst", "default")
        if target == "default" or route.get("dev") == link:
            continue
        try:
            taken = IPv4Network(target)
        except ValueError:
            continue
        if taken.prefixlen > 0 and taken.overlaps(subnet) and route.get("type", "unicast") in ("unicast", "local"):
            device = route.get("dev", "?")
            fix = (
                "another lab uses this subnet: take it down, or give this one another subnet in lab.yaml"
                if device.startswith("lab")
                else "give the lab another subnet in lab.yaml"
            )
            raise MachineError(f"{subnet} is in use on this machine ({target} on {device})", fix=fix)


def bridge_mac(lab: Lab) -> str:
    """The bridge's MAC address: locally administered (IEEE 802c), made from the server's."""
    return "02:00:" + lab.network.server.packed.hex(":")


def make_bridge(lab: Lab, bmc_addresses: list[str]) -> None:
    """Inside: the bridge with the server's and the BMCs' addresses, and the way out to the host."""
    subnet = lab.network.subnet
    run_ip(
        "link set lo up",
        # An address of its own: else it takes the lowest of its ports', and changes it under the blades as ports come.
        f"link add {BRIDGE} address {bridge_mac(lab)} type bridge forward_delay 0 stp_state 0",
        f"link set {BRIDGE} up",
        f"addr add {lab.network.server}/{subnet.prefixlen} brd + dev {BRIDGE}",
        *(f"addr add {address}/32 dev {BRIDGE}" for address in bmc_addresses),
        f"link set {UPLINK} up",
        f"route add {lab.network.host}/32 dev {UPLINK}",
        *([f"route add default via {lab.network.host} dev {UPLINK}"] if lab.network.internet else []),
    )
    # Blades take the host for a neighbour, since its address lies in their subnet: answer for it.
    for name, value in ((f"conf/{BRIDGE}/proxy_arp", "1"), ("ip_forward", "1")):
        Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


def make_tap(slot: int, uid: int, card: int = 1) -> None:
    """What a card of a slot's blade is plugged into, for a machine of that user's: a port of the bridge."""
    name = tap_name(slot, card)
    run_ip(f"tuntap add dev {name} mode tap user {uid}", f"link set {name} master {BRIDGE} up")


def plug_slot(blade: Blade, uid: int) -> None:
    """Inside, in a lab that is up: the address of a slot's BMC, and the ports of its blade's cards."""
    run_ip(f"addr add {blade.bmc.address}/32 dev {BRIDGE}")
    for card in blade.plugged:
        make_tap(blade.slot, uid, card)


def unplug_slot(blade: Blade) -> None:
    """Inside: what `plug_slot` made is gone, also if it never was."""
    with contextlib.suppress(MachineError):
        run_ip(f"addr del {blade.bmc.address}/32 dev {BRIDGE}")
    for card in blade.plugged:
        _unplug(tap_name(blade.slot, card))


def _unplug(name: str) -> None:
    """Remove a cable whose other end went with its process: the kernel takes its time, and the name is wanted now."""
    with contextlib.suppress(OSError, MachineError):
        socket.if_nametoindex(name)  # not /sys, which is that of the network it was mounted in
        run_ip(f"link delete {name}")


def make_rehearsal_link(slot: int, mac: str, pid: int) -> None:
    """A card with a blade's MAC in the namespace of process ``pid``, plugged into the bridge; it goes with ``pid``."""
    name = f"rehearse{slot}"
    _unplug(name)
    run_ip(
        f"link add {name} type veth peer name eth0 address {mac} netns {pid}",
        f"link set {name} master {BRIDGE} up",
    )


def make_scratch_link(lab: Lab, mac: str, server: int, blade: int) -> None:
    """A cable between the namespaces of two processes: the lab's interface in one, a card with a MAC in the other."""
    link = lab.network.link
    run_ip(f"link add {link} netns {server} type veth peer name eth0 address {mac} netns {blade}")


def make_engine_link(lab: Lab, pid: int, more: Sequence[str] = ()) -> None:
    """The controller's network card: a veth from the bridge into the namespace of process ``pid``. It has the
    controller's address, and ``more`` of them."""
    _unplug("engine")
    run_ip(
        f"link add engine type veth peer name eth0 netns {pid}",
        f"link set engine master {BRIDGE} up",
    )
    run_ip(
        "link set lo up",
        f"addr add {lab.network.controller}/{lab.network.subnet.prefixlen} brd + dev eth0",
        *(f"addr add {address}/32 dev eth0" for address in more),
        "link set eth0 up",
        f"route add default via {lab.network.server}",
        prefix=("nsenter", f"--target={pid}", "--net"),
    )
