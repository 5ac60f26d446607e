"""A rack of real hardware, as far as its network can tell: slots with BMCs that answer IPMI, and a switch.

``python -m tests.rig.rack LAB FOLDER`` plays the blades of a lab file whose network is an interface. It runs in a
network namespace of its own, apart from the lab's server, which knows of it only what comes through the cable:
``uplink`` is this end. Each BMC measures one temperature, which a file ``inlet1`` in the folder says.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from labkit import images
from labkit.lab import BRIDGE, Blade, Lab, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.machines.host.sandbox import ROOT
from labkit.machines.virtual import bmc, network, qemu
from labkit.machines.virtual.chassis import VirtualChassis, serial_port
from tests.rig.ipmi_sensors import Sensor, commands


async def play(lab: Lab, state: State) -> None:
    """Until this process is ended; it prints ``ready``."""
    length = lab.network.subnet.prefixlen
    bmcs = [blade.bmc.address for blade in lab.blades]
    network.run_ip(
        f"link add {BRIDGE} type bridge forward_delay 0 stp_state 0",
        *(f"addr add {address}/{length} dev {BRIDGE}" for address in bmcs),
        f"link set uplink master {BRIDGE} up",
        f"link set {BRIDGE} up",
    )
    chassis = VirtualChassis(
        lab, state, ROOT, qemu.find_accelerator(images.catalogue(lab)["labos/vmlinuz"]), lambda event: None, tell_nobody
    )

    async def slot_power(request: dict[str, Any]) -> dict[str, Any]:
        return {"on": chassis.is_on(int(request["slot"]))}

    async def slot_set(request: dict[str, Any]) -> dict[str, Any]:
        await chassis.press(int(request["slot"]), str(request["button"]), int(request["value"]))
        return {}

    await rpc.serve(rpc.listen(state.control), {"slot_power": slot_power, "slot_set": slot_set})
    for blade in lab.blades:
        network.make_tap(blade.slot, 0)
        assert blade.bmc.password_file is not None
        words = bmc.write_config(
            state.keys / f"bmc{blade.slot}", blade, password=Secret(blade.bmc.password_file.read_text().strip()),
            control=state.control, serial_port=serial_port(blade.slot),
        )  # fmt: skip
        inlet = Sensor(f"inlet{blade.slot}", "temperature", limits=(40, 50))
        (state.path / inlet.name).write_text("22")
        with (state.keys / f"bmc{blade.slot}/sim.emu").open("a") as file:
            file.write(commands(state.path, [inlet]))
        await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def tell_nobody(blade: Blade) -> None:
    """Hardware does not announce that it boots."""


if __name__ == "__main__":
    state = State(Path(sys.argv[2]))
    state.make()
    asyncio.run(play(lab_yaml.load(Path(sys.argv[1])), state))
