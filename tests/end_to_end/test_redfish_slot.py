"""A blade whose slot is pressed by Redfish: from power-on to its system, and in order to off."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from labkit.events import Power
from labkit.lab.state import State
from labkit.servers.client import shut_down, wait_blades
from tests.rig.front_door import new_lab

pytestmark = pytest.mark.qemu
LAB = """\
name: redfish
network: {subnet: 10.86.0.0/24}
blades:
  - {name: blade1, boot: ipxe, bmc: {kind: redfish}}
  - {name: blade2, boot: ipxe}
"""


def test_a_virtual_blade_boots_by_redfish(tmp_path: Path) -> None:
    with new_lab(tmp_path, LAB) as door:
        door.up()
        assert door("power", "status", timeout_s=120).stdout == "blade1: off\nblade2: off\n"
        assert door("power", "pxe", "blade1", timeout_s=120).returncode == 0
        pressed = door("power", "on", "blade1", timeout_s=120)
        assert pressed.returncode == 0, pressed.stderr
        lab = door.connect()
        assert {"bmc1", "bmc2", "redfish"} <= set(lab.status()["parts"])
        blade = lab.lab.blade("blade1")

        state = State(door.state)
        url = f"https://{blade.bmc.address}/redfish/v1/Systems/blade1"
        login = f'user = "labkit:{state.bmc_password.reveal()}"\n'
        words = ["curl", "--silent", "--show-error", "--fail", "--config", "-", "--cacert", str(state.ca), url]
        told = subprocess.run(words, input=login, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == 0, told.stderr
        system = json.loads(told.stdout)
        assert system["PowerState"] == "On" and system["Boot"]["BootSourceOverrideTarget"] == "None", "it has booted"

        wait_blades(lab, [blade], until="os", timeout_s=900)
        shut_down(lab, blade, timeout_s=300)
        assert door("power", "status", "blade1", timeout_s=120).stdout == "blade1: off\n"
        states = [event.state for event in lab.events() if isinstance(event, Power) and event.blade == "blade1"]
        assert states == ["on", "soft-off", "off"]
        assert not (door.state / "logs/redfish.log").read_text(), "nothing went wrong there"
