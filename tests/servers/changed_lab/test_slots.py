"""A slot of a virtual chassis whose lab is up: filled and emptied, with the lab's own parts, each in its sandbox, and a
real BMC on a bridge of the test's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.diagnosis.listeners import ask_all
from labkit.errors import ControlError, PowerError
from labkit.events import Event
from labkit.lab import BRIDGE, Blade, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.machines.host.sandbox import User, Users, free_users
from labkit.machines.virtual import network
from labkit.machines.virtual.chassis import VirtualChassis
from labkit.servers.supervisor import Supervisor

ONE = "blades:\n  - name: blade1\n"
TWO = f"{ONE}  - name: blade2\n"
BMC2 = "10.77.0.202"


async def no_boot(blade: Blade) -> None: ...


def chassis_of(text: str, folder: Path) -> VirtualChassis:
    lab, told = lab_yaml.parse(text, folder / "lab.yaml"), list[Event]()
    return VirtualChassis(lab, State(folder), User(os.getuid(), os.getgid()), "tcg", told.append, no_boot)


def test_a_slot_whose_machine_is_on_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    chassis = chassis_of(ONE, tmp_path)
    _, blade2 = lab_yaml.parse(TWO, tmp_path / "lab.yaml").blades
    assert chassis.put_in(blade2) and not chassis.is_on(2)
    assert chassis.take_out(blade2) and not chassis.has(2)
    with pytest.raises(PowerError, match="slot 2 is empty"):
        chassis.is_on(2)
    chassis.put_in(blade2)
    monkeypatch.setitem(chassis._running, 2, object())  # as while its machine runs
    assert not chassis.take_out(blade2) and not chassis.put_in(blade2) and chassis.is_on(2)
    other = lab_yaml.parse(f"{TWO}    macs: ['00:00:5e:00:53:01']\n", tmp_path / "lab.yaml").blades[1]
    chassis.check_free(blade2)
    with pytest.raises(PowerError, match="slot 2, which is to be blade2's, has a machine that is on"):
        chassis.check_free(other)


async def fill_and_empty(folder: Path) -> None:
    """What `test_a_slot_gets_its_bmc_and_its_cables_and_loses_them` does in a network namespace."""
    file, state = folder / "lab.yaml", State(folder / "state")
    file.write_text(ONE)
    state.make()
    network.run_ip(
        "link set lo up", f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up",
        f"addr add 10.77.0.1/24 brd + dev {BRIDGE}",
    )  # fmt: skip
    supervisor = Supervisor(lab_yaml.load(file), state, Users(free_users(7).first))
    slots = supervisor.users.of("chassis")
    supervisor.chassis = VirtualChassis(supervisor.lab, state, slots, "tcg", supervisor.emit, no_boot)
    await rpc.serve(supervisor.specs.listen(state.slots, "bmc"), supervisor._slot_verbs())
    for spec in (supervisor.specs.bootd(), supervisor.specs.configd(), supervisor.specs.swarmd()):
        await supervisor._start(spec)
    before = {name: part.pid for name, part in supervisor.parts.items()}
    for _ in range(2):
        file.write_text(TWO)
        answer: dict[str, Any] = await supervisor._reload({})
        assert (answer["added"], answer["off"], answer["on"]) == (["blade2"], ["blade2"], [])
        assert answer["silent"] == [] and await knows_blade2(state) == [True] * 3
        assert (await supervisor._status({}))["on"] == {"blade1": False, "blade2": False}
        assert f"inet {BMC2}/32" in shown("addr") and "slot2:" in shown("link")
        [bmc2] = [one for one in supervisor._listeners if one.part == "bmc2"]
        async with asyncio.timeout(30):
            while (await ask_all([bmc2]))["bmc2"]["IPMI"]:  # it has only just been started
                pass
        file.write_text(ONE)
        answer = await supervisor._reload({})
        assert (answer["removed"], answer["on"]) == (["blade2"], [])
        assert BMC2 not in shown("addr") and "slot2:" not in shown("link")
        assert answer["silent"] == [] and await knows_blade2(state) == [False] * 3
    assert {name: part.pid for name, part in supervisor.parts.items()} == before, "no part was started anew"


async def knows_blade2(state: State) -> list[bool]:
    """Whether bootd, configd and swarmd know the blade."""
    versions = await rpc.acall(state.bootd, "versions")
    found = ["blade2" in {**versions["versions"], **versions["wrong"]}]
    for control, verb in ((state.configd, "config"), (state.swarmd, "left")):
        try:
            await rpc.acall(control, verb, blade="blade2", boot="b1")
        except ControlError as error:
            found.append("no such blade" not in error.what and "KeyError" not in error.what)
        else:
            found.append(True)
    return found


def shown(what: str) -> str:
    return subprocess.run(["ip", what, "show"], capture_output=True, text=True, check=True).stdout


@pytest.mark.netns
@pytest.mark.skipif(not shutil.which("ipmi_sim"), reason="openipmi is not installed")
def test_a_slot_gets_its_bmc_and_its_cables_and_loses_them(tmp_path: Path) -> None:
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    words = [*apart, sys.executable, "-m", __name__, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    asyncio.run(fill_and_empty(Path(sys.argv[1])))
