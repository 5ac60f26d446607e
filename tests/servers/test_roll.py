"""The shell of a roll: what it looks at, which buttons it presses, and what it tells, on a rack that is none."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit import events, images
from labkit.cli import commands
from labkit.errors import ControlError, PowerError, SwarmError
from labkit.images.releases import cache, layout
from labkit.images.releases.layout import version_in_use
from labkit.lab import Blade, Bmc, PowerKind, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.pictures.scene import fold_all
from labkit.servers import client, roll, roll_back
from labkit.servers.client import RunningLab
from labkit.servers.drains import Drains
from labkit.swarm.roll.survey import unfinished_of
from labkit.swarm.roll.turns import Drain, DrainNow, Phase, Press, Roll, Seen, Turn, Undrain
from tests.swarm.roll.world import DRAIN_S, NEW, OLD, Rack, phases

NAMES = ("blade1", "blade2", "blade3")


class RackLab(RunningLab):
    """A lab whose blades are a `Rack`'s. What is told goes to the file that a supervisor would write."""

    rack: Rack
    broken: frozenset[str] = frozenset()

    def emit(self, event: events.Event) -> None:
        with self.state.events.open("a") as file:
            file.write(events.encode(replace(event, seq=sum(1 for _ in self.events()) + 1)) + "\n")

    def power(self, blade: Blade, state: str, say: Callable[[str], None] = print, *, remember: bool = True) -> None:
        assert remember == (state != "shutdown")  # what goes off here is to come back
        if blade.name in self.broken:
            raise PowerError("the BMC does not answer", where=blade.name)
        self.rack.press(Press(blade.name, state))

    def power_state(self, blade: Blade) -> str:
        return self.rack.blades[blade.name].power

    @contextlib.contextmanager
    def engine(self) -> Iterator[Any]:
        yield no_engine()


def no_engine() -> Any:
    raise SwarmError("no Docker engine listens here")


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RackLab:
    path = tmp_path / "lab.yaml"
    path.write_text("swarm: {roll_blade: 5 min}\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n")
    state = State(tmp_path / "s")
    state.make()
    lab = RackLab(lab_yaml.load(path), state)
    rack = Rack()
    object.__setattr__(lab, "rack", rack)

    class RackLooker(roll.Looker):
        def look(self, power: Any, of: Roll | None = None) -> Seen:
            if of is not None:
                rack.tick()
            return rack.seen()

    def call(path: Path, verb: str, **fields: Any) -> dict[str, Any]:
        assert verb == "versions" and path == state.bootd
        return {"versions": dict.fromkeys(NAMES, NEW), "wrong": {}}

    class RackDrains(Drains):
        def begin(self, blade: str, boot: str) -> None:
            rack.do(Drain(blade, boot))

        def look(self) -> Mapping[str, DrainNow]:
            return rack.drained()

        def end(self, blade: str) -> None:
            rack.do(Undrain(blade))

        def close(self) -> None:
            for blade in list(rack.drains):
                self.end(blade)

    monkeypatch.setattr(roll, "Looker", RackLooker)
    monkeypatch.setattr(roll, "Drains", RackDrains)
    monkeypatch.setattr(roll, "_is_stale", lambda *given: False)
    monkeypatch.setattr(rpc, "call", call)
    monkeypatch.setattr(client, "connect", lambda *paths: lab)
    monkeypatch.setattr(
        roll, "time", SimpleNamespace(sleep=lambda s: None, monotonic=lambda: rack.now, time=lambda: rack.now + 1)
    )
    return lab


def test_the_verb_rolls_and_says_who_has_what(running: RackLab, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["swarm", "roll", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert running.rack.pressed == [] and said.count("it runs another version") == 3 and "dry run" in said
    assert commands.main(["swarm", "roll", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["what"] for row in told["blades"]] == ["roll"] * 3 and told["obstacles"] == []
    assert commands.main(["swarm", "roll", "--no-spread", "blade2"]) == 0
    said = capsys.readouterr().out
    assert running.rack.pressed == [("blade2", "shutdown"), ("blade2", "on")]
    assert "blade2: its turn to boot the newest has come: what runs there moves" in said and "it was rolled" in said
    assert "blade2: is empty, and leaves (moved: web.1 to blade9)" in said
    assert commands.main(["swarm", "roll", "--no-spread"]) == 0
    assert [name for name, _ in running.rack.pressed[2:]] == ["blade1", "blade1", "blade3", "blade3"]
    assert "it runs the newest" in capsys.readouterr().out
    assert commands.main(["swarm", "roll"]) == 0
    assert "no blade has to boot" in capsys.readouterr().out
    told_steps = [(event.blade, event.step) for event in running.events() if isinstance(event, events.Roll)]
    assert told_steps[:3] == [("", "begun"), ("blade2", "draining"), ("blade2", "leaving")] and told_steps[-1] == (
        "",
        "over",
    )
    assert str(fold_all(running.events()).roll) == "the last roll: 3 of 3 run the newest"


def test_a_roll_that_is_broken_off_is_told_as_over(
    running: RackLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(blade: Blade, state: str, *given: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    object.__setattr__(running, "power", press)
    assert commands.main(["swarm", "roll"]) == 130
    told = [event for event in running.events() if isinstance(event, events.Roll)]
    assert [event.step for event in told] == ["begun", "draining", "leaving", "over"] and "broken off" in told[
        -1
    ].detail
    assert told[0].versions == ("blade1 old new", "blade2 old new", "blade3 old new")
    assert "broken off" in capsys.readouterr().out and unfinished_of(running.events()) == {"blade1"}


def test_a_roll_that_stops_says_which_blades_have_what(running: RackLab, capsys: pytest.CaptureFixture[str]) -> None:
    running.rack.lost = frozenset({"blade2"})
    assert commands.main(["swarm", "roll"]) == 1
    said = capsys.readouterr()
    assert "the roll stopped at blade2: it is not in the swarm, 300 s after its turn began" in said.err
    assert "fix: ./lab why blade2 tells more; then ./lab swarm roll again" in said.err
    rows = [line.split() for line in said.out.splitlines() if line.startswith("blade")]
    assert [row[:3] for row in rows[-3:]] == [["blade1", NEW, NEW], ["blade2", NEW, NEW], ["blade3", OLD, NEW]]


def test_a_button_that_cannot_be_pressed_stops_it(running: RackLab, capsys: pytest.CaptureFixture[str]) -> None:
    object.__setattr__(running, "broken", frozenset({"blade1"}))
    assert commands.main(["swarm", "roll"]) == 1
    assert "the roll stopped at blade1: the BMC does not answer" in capsys.readouterr().err
    assert running.rack.pressed == []


def test_what_is_in_the_way_is_said_and_nothing_is_touched(
    running: RackLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: dict[str, Any] = {"versions": {"blade3": NEW}, "wrong": {"blade2": "mine.bu: no such key"}}
    monkeypatch.setattr(rpc, "call", lambda *given, **fields: answer)
    running.rack.blades["blade3"] = replace(running.rack.blades["blade3"], power="")
    assert commands.main(["swarm", "roll"]) == 1
    said = capsys.readouterr().err
    assert "no blade was touched" in said and "blade2 could not boot: mine.bu: no such key" in said
    assert "blade1 was not in lab.yaml when the lab came up" in said
    assert "blade3's BMC does not answer: ./lab power status blade3" in said
    assert running.rack.pressed == []


def test_a_blade_whose_power_nobody_can_tell_is_in_the_way(
    running: RackLab, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = running.lab.blades
    hand = replace(first, bmc=Bmc("", kind=PowerKind.MANUAL, place="slot 1"))
    object.__setattr__(running, "lab", replace(running.lab, blades=(hand, *others)))
    running.rack.blades["blade1"] = replace(running.rack.blades["blade1"], power="unknown")
    assert commands.main(["swarm", "roll"]) == 1
    assert "nobody can tell whether blade1 is on, as a roll has to know: its power is in" in capsys.readouterr().err
    assert running.rack.pressed == []


def test_ctrl_c_says_what_is_left_and_the_next_goes_on(
    running: RackLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = count()

    def sleep(seconds: float) -> None:
        if next(naps) == DRAIN_S + 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("labkit.servers.roll.time.sleep", sleep)
    assert commands.main(["swarm", "roll", "--no-spread"]) == 130
    said = capsys.readouterr().out
    assert "blade1 is under way, and is not seen to its end; ./lab swarm roll goes on where it was" in said
    for _ in range(10):
        running.rack.tick()
    assert running.rack.blades["blade1"].power == "off"
    assert commands.main(["swarm", "roll", "--no-spread"]) == 0
    assert running.rack.pressed[:2] == [("blade1", "shutdown"), ("blade1", "on")]


def test_ctrl_c_while_a_blade_is_emptied_leaves_it_as_it_was(
    running: RackLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        assert running.rack.nodes["blade1"].availability == "drain"
        raise KeyboardInterrupt

    monkeypatch.setattr("labkit.servers.roll.time.sleep", sleep)
    assert commands.main(["swarm", "roll", "--no-spread"]) == 130
    assert "no blade is under way; blade1 was being emptied, and goes on as it was; ./lab" in capsys.readouterr().out
    assert running.rack.nodes["blade1"].availability == "active" and running.rack.pressed == []
    assert unfinished_of(running.events()) == frozenset()


def test_two_rolls_do_not_go_on_at_once(running: RackLab) -> None:
    lock = running.state.run / "roll.lock"
    with roll.alone(lock), pytest.raises(SwarmError, match="another roll goes on"), roll.alone(lock):
        pass
    with roll.alone(lock):
        pass


def test_what_is_seen_when_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("blades: [{name: blade1}]\n")
    state = State(tmp_path / "s")
    state.make()
    lab = RackLab(lab_yaml.load(path), state)
    boots = {"blade1": {"id": "b1", "version": NEW, "begun": time.time()}}
    monkeypatch.setattr(rpc, "call", lambda *given, **fields: {"boots": boots})
    looker = roll.Looker(lab)
    seen = looker.look([])
    assert (seen.blade("blade1").boot, seen.blade("blade1").version) == ("b1", NEW)
    assert seen.silent == "no Docker engine listens here" and looker.fresh(60) == {"blade1"} and not looker.fresh(0)

    def refuse(*given: Any, **fields: Any) -> dict[str, Any]:
        raise ControlError("nobody listens")

    monkeypatch.setattr(rpc, "call", refuse)
    seen = looker.look([])
    assert seen.silent == "the boot server does not answer: nobody listens"
    assert seen.blade("blade1").boot == "b1", "as it was when it last answered"
    monkeypatch.setattr(roll, "NEW_BOOT_S", 0.0)
    turn = Turn(blade="blade1", phase=Phase.BOOTING)
    under_way = Roll(turns=(turn,), wanted={"blade1": NEW}, whole=frozenset(), reachable=1, limit_s=60)
    assert looker.look([], under_way).blade("blade1").end == ""
    lab.emit(events.BootStarted(blade="blade1", boot="b1", cause="power", time=time.time()))
    lab.emit(events.Trouble(blade="blade1", boot="b1", part="plan", detail="mine.bu is gone", time=time.time()))
    assert "blade1 has nothing to boot: mine.bu is gone" in looker.look([], under_way).blade("blade1").end
    assert phases(under_way) == [Phase.BOOTING]


def in_use() -> str:
    return version_in_use("flatcar", images.cache_folder())


class Broken(frozenset[str]):
    """The blades that do not come back: those that boot the release of this number."""

    rack: Rack
    release: str

    def __contains__(self, name: object) -> bool:
        return self.rack.blades[str(name)].version == self.release


@pytest.fixture
def released(running: RackLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RackLab:
    """The same lab with a system that has releases: the newest in use, which is broken, and one before it."""
    place = layout.place_of("flatcar", tmp_path)
    for name, version in ((layout.CURRENT, NEW), (layout.PREVIOUS, OLD)):
        (place / version).mkdir(parents=True)
        (place / name).write_text(version)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "prove", lambda folder: None)
    monkeypatch.setattr(roll_back, "time", SimpleNamespace(monotonic=lambda: running.rack.now))
    text = (tmp_path / "lab.yaml").read_text()
    object.__setattr__(running, "lab", lab_yaml.parse("os: flatcar\n" + text, tmp_path / "lab.yaml"))
    running.rack.newest = in_use
    broken = Broken()
    broken.rack, broken.release = running.rack, NEW
    running.rack.lost = broken
    monkeypatch.setattr(rpc, "call", lambda *given, **more: {"versions": dict.fromkeys(NAMES, in_use()), "wrong": {}})
    return running


def test_the_first_blade_that_fails_goes_back(released: RackLab, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["swarm", "roll"]) == 1
    said = capsys.readouterr()
    assert "the roll stopped at blade1: it is not in the swarm, 300 s after its turn began" in said.err
    assert f"blade1 runs what it ran before: flatcar {OLD} is in use again (./lab images use {NEW} takes" in said.err
    assert "blade1: boots what it ran before" in said.out and "blade1: runs what it ran before (in 36 s)" in said.out
    assert released.rack.pressed == [("blade1", "shutdown"), ("blade1", "on"), ("blade1", "reset")]
    assert {blade.version for blade in released.rack.blades.values()} == {OLD} and len(released.rack.nodes) == 3
    assert commands.main(["swarm", "roll"]) == 0
    assert "no blade has to boot" in capsys.readouterr().out


def test_a_blade_is_left_as_it_is_where_that_is_asked(released: RackLab, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["swarm", "roll", "--no-back"]) == 1
    assert "before" not in capsys.readouterr().err
    assert in_use() == NEW and "reset" not in dict(released.rack.pressed).values()


def test_a_release_is_not_blamed_for_a_config(
    released: RackLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {NEW: NEW, OLD: "third"}
    monkeypatch.setattr(
        rpc, "call", lambda *given, **more: {"versions": dict.fromkeys(NAMES, answers[in_use()]), "wrong": {}}
    )
    assert commands.main(["swarm", "roll"]) == 1
    said = capsys.readouterr().err
    assert f"nothing was taken back: with flatcar {OLD} blade1 would boot third, and it ran {OLD}" in said
    assert in_use() == NEW, "in use again, as it was"


def test_what_is_broken_before_too_is_said(released: RackLab, capsys: pytest.CaptureFixture[str]) -> None:
    class Nobody(frozenset[str]):
        def __contains__(self, name: object) -> bool:
            return True

    released.rack.lost = Nobody()
    assert commands.main(["swarm", "roll"]) == 1
    said = capsys.readouterr().err
    assert "blade1 does not come back with what it ran before either: blade1: it is not in the swarm, 300 s" in said
    assert f"flatcar {OLD} is in use again" in said
