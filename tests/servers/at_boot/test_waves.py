"""Who is switched on when, and when the next ones may follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit import events
from labkit.events import Event, folding, stages
from labkit.lab import lab_yaml
from labkit.servers.at_boot import waves

TEXT = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
blades:
"""
LAB = lab_yaml.parse(
    TEXT + "".join(
        f"  - {{name: red{number}, macs: ['00:00:5e:00:53:{number:02}'], bmc: {{kind: {kind}}}}}\n"
        for number, kind in enumerate(["wol"] * 9 + ["manual"], 1)
    ),
    Path("/nonexistent/lab.yaml"),
)  # fmt: skip
ALL = [blade.name for blade in LAB.blades]
RED1 = LAB.blades[0]


def names(plan: waves.Plan) -> list[list[str]]:
    return [[blade.name for blade in wave] for wave in plan.waves]


def test_a_few_at_a_time_in_the_labs_order() -> None:
    found = waves.plan(LAB, {*ALL, "gone"} - {"red2"}, stages.LabState(), at_once=3)
    assert names(found) == [["red1", "red3", "red4"], ["red5", "red6", "red7"], ["red8", "red9"]]
    [(name, why)] = found.stays
    assert name == "red10" and "press the power button: red10, in slot 10" in why
    assert waves.plan(LAB, (), stages.LabState()) == waves.Plan((), ())


def test_a_blade_that_is_held_stays_off() -> None:
    state = folding.fold(stages.LabState(), events.Held(blade="red1", state="held", detail="it boots in a circle"))
    found = waves.plan(LAB, {"red1", "red2"}, state)
    assert names(found) == [["red2"]]
    [(name, why)] = found.stays
    assert name == "red1" and "it boots in a circle" in why and "./lab power release red1" in why


def file(path: str, state: str) -> Event:
    return events.Transfer(protocol="http", path=path, state=state, sent_b=9, blade="red1", time=5.0)


BOOT: tuple[Event, ...] = (
    events.Power(state="on"),
    events.BootStarted(cause="pxe", boot="b"),
    events.Dhcp(mac="00:00:5e:00:53:01", message="REQUEST", client="ipxe"),
    file("labos/vmlinuz", "started"), file("labos/vmlinuz", "done"),
    file("labos/initrd", "started"), file("labos/initrd", "done"),
    events.Dhcp(mac="00:00:5e:00:53:01", message="REQUEST", client="os"),
    events.Phoned(stage="os"),
    events.Phoned(stage="joined"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("many", "has"), [(0, False), (2, False), (4, False), (7, False), (8, True), (9, True), (10, True)]
)
def test_the_next_wave_follows_once_its_own_system_speaks(many: int, has: bool) -> None:
    blade = folding.fold_all(replace(event, blade="red1", time=5.0) for event in BOOT[:many]).blade("red1")
    assert waves.has_fetched(RED1, blade) is has


def test_a_system_that_goes_on_fetching_is_waited_for() -> None:
    rootfs = (file("fcos/rootfs.img", "started"), file("fcos/rootfs.img", "done"))
    stream = [replace(event, blade="red1", time=5.0) for event in (*BOOT[:8], *rootfs)]
    assert not waves.has_fetched(RED1, folding.fold_all(stream[:-1]).blade("red1"))
    assert waves.has_fetched(RED1, folding.fold_all(stream).blade("red1"))
    off = [*stream, events.Power(blade="red1", state="off", time=6.0)]
    assert not waves.has_fetched(RED1, folding.fold_all(off).blade("red1"))
