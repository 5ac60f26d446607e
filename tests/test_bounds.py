"""What the network can fill has an end, and a clock that is set breaks nothing that takes time."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.events import folding, stream
from labkit.events.stages import LabState
from labkit.events.unknown_machines import MOST_MACHINES, unknown_machines
from labkit.lab import lab_yaml
from labkit.lab.process import steady
from labkit.lab.secret import Secret
from labkit.netboot import clients
from labkit.netboot.boots import BootBook
from labkit.netboot.dhcp.leases import Lease, LeaseBook, LeaseState
from labkit.netboot.dhcp.leases import save as save_leases
from labkit.pictures.event_text import in_words
from labkit.servers.event_writer import EventWriter
from labkit.servers.logs import trim

LAB = lab_yaml.parse("blades: [{name: blade1}, {name: blade2}]\n", Path("/nonexistent/lab.yaml"))
DAY_S = 86_400.0


def book(folder: Path, told: list[events.Event]) -> clients.ClientBook:
    def prepare(*_: object) -> object:
        raise AssertionError("nothing is planned here")

    boots = BootBook(LAB, Secret("k"), folder / "boots.json", prepare)  # type: ignore[arg-type]
    return clients.ClientBook(LAB, boots, folder / "leases.json", told.append)


# --- what the network fills -------------------------------------------------------------------------------------------


def test_100_000_machines_are_told_of_no_more_than_the_last() -> None:
    heard = (events.UnknownMachine(time=float(n), mac=f"52:54:00:{n:06x}", adopt="", client="pxe") for n in range(5000))
    found = unknown_machines(heard)
    assert len(found) == MOST_MACHINES and found[-1].macs == ("52:54:00:001387",)


def test_a_blade_that_asks_for_ever_is_told_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[events.Event] = []
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    its = book(tmp_path, told)
    asked = events.Transfer(protocol="http", path="x", state="missing", blade="blade1", boot="b")
    for _ in range(3000):
        its.emit(asked)
    assert len(told) == clients.BLADE_EVENTS + 1 and isinstance(told[-1], events.Trouble)
    its.emit(events.Phoned(stage="joined", blade="blade1", boot="b"))  # which it cannot do as often as it likes
    its.emit(events.Transfer(protocol="http", path="x", state="missing", blade="blade2", boot="b"))
    now[0] += 10
    for _ in range(100):
        its.emit(asked)
    assert len(told) == clients.BLADE_EVENTS + 1 + 2 + 10


def test_the_file_of_events_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, old = tmp_path / "events.jsonl", tmp_path / "events.old.jsonl"
    monkeypatch.setattr(stream.Stream, "MOST_B", 400)
    monkeypatch.setattr(stream.Stream, "OLD_B", 200)
    first = stream.Stream(path)
    written = [first.write(events.Note(seq=n, detail="x" * 40)) for n in range(1, 10)]
    assert 0 < sum(written) < 9 and first.lost == 9 - sum(written) and "begin another one" in first.why
    assert path.stat().st_size <= 400 and [event.seq for event in events.read(path)][-1] == sum(written)
    assert stream.Stream(path).write(events.Note(seq=20, detail="y"))
    assert [event.seq for event in events.read(path)] == [20] and old.stat().st_size <= 400


def test_a_line_of_events_stays_whole_however_long_its_words_are() -> None:
    reading, writing = os.pipe()
    try:
        emit = events.Emitter(writing)
        emit(events.Trouble(part="plan", detail="\U0001f600" * 9000, fix="y" * 5000))
        emit(events.Stuck(step="dhcp", what="x", causes=("z" * 3000,) * 9))
        lines = os.read(reading, 1 << 16).splitlines(keepends=True)
    finally:
        os.close(reading)
        os.close(writing)
    assert len(lines) == 2 and all(len(line) <= stream.PIPE_BUF_B for line in lines)
    trouble, stuck = (events.decode(line.decode()) for line in lines)
    assert isinstance(trouble, events.Trouble) and trouble.detail.endswith("\U0001f600…")
    assert isinstance(stuck, events.Stuck) and stuck.causes


def test_logs_and_consoles_lose_their_beginning(tmp_path: Path) -> None:
    path, other = tmp_path / "blade1.console.log", tmp_path / "supervisor.log"
    with path.open("ab") as writer:  # as QEMU has it open (logappend=on)
        for number in range(1000):
            writer.write(b"line %d\n" % number)
        writer.flush()
        other.write_text("short\n")
        (tmp_path / "link.log").symlink_to("/etc/hostname")
        os.mkfifo(tmp_path / "pipe.log")
        trim(tmp_path, most_b=2000, kept_b=500)
        writer.write(b"and on\n")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("(") and lines[-2:] == ["line 999", "and on"] and path.stat().st_size < 600
    assert other.read_text() == "short\n"
    trim(tmp_path / "nothing")


# --- a clock that is set ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_lease_is_as_long_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    lease = Lease(LAB.blades[0].address, LAB.blades[0].macs[0], LeaseState.BOUND, time.time() + 600)
    save_leases(LeaseBook().put(lease), tmp_path / "leases.json")
    its, real = book(tmp_path, []), time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    assert its.blade_at(str(lease.address)) is LAB.blades[0]


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_who_waits_for_events_waits_as_long_as_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    now, real = [50.0], time.time
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda s: now.__setitem__(0, now[0] + 1.0))
    waiting = events.follow(tmp_path / "events.jsonl", until=time.time() + 3)
    next(waiting)
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    assert len(list(waiting)) == 3


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_steps_take_as_long_as_they_take(jump_s: float) -> None:
    def boot(later_s: float) -> list[events.Event]:
        named: dict[str, Any] = {"blade": "blade1", "boot": "b"}
        return [
            events.BootStarted(**named, time=1e9, cause="power"),
            events.Dhcp(**named, time=1e9 + 2, mac="x", message="DISCOVER", client="pxe"),
            *([events.Clock(time=1e9 + later_s, by_s=later_s)] if later_s else []),
            events.Transfer(**named, time=1e9 + later_s + 5, protocol="tftp", path="lpxelinux.0", state="started"),
        ]

    plain, moved = (folding.fold_all(boot(later_s)).blade("blade1") for later_s in (0.0, jump_s))
    assert [(step.name, step.seconds) for step in moved.steps()] == [
        (step.name, step.seconds) for step in plain.steps()
    ]
    assert moved.began == plain.began + jump_s
    times: dict[str, Any] = dict.fromkeys(folding.MOMENTS, 1e9)
    whole = replace(plain, **times)
    later = folding.fold(LabState(blades={"blade1": whole}), events.Clock(by_s=jump_s)).blade("blade1")
    assert {name for name, value in vars(later).items() if value == 1e9 + jump_s} == set(folding.MOMENTS) >= {"got"}
    assert in_words(events.Clock(by_s=jump_s)).endswith("set 1 day ahead" if jump_s > 0 else "set 1 day back")


def test_a_jump_is_told_once_and_before_what_comes_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    its, real = object.__new__(EventWriter), time.time
    its.seq, its.stream, its._jumps = 0, stream.Stream(tmp_path / "events.jsonl"), steady.Jumps()
    its.watch = type("Watch", (), {"take": lambda *_: None})()
    its.emit(events.Note(detail="before"))
    monkeypatch.setattr(time, "time", lambda: real() + DAY_S)
    its.emit(events.Note(detail="after"))
    its.emit(events.Note(detail="later"))
    found = list(events.read(tmp_path / "events.jsonl"))
    assert [event.kind for event in found] == ["note", "clock", "note", "note"]
    assert isinstance(found[1], events.Clock) and abs(found[1].by_s - DAY_S) < 1
