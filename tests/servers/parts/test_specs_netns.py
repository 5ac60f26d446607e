"""Two parts as the supervisor starts them, in a network of the test's own: shut in, each as its user, and answering."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.diagnosis.listeners import ask_all, listeners
from labkit.lab import Lab, PowerKind, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.host.sandbox import FIRST_USER, Users
from labkit.machines.power.passwords import reached
from labkit.servers.parts.processes import Part
from labkit.servers.parts.specs import Specs
from tests.rig.failures import PASSWORD
from tests.rig.failures_machine import simulated_bmc
from tests.rig.fleet import sh
from tests.rig.ipmi_sensors import Sensor, commands
from tests.rig.net import in_space

pytestmark = pytest.mark.netns
OWNER = 65534
VIRTUAL = "network: {subnet: 10.86.0.0/24}\nbmc: {kind: redfish}\nblades: [{name: blade1}, {name: blade2}]\n"
REAL = """\
network: {{kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}}
bmc: {{password_file: bmc.password}}
blades: [{{name: red1, macs: ["00:00:5e:00:53:10"], bmc: {{address: 127.0.0.1, port: {port}}}}}]
"""


class Place:
    """A network namespace, and a lab's folder that belongs to somebody who is not root."""

    def __init__(self, folder: Path, space: str) -> None:
        self.folder, self.space = folder, space
        self.state = State(folder / "lab")
        self.told, self.tells = os.pipe()

    def run(self, lab: Lab, do: Callable[[Specs], Awaitable[None]]) -> None:
        """Do something in the namespace, as the supervisor would."""
        in_space(self.space, lambda: asyncio.run(self._run(lab, do)))

    async def _run(self, lab: Lab, do: Callable[[Specs], Awaitable[None]]) -> None:
        specs = Specs(lab, self.state, Users(FIRST_USER), self.tells)
        try:
            await do(specs)
        finally:
            for sock in specs._sockets:  # which a supervisor keeps as long as it lives
                sock.close()


@pytest.fixture
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    space = f"lks{os.getpid()}"
    with ExitStack() as stack:  # pytest's own folders are too long for sockets, and closed to others
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab")))
        folder.chmod(0o755)
        os.chown(folder, OWNER, OWNER)
        sh(f"ip netns add {space}; ip -n {space} link set lo up")
        stack.callback(sh, f"ip netns delete {space}")
        sh(f"ip -n {space} address add 10.86.0.201/32 dev lo; ip -n {space} address add 10.86.0.202/32 dev lo")
        place = Place(folder, space)
        stack.callback(os.close, place.told)
        stack.callback(os.close, place.tells)
        place.state.make()
        yield place


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def test_the_redfish_of_virtual_slots(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "CALL_S", 60.0)
    state, told, pressed = place.state, list[events.Event](), list[tuple[int, str]]()
    lab = lab_yaml.parse(VIRTUAL, place.folder / "lab.yaml")

    async def slot_power(request: dict[str, Any]) -> dict[str, Any]:
        return {"on": False}

    async def slot_set(request: dict[str, Any]) -> dict[str, Any]:
        pressed.append((request["slot"], request["button"]))
        return {}

    async def look(specs: Specs) -> None:
        slots = await rpc.serve(specs.listen(state.slots, "bmc"), {"slot_power": slot_power, "slot_set": slot_set})
        part = Part(specs.redfish(), told.append)
        await part.start()
        assert user_of(part.pid) == Users(FIRST_USER).of("bmc").uid
        assert await ask_all([one for one in listeners(lab, state) if one.part == "redfish"]) == {
            "redfish": {"HTTPS": ""}
        }
        first, second = lab.blades
        for blade in (first, second):
            bmc = reached(lab, state, blade)
            assert bmc.kind is PowerKind.REDFISH
            await asyncio.to_thread(power.set_power, blade.name, bmc, state.bmc_password, "on")
        assert pressed == [(1, "power"), (2, "power")]
        assert await specs.hand(replace(lab, blades=(second,))) == []
        bmc = reached(lab, state, second)
        assert await asyncio.to_thread(power.power_state, "blade2", bmc, state.bmc_password) == "off"
        await part.stop()
        slots.close()

    place.run(lab, look)
    assert not (state.logs / "redfish.log").read_text()


def test_sensord_reads_what_the_labs_owner_may_read(place: Place) -> None:
    secret, inlet = place.folder / "bmc.password", Sensor("inlet", "temperature")
    secret.write_text(PASSWORD.reveal() + "\n")
    secret.chmod(0o600)
    os.chown(secret, OWNER, OWNER)
    (place.folder / "inlet").write_text("22")
    lab = lab_yaml.parse(REAL.format(port=1), place.folder / "lab.yaml")
    found: list[events.Event | None] = []

    async def look(specs: Specs) -> None:
        with simulated_bmc(place.folder, commands(place.folder, [inlet])) as own:
            specs._lab = lab_yaml.parse(REAL.format(port=own.port), place.folder / "lab.yaml")
            part = Part(specs.sensord(), lambda event: None)
            await part.start()
            assert user_of(part.pid) == OWNER
            with os.fdopen(os.dup(place.told), encoding="utf-8") as stream:
                found.append(events.decode(await asyncio.to_thread(stream.readline)))
            told = await rpc.acall(place.state.sensord, "numbers")
            assert ["labkit_blade_temperature_celsius", {"slot": "1"}, 22.0] in told["numbers"]
            await part.stop()

    place.run(lab, look)
    assert isinstance(found[0], events.Measured) and found[0].celsius == 22.0
