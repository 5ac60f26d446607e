"""The boot server of a real lab's rehearsal: ``python -m labkit.rehearse.scratch``, in a network namespace of its own.

What this machine sends through a card it cannot hear on that card itself, so a real lab's servers cannot be rehearsed
with over the blades' cable. Here the same program serves the same lab file and the same images, on a card with the real
one's name and address, from a state folder that is thrown away. A proxy gives addresses too, since no router is here.
It says ``ready``, waits for ``go``, says ``serving``,
and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from labkit import faults, images, labfile
from labkit.chassis import network
from labkit.lab import DhcpMode, Lab
from labkit.netboot.bootd import Bootd
from labkit.netboot.ports import open_sockets
from labkit.state import State


async def serve(lab: Lab, state: State) -> None:
    """Serve until standard input ends. Raises LabkitError when a port or an address cannot be had."""
    until = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), until.set)
    bootd = Bootd(lab, state, open_sockets(lab), images.catalogue(lab), lambda event: None)
    serving = asyncio.create_task(bootd.serve(until))
    while not state.bootd.exists() and not serving.done():
        await asyncio.sleep(0.02)
    print("serving", flush=True)
    await serving


def main() -> int:
    """Run it. Raises LabkitError."""
    print("ready", flush=True)
    if sys.stdin.readline() != "go\n":
        return 1
    lab = labfile.load(Path(os.environ["LABKIT_LAB"]))
    lab = replace(lab, network=replace(lab.network, dhcp=DhcpMode.SERVER))
    link, server = network.link_of(lab), f"{lab.network.server}/{lab.network.subnet.prefixlen}"
    network.run_ip("link set lo up", f"link set {link} up", f"addr add {server} brd + dev {link}")
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        state = State(Path(folder))
        state.make()
        asyncio.run(serve(lab, state))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
