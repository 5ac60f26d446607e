"""A lab that its unit starts: wave after wave of what was on, and an event for each blade that does not come."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.errors import ControlError, PowerError
from labkit.events import Event
from labkit.lab import Blade, Bmc, lab_yaml
from labkit.lab.process import control, rpc
from labkit.lab.state import State, write_json
from labkit.machines import power
from labkit.servers import client, lifecycle
from labkit.servers.at_boot import switch_on
from labkit.servers.at_boot.wanted import wanted

REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {user: ADMIN, password_env: BMC}
blades:
""" + "".join(
    f"  - {{name: red{slot}, macs: ['00:00:5e:00:53:{slot:02}'], bmc: {{address: 10.0.40.{200 + slot}}}}}\n"
    for slot in range(1, 7)
)


class Rack(client.RunningLab):
    """A real lab without a network: what is told is written at once, a button pressed is noted, and ``comes`` says what
    a blade does then.
    """

    on: set[str]
    pressed: list[str]
    broken: dict[str, int]
    comes: Callable[[str], None]

    def tell(self, *stream: Event) -> None:
        with lock, self.state.events.open("a") as file:
            for event in stream:
                file.write(events.encode(replace(event, seq=next_number(), time=event.time or 5.0)) + "\n")

    def boots(self, name: str) -> None:
        self.tell(
            events.BootStarted(blade=name, boot="b", cause="pxe"),
            events.Transfer(blade=name, boot="b", protocol="http", path="labos/vmlinuz", state="done", sent_b=9),
            events.Dhcp(blade=name, boot="b", mac="00:00:5e:00:53:01", message="REQUEST", client="os"),
        )

    def told(self, kind: type[Event]) -> list[tuple[str, str]]:
        return [(event.blade, getattr(event, "detail", "")) for event in self.events() if isinstance(event, kind)]


lock, _count = threading.Lock(), iter(range(1, 1_000_000))


def next_number() -> int:
    return next(_count)


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    (tmp_path / "lab.yaml").write_text(REAL)
    monkeypatch.setenv("BMC", "secret")
    rack = Rack(lab_yaml.load(tmp_path / "lab.yaml"), State(tmp_path / ".lab"))
    rack.state.make()
    for name, value in {"on": set(), "pressed": [], "broken": {}, "comes": rack.boots}.items():
        object.__setattr__(rack, name, value)
    write_json(rack.state.wanted, {"on": [blade.name for blade in rack.lab.blades]})

    def call(path: Path, verb: str, **fields: Any) -> dict[str, Any]:
        if verb == "emit":
            found = events.decode(json.dumps(fields["event"]))
            assert found is not None
            rack.tell(found)
        return {}

    def press(name: str, bmc: object, password: object, state: str) -> str:
        if rack.broken.get(name):
            rack.broken[name] -= 1
            raise PowerError("no answer", where=name, fix="look at its cable")
        rack.pressed.append(name)
        rack.comes(name)
        return ""

    monkeypatch.setattr(rpc, "call", call)
    monkeypatch.setattr(control, "status", lambda state, ask=False: {"up": True})
    monkeypatch.setattr(power, "set_power", press)

    def told_power(name: str, bmc: Bmc, password: object) -> str:
        return power.UNKNOWN if not bmc.tells_state else "on" if name in rack.on else "off"

    monkeypatch.setattr(power, "power_state", told_power)
    return rack


def quiet(_: str) -> None:
    """Nobody reads it."""


def test_what_was_on_comes_back_in_waves(rack: Rack) -> None:
    rack.on.update({"red1", "red4"})  # by its firmware's own setting
    write_json(rack.state.wanted, {"on": [f"red{slot}" for slot in range(1, 6)]})
    said: list[str] = []
    switch_on.switch_on(rack, said.append)
    assert sorted(rack.pressed) == ["red2", "red3", "red5"]
    assert [line for line in said if "wave" in line] == ["wave 1 of 2: red1, red2, red3, red4", "wave 2 of 2: red5"]
    assert rack.told(events.Trouble) == [] and wanted(rack.state) == {f"red{slot}" for slot in range(1, 6)}


def test_a_wave_waits_for_the_one_before(rack: Rack) -> None:
    """The fifth is switched on when the fourth has its images, not before."""

    def has_them() -> None:
        order.append("red4 has them")
        rack.boots("red4")

    def comes(name: str) -> None:
        if name == "red4":
            threading.Timer(0.05, has_them).start()
            return
        order.append(name)
        rack.boots(name)

    order: list[str] = []
    object.__setattr__(rack, "comes", comes)
    switch_on.switch_on(rack, quiet)
    assert sorted(order[:3]) == ["red1", "red2", "red3"]
    assert order[3] == "red4 has them" and sorted(order[4:]) == ["red5", "red6"]


def test_who_does_not_come_is_an_event_and_holds_nobody_up(rack: Rack) -> None:
    rack.broken["red1"] = 99
    object.__setattr__(rack, "comes", lambda name: None if name == "red2" else rack.boots(name))
    switch_on.switch_on(rack, quiet, wave_s=0)
    assert sorted(rack.pressed) == [f"red{slot}" for slot in range(2, 7)]
    told = dict(rack.told(events.Trouble))
    assert told["red1"].endswith("could not be switched on again: no answer")
    assert "it has not fetched its images 0 s after its wave began" in told["red2"]
    [fix] = [event.fix for event in rack.events() if isinstance(event, events.Trouble) and event.blade == "red1"]
    assert fix == "look at its cable"


def test_one_that_cannot_be_asked_may_be_on(rack: Rack) -> None:
    """As when this machine alone was off: a blade that is awake hears nothing of being woken."""
    (rack.state.path.parent / "lab.yaml").write_text(REAL.replace("{address: 10.0.40.201}", "{kind: wol}"))
    object.__setattr__(rack, "lab", lab_yaml.load(rack.state.path.parent / "lab.yaml"))
    write_json(rack.state.wanted, {"on": ["red1"]})
    object.__setattr__(rack, "comes", lambda name: None)
    switch_on.switch_on(rack, quiet, wave_s=0)
    assert rack.pressed == ["red1"] and rack.told(events.Trouble) == []
    assert rack.told(events.Note) == [
        ("red1", "was woken, and asked for no address: it is on already, or does not wake")
    ]


def test_a_bmc_that_lost_its_power_too_is_asked_again(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch_on, "AGAIN_S", 0.0)
    rack.broken["red1"] = 2
    switch_on.switch_on(rack, quiet, wave_s=20)
    assert "red1" in rack.pressed and rack.told(events.Trouble) == []


def test_a_blade_with_nothing_to_boot_is_told_at_once(rack: Rack) -> None:
    def comes(name: str) -> None:
        rack.tell(events.BootStarted(blade=name, boot="b", cause="pxe"))
        rack.tell(events.Trouble(blade=name, part="plan", detail="its config has a mistake", fix="mend it"))

    write_json(rack.state.wanted, {"on": ["red1"]})
    object.__setattr__(rack, "comes", comes)
    switch_on.switch_on(rack, quiet)
    assert "red1 has nothing to boot: its config has a mistake" in rack.told(events.Trouble)[-1][1]


def test_a_held_one_stays_off_and_says_so(rack: Rack) -> None:
    rack.tell(events.Held(blade="red1", state="held", detail="it boots in a circle"))
    switch_on.switch_on(rack, quiet)
    assert "red1" not in rack.pressed and len(rack.pressed) == 5
    [(name, why)] = rack.told(events.Note)
    assert name == "red1" and "held: it boots in a circle" in why


def test_nothing_is_switched_on_once_the_lab_goes_down(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "status", lambda state, ask=False: None)
    with pytest.raises(ControlError, match="the lab went down"):
        switch_on.switch_on(rack, quiet)
    assert rack.pressed == []


def test_a_person_says_who_is_wanted(rack: Rack) -> None:
    red1, red2 = rack.lab.blades[:2]
    rack.state.wanted.unlink()
    rack.power(red1, "on")
    rack.power(red2, "on")
    rack.power(red1, "shutdown", remember=False)
    rack.power(red2, "off")
    rack.broken["red2"] = 1
    with pytest.raises(PowerError):
        rack.power(red2, "on")
    assert wanted(rack.state) == {"red1"}


def test_what_cannot_be_noted_presses_all_the_same(rack: Rack) -> None:
    rack.state.wanted.unlink()
    rack.state.wanted.mkdir()
    said: list[str] = []
    blade: Blade = rack.lab.blades[0]
    rack.power(blade, "on", said.append)
    assert rack.pressed == ["red1"] and "could not be noted" in said[0] and "wanted.json" in said[0]


def test_it_stays_until_the_lab_is_down(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody knows what was on, which is an event. Who dies leaves its note of itself."""
    monkeypatch.setattr(lifecycle, "NOTE_S", 0.0)
    rack.state.wanted.write_text("{")
    process = subprocess.Popen(["sleep", "60"])
    write_json(rack.state.pid, {"pid": process.pid, "started": lifecycle._start_time(process.pid)})
    ends: list[bool] = []
    thread = threading.Thread(target=lambda: ends.append(switch_on.stay(rack, quiet)))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    process.kill()
    thread.join(20)
    process.wait()
    assert ends == [False] and "nobody knows which blades were on" in rack.told(events.Trouble)[0][1]
    rack.state.pid.unlink()
    assert switch_on.stay(rack, quiet) is True
