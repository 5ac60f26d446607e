"""A blade's power in a lab that is up, of a kind that tells nothing: what is heard of the blade stands in."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.cli import main
from labkit.diagnosis.rehearsal import outcome
from labkit.errors import ControlError, PowerError
from labkit.events import Event, kept_inventories
from labkit.events.inventory import Inventory
from labkit.events.kept_inventories import Kept
from labkit.lab import Blade, lab_yaml
from labkit.lab.process import control, rpc
from labkit.lab.state import State
from labkit.machines.power import wake
from labkit.servers import client

REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
blades:
  - {name: red1, macs: ["00:00:5e:00:53:10"], bmc: {kind: wol}}
  - {name: red2, macs: ["00:00:5e:00:53:20"], bmc: {kind: manual}}
"""


class Lab:
    """A real lab whose supervisor writes at once what it is told, and whose boot server notes what it is asked."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.path, self.state = folder / "lab.yaml", State(folder / ".lab")
        self.path.write_text(REAL)
        self.state.make()
        self.asked: list[tuple[str, str]] = []
        self.woken: list[str] = []
        patch.setattr(rpc, "call", self._call)
        patch.setattr(wake, "send", lambda blade, bmc: self.woken.append(blade))
        patch.setattr(control, "status", lambda state, ask=False: {"up": True})
        self.running = client.RunningLab(lab_yaml.load(self.path), self.state)
        self.red1, self.red2 = self.running.lab.blades

    def _call(self, path: Path, verb: str, **fields: Any) -> dict[str, Any]:
        if verb == "emit":
            found = events.decode(json.dumps(fields["event"]))
            assert found is not None
            self.tell(found)
            return {}
        self.asked.append((verb, fields["blade"]))
        return {"boot": "", "held": fields["blade"] == "red1"}

    def tell(self, *stream: Event) -> None:
        for event in stream:
            with self.state.events.open("a") as file:
                line = replace(event, seq=int(time.time_ns()), time=event.time or time.time())
                file.write(events.encode(line) + "\n")

    def comes_up(self, blade: Blade) -> None:
        self.tell(
            events.BootStarted(blade=blade.name, boot="b1", cause="pxe"),
            events.Dhcp(blade=blade.name, boot="b1", mac=blade.macs[0], message="DISCOVER", reply="OFFER"),
            events.Phoned(blade=blade.name, boot="b1", stage="os"),
            events.Phoned(blade=blade.name, boot="b1", stage="joined"),
        )

    def run(self, *words: str) -> int:
        return main(["--lab", str(self.path), "--state", str(self.state.path), *words])


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def test_a_boot_is_expected_where_nobody_can_tell(lab: Lab) -> None:
    lab.running.power(lab.red1, "on")
    assert (lab.asked, lab.woken) == ([("expect", "red1")], ["red1"])
    assert lab.running.stages().blade("red1").power == "on"


def test_a_blade_with_too_little_memory_is_named_before_its_button_is_pressed(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lab.state.inventory
    folder.mkdir()
    kept_inventories.write(folder, "red1", Kept(1.0, Inventory(threads=1, memory_mib=1000)))
    assert lab.run("power", "on", "red1") == 0
    said = capsys.readouterr().err
    assert "red1 has 1,000 MiB of memory, and labos needs 1,536" in said and "./lab inventory red1" in said
    assert lab.woken == ["red1"], "a person may know better"
    kept_inventories.write(folder, "red1", Kept(2.0, Inventory(threads=1, memory_mib=2000)))
    assert lab.run("power", "on", "red1") == 0
    assert "MiB" not in capsys.readouterr().err


def test_waking_a_blade_that_is_awake_changes_nothing(lab: Lab) -> None:
    lab.comes_up(lab.red1)
    before = lab.running.stages()
    lab.running.power(lab.red1, "on")
    assert lab.woken == ["red1"] and lab.running.stages() == before


def test_what_cannot_be_pressed_is_told_to_nobody(lab: Lab) -> None:
    with pytest.raises(PowerError, match="can only switch on"):
        lab.running.power(lab.red1, "off")
    assert not lab.asked and not lab.state.events.exists()


def test_blades_are_switched_on_as_far_as_was_heard_of_them(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.comes_up(lab.red1)

    def show(state: object) -> None:
        if not lab.running.stages().blade("red2").joined:
            lab.comes_up(lab.red2)

    found = client.ensure_blades(lab.running, lab.running.lab.blades, until="joined", timeout_s=20, show=show)
    assert str(found) == "up already: red1; booted: red2"
    assert not lab.woken and ("expect", "red2") in lab.asked
    assert capsys.readouterr().out == "press the power button: red2, in slot 2\n"


def test_a_wait_for_power_waits_for_the_blades_first_message(lab: Lab) -> None:
    with pytest.raises(PowerError, match="it did not ask for an address") as caught:
        lab.running.wait_power(lab.red1, "on", timeout_s=0)
    assert "./lab why red1" in caught.value.fix
    lab.comes_up(lab.red1)
    assert lab.running.wait_power(lab.red1, "on", timeout_s=20) < 20
    with pytest.raises(PowerError, match="it did not say that it shuts down"):
        lab.running.wait_power(lab.red1, "off", timeout_s=0)
    lab.tell(events.Leave(blade="red1", boot="b1", step="left"))
    assert lab.running.wait_power(lab.red1, "off", timeout_s=20) < 20


def test_a_person_shuts_a_blade_down(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.comes_up(lab.red2)
    lab.tell(events.Leave(blade="red2", boot="b1", step="left"))
    assert client.shut_down(lab.running, lab.red2, timeout_s=20) < 20
    assert capsys.readouterr().out == "press the power button, briefly: red2, in slot 2\n"


def test_a_blade_that_seems_on_is_not_rehearsed(lab: Lab) -> None:
    lab.comes_up(lab.red1)
    with pytest.raises(ControlError, match="red1 is on"):
        outcome.rehearse(lab.running, lab.red1)
    assert outcome.rehearse(lab.running, lab.red1, if_on="record").recorded


def test_a_dry_run_presses_nothing(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.run("power", "on", "--dry-run") == 0
    assert capsys.readouterr().out == (
        "red1: would press: power on, by Wake-on-LAN, a packet for 00:00:5e:00:53:10 to 10.0.40.255:9\n"
        "red2: would press: power on, by hand (press the power button), in slot 2\n"
    )
    assert lab.run("power", "status", "red1", "--dry-run") == 0
    assert "would press nothing" in capsys.readouterr().out
    assert lab.run("power", "off", "--dry-run") == 1  # as without
    assert "can only switch on" in capsys.readouterr().err
    assert lab.run("run", "--dry-run") == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines()] == ["red1", "red2"] and "where it is off" in out
    assert lab.run("run", "--dry-run", "--day-two") == 1  # it would shut red1 down
    assert "can only switch on" in capsys.readouterr().err
    assert lab.run("run", "--dry-run", "-p", "replicas=many") == 2
    capsys.readouterr()
    assert not lab.asked and not lab.woken and not lab.state.events.exists()


def test_a_blade_is_let_go(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab.run("power", "release", "--dry-run") == 0
    assert not lab.asked and "would press nothing" in capsys.readouterr().out
    assert lab.run("power", "release") == 0
    assert capsys.readouterr().out == "red1: may boot again\nred2: is not held\n"
    assert lab.asked == [("release", "red1"), ("release", "red2")] and not lab.woken


def test_the_command_line(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.comes_up(lab.red2)
    assert lab.run("power", "on", "red2") == 0
    out = capsys.readouterr()
    assert (
        out.err.partition("Next:")[0] == "press the power button: red2, in slot 2, unless it is on, as it seems to be\n"
    )
    assert out.out.startswith("red2: on\nred2: asked for an address after ")
    assert lab.run("power", "status") == 0
    assert capsys.readouterr().out == (
        "red1: unknown, Wake-on-LAN tells nothing back; last heard of it: off\n"
        "red2: unknown, its power is in a person's hands; last heard of it: joined\n"
    )
    assert lab.run("power", "pxe", "red1") == 1
    assert "its boot menu" in capsys.readouterr().err
    assert lab.run("console", "red1") == 1
    assert "over IPMI" in capsys.readouterr().err
