"""The boot server of a real lab's rehearsal, in a network namespace of its own.

What this machine sends through a card it cannot hear on that card itself, so a real lab's servers cannot be rehearsed
with over the blades' cable. Here the same program serves the same lab and the same images, on a card with the real
one's name and address, with books that are thrown away. A proxy gives addresses too, since no router is here.
It says ``ready``, waits for ``go``, says ``serving``, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from labkit import images
from labkit.lab import DhcpMode
from labkit.lab.process import faults, rpc
from labkit.lab.process.handover import take
from labkit.lab.state import State
from labkit.machines.virtual import network
from labkit.netboot.bootd import Bootd
from labkit.netboot.configd import asker
from labkit.netboot.ports import open_sockets
from labkit.netboot.settings import Settings


async def serve(given: Settings, state: State, folder: Path) -> None:
    """Serve until standard input ends. Raises LabkitError when a port or an address cannot be had."""
    until = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), until.set)
    control, nobody = folder / "control.sock", folder / "swarmd.sock"
    sockets = {**open_sockets(given.lab), "control": rpc.listen(control)}
    catalogue, config = images.catalogue(given.lab), asker(state.configd)
    serving = asyncio.create_task(
        Bootd(given, folder, nobody, sockets, catalogue, lambda event: None, config).serve(until)
    )
    while not await rpc.answers(control) and not serving.done():
        await asyncio.sleep(0.02)
    print("serving", flush=True)
    await serving


def main() -> int:
    """Run it. Raises LabkitError."""
    print("ready", flush=True)
    if sys.stdin.readline() != "go\n":
        return 1
    given, state = take(Settings), State(Path(os.environ["LABKIT_STATE"]))
    lab = replace(given.lab, network=replace(given.lab.network, dhcp=DhcpMode.SERVER))
    link, server = lab.network.link, f"{lab.network.server}/{lab.network.subnet.prefixlen}"
    network.run_ip("link set lo up", f"link set {link} up", f"addr add {server} brd + dev {link}")
    with tempfile.TemporaryDirectory(prefix="labkit-") as folder:
        asyncio.run(serve(replace(given, lab=lab), state, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(faults.guard_part(main))
