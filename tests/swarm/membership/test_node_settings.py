"""What a person said about a blade's node goes with the blade from boot to boot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, engine
from labkit.swarm.membership import node_settings
from labkit.swarm.membership.node_settings import NOTHING, Settings, carry, note, without
from labkit.swarm.membership.reconcile import Carry
from labkit.swarm.node import ROLLING, Node, find_node
from tests.rig.fleet import Fleet, Machine, join, post_join, until
from tests.rig.nodes import LABELS, node
from tests.rig.swarmd import DeskProcess

GIVEN: dict[str, tuple[str, ...]] = dict.fromkeys(LABELS, ())


def labelled(one: Node, **labels: str) -> Node:
    return replace(one, labels={**one.labels, **labels})


def after(*nodes: Node, kept: dict[str, Settings] | None = None) -> tuple[tuple[Carry, ...], Settings]:
    actions, keep = carry(nodes, kept or {}, LABELS, GIVEN)
    assert set(keep) <= {"blade1"}
    return actions, keep.get("blade1", NOTHING)


def test_nothing_is_kept_where_nobody_said_anything() -> None:
    assert after(node("1"), node("9", blade="guest", availability="drain")) == ((), NOTHING)
    assert after(node("1", leaving="a", availability="drain", lost=5)) == ((), NOTHING)


def test_a_label_and_a_drain_go_to_the_next_node() -> None:
    first = labelled(node("1", availability="drain"), disk="ssd")
    actions, kept = after(first)
    assert actions == () and kept == Settings(node="1", labels={"disk": "ssd"}, availability="drain")
    ghost, second = replace(first, state="down"), node("2", boot="b", at=2)
    expected = Carry(second, {"disk": "ssd"}, (), "drain")
    assert after(ghost, second, kept={"blade1": kept}) == ((expected,), replace(kept, node="2"))
    assert after(second, kept={"blade1": kept}) == ((expected,), replace(kept, node="2"))  # the old one is gone
    assert after(ghost, second) == ((expected,), replace(kept, node="2"))  # and nobody had looked at it


def test_what_is_taken_off_is_forgotten() -> None:
    kept = Settings(node="1", labels={"disk": "ssd"}, availability="pause")
    assert after(node("1"), kept={"blade1": kept}) == ((), NOTHING)
    older = labelled(node("0", state="down", at=0), old="yes")
    assert after(older, node("1"), kept={"blade1": kept}) == ((), NOTHING)


@pytest.mark.parametrize("before", ["active", "pause", "drain"])
def test_the_drain_of_a_roll_is_no_persons(before: str) -> None:
    rolled = replace(node("1", availability="drain"), labels={ROLLING: before})
    actions, kept = after(rolled)
    assert actions == () and (kept.availability, kept.labels) == (before, {})
    second = node("2", boot="b", at=2)
    expected = () if before == "active" else (Carry(second, {}, (), before),)
    assert after(replace(rolled, state="down"), second)[0] == expected
    assert after(replace(rolled, availability="pause"), kept={"blade1": replace(kept, node="1")})[0] == ()


def test_the_drain_of_a_leave_is_no_persons() -> None:
    leaving = labelled(node("1", leaving="a", availability="drain"), disk="ssd")
    assert after(leaving) == ((), Settings(node="1", labels={"disk": "ssd"}))
    paused = Settings(node="1", labels={"disk": "ssd"}, availability="pause")
    assert after(leaving, kept={"blade1": paused}) == ((), paused)
    actions, kept = after(node("2", boot="b", at=2), kept={"blade1": paused})
    assert [(one.labels, one.availability) for one in actions] == [({"disk": "ssd"}, "pause")]
    assert kept.node == "2"


def test_a_new_node_keeps_what_was_said_of_it_already() -> None:
    kept = Settings(node="1", labels={"disk": "ssd", "rack": "a"}, availability="pause")
    new = labelled(node("2", boot="b", at=2, availability="drain"), disk="nvme")
    actions, now = after(new, kept={"blade1": kept})
    assert actions == (Carry(new, {"rack": "a"}, (), ""),)
    assert now == Settings(node="2", labels={"disk": "nvme", "rack": "a"}, availability="drain")


def test_a_label_that_the_file_gives_no_longer_goes() -> None:
    known = {"blade1": {**LABELS["blade1"], "rack": "a"}}
    given = {"blade1": ("rack",)}
    bare = node("1")
    actions, kept = carry([bare], {}, known, given)
    assert actions == () and kept == {"blade1": Settings(node="1", given=("rack",))}  # `reconcile` puts it on
    worn = labelled(bare, rack="a", disk="ssd")
    _, kept = carry([worn], kept, known, given)
    actions, kept = carry([worn], kept, LABELS, GIVEN)
    assert actions == (Carry(worn, {}, ("rack",), ""),)
    assert kept == {"blade1": Settings(node="1", labels={"disk": "ssd"})}
    spec = {"Labels": {"rack": "a", "disk": "ssd"}, "Availability": "active", "Role": "worker"}
    actions[0].onto(spec)
    assert spec == {"Labels": {"disk": "ssd"}, "Availability": "active", "Role": "worker"}


def test_a_note_takes_no_new_node_for_one_that_was_seen_to() -> None:
    kept = {"blade1": Settings(node="1", availability="drain")}
    new = node("2", boot="b", at=2)
    assert note([new], kept, LABELS) == kept
    assert note([node("1", availability="pause"), new], kept, LABELS) == {
        "blade1": Settings(node="1", availability="pause")}  # fmt: skip
    assert note([node("1")], kept, LABELS) == {}
    assert note([node("1", availability="drain")], {}, LABELS) == kept


def test_what_could_not_be_put_on_is_tried_again() -> None:
    before = {"blade1": Settings(node="1", availability="drain")}
    now = {"blade1": Settings(node="2"), "blade2": NOTHING}
    assert without(now, ["blade1"], before) == {**before, "blade2": NOTHING}
    assert without(now, ["blade1"], {}) == {"blade2": NOTHING}
    assert without(now, [], before) == now


@pytest.mark.parametrize("text", ["", "[]", "{", '{"labels": 1}', '{"labels": {}, "node": "", "given": 5}'])
def test_what_is_no_settings_is_none(text: str) -> None:
    assert node_settings.decode(text) is None


def test_a_settings_survives_its_label() -> None:
    kept = Settings(node="1", labels={"a.b": "c d"}, availability="pause", given=("rack",))
    assert node_settings.decode(node_settings.encode(kept)) == kept


# --- with engines

engines = pytest.mark.engine


@pytest.fixture
def desk(swarm: Fleet, tmp_path: Path) -> Iterator[DeskProcess]:
    desk = DeskProcess(swarm, tmp_path / "state")
    try:
        desk.start()
        yield desk
    finally:
        desk.close()


def say(fleet: Fleet, machine: Machine, availability: str, **labels: str) -> None:
    """What a person does with docker node update."""
    with engine(fleet.controller.sock) as client:
        mine = find_node(cluster.nodes(client), machine.blade, machine.boot)
        assert mine is not None
        cluster.label_nodes(client, mine.id, labels)
        spec_changes.change_node(client, mine.id, lambda spec: spec.update(Availability=availability))


def stands(fleet: Fleet, machine: Machine) -> tuple[str, str | None]:
    with engine(fleet.controller.sock) as client:
        mine = find_node(cluster.nodes(client), machine.blade, machine.boot)
    return (mine.availability, mine.labels.get("disk")) if mine is not None and mine.ready else ("", None)


def kept(fleet: Fleet) -> dict[str, Settings]:
    with engine(fleet.controller.sock) as client:
        return node_settings.read(client)


@engines
def test_a_faulty_blade_stays_drained_when_it_boots_and_swarmd_with_it(desk: DeskProcess) -> None:
    fleet, machine = desk.fleet, desk.fleet.blade("blade1")
    say(fleet, machine, "drain", disk="ssd")
    until(lambda: "blade1" in kept(fleet))
    machine.power_cut()
    desk.end(9)
    desk.start()
    machine.reboot("again")
    join(fleet, machine)
    until(lambda: stands(fleet, machine) == ("drain", "ssd"))
    say(fleet, machine, "active")
    until(lambda: kept(fleet)["blade1"].availability == "active")
    assert kept(fleet)["blade1"].labels == {"disk": "ssd"}


@engines
def test_an_orderly_leave_takes_the_label_along_and_not_its_own_drain(desk: DeskProcess) -> None:
    fleet, machine = desk.fleet, desk.fleet.blade("blade2")
    say(fleet, machine, "active", disk="ssd")
    desk.ask("leave", machine)  # at once: no round of the desk has seen the label
    with engine(machine.sock) as client:
        api(client).leave_swarm()
    desk.ask("left", machine)
    machine.reboot("home")
    body = desk.ask("join", machine, address=machine.address)["body"]
    assert isinstance(body, dict) and "Availability" not in body
    post_join(machine, body)
    until(lambda: stands(fleet, machine) == ("active", "ssd"))


@engines
def test_a_paused_blade_joins_paused(desk: DeskProcess) -> None:
    fleet, machine = desk.fleet, desk.fleet.blade("blade3")
    say(fleet, machine, "pause")
    desk.ask("leave", machine)
    with engine(machine.sock) as client:
        api(client).leave_swarm()
    desk.ask("left", machine)
    machine.reboot("home")
    body = desk.ask("join", machine, address=machine.address)["body"]
    assert isinstance(body, dict) and body["Availability"] == "pause"
    post_join(machine, body)
    with engine(fleet.controller.sock) as client:
        mine = until(lambda: find_node(cluster.nodes(client), "blade3", "home"))
    assert mine is not None and mine.availability == "pause"
