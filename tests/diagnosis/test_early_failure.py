"""Waits for blades whose end is known before their time is up, and what ends none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.diagnosis.early_failure import BOOTING, CUT_S, JOINING, dead_part, known_end
from labkit.diagnosis.stuck import VIRTUAL_S
from labkit.diagnosis.why import why
from labkit.errors import MachineError, PowerError
from labkit.events import (
    CUT,
    BootStarted,
    Dhcp,
    Event,
    LabEvent,
    Leave,
    Part,
    Phoned,
    Power,
    Ticket,
    Transfer,
    Trouble,
    UnitFailed,
    encode,
    part_deaths,
)
from labkit.events.folding import fold_all
from labkit.events.stages import LabState
from labkit.lab import lab_yaml
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.servers import client

LAB = lab_yaml.parse("name: lab\nblades:\n  - name: blade1\n  - name: blade2\n", Path("lab.yaml"))
WHERE = State(Path("/nowhere"))
DURATION_S = 60.0


def boot(number: int, *, cause: str = "pxe", until: str = "initrd") -> list[Event]:
    """The number-th boot of blade1, a minute each: by itself (``pxe``) or by somebody's button (``power``)."""
    at = number * DURATION_S
    stream: list[Event] = [BootStarted(time=at, cause=cause)]
    stream += [Power(time=at + 0.1, state="on")] if number == 0 else []
    stream += [
        Dhcp(time=at + 3, mac="52:54:00:4d:00:01", message="REQUEST", reply="ACK", client="pxe", file="pxelinux.0"),
        Transfer(time=at + 4, protocol="tftp", path="pxelinux.0", state="done", sent_b=40_000),
        Transfer(time=at + 5, protocol="http", path="labos/vmlinuz", state="done", sent_b=9_000_000),
        Transfer(time=at + 6, protocol="http", path="labos/labos.cpio", state="done", sent_b=90_000_000),
    ]
    stream += [Phoned(time=at + 20, stage="os", uptime_s=9)] if until != "initrd" else []
    stream += [Phoned(time=at + 30, stage="joined", uptime_s=19)] if until == "joined" else []
    return [replace(event, blade="blade1", boot=f"b{number}") for event in stream]


FIRST = boot(0, cause="power")


def said(stream: list[Event], *, until: str = "joined", since: float = 0.0, now: float = 1000.0) -> str:
    end = known_end(LAB, WHERE, fold_all(stream), ["blade1"], until=until, since=since, now=now)
    return str(end) if end else ""


def test_the_third_boot_in_a_row_ends_the_wait() -> None:
    two = [*FIRST, *boot(1)]
    assert said(two) == ""
    words = said([*two, boot(2)[0]])
    assert words.startswith(
        "not joined, and will not be: blade1 boots again and again: boot 1 came to step 'initrd' in "
    )
    assert (
        "boot 2 came to step 'initrd' in 60 s (http done: labos/labos.cpio); now boot 3 has begun; the last time"
        in words
    )
    assert "the kernel does not start or stopped" in words and words.endswith("fix: ./lab why blade1 tells more")
    assert "boot 3 came" in said([*two, *boot(2), *boot(3)])


def test_boots_before_the_wait_are_not_its_own() -> None:
    stream = [*FIRST, *boot(1), *boot(2)]
    assert said(stream, since=59) != ""
    assert said(stream, since=61) == ""  # the second boot was under way when it began: the third is its second
    assert said([*stream, *boot(3)], since=61) != ""


@pytest.mark.parametrize(
    "stream",
    [
        [*FIRST, *boot(1, cause="power"), *boot(2, cause="power")],
        [*FIRST, *boot(1), *boot(2, cause="power"), *boot(3)],
        [*FIRST, *boot(1, until="joined"), *boot(2), *boot(3)],
        [*FIRST, Leave(blade="blade1", time=50, step="asked"), *boot(1), Leave(blade="blade1", time=100, step="left"),
         *boot(2), *boot(3)],
        [*FIRST, *boot(1), Power(blade="blade1", time=115, state="off", detail=CUT),
         Power(blade="blade1", time=116, state="on"), *boot(2), *boot(3)],
        [*FIRST, *(replace(event, boot="b0") for number in range(1, 6) for event in boot(number)[1:])],
        [*FIRST, Part(time=30, part="bootd", state="died", detail="status -9: "), *boot(1), *boot(2)],
    ],
    ids=["resets", "a reset between", "joined between", "left in order", "a plug pulled", "asks again in one boot",
         "the boot server died"],
)  # fmt: skip
def test_what_is_no_circle(stream: list[Event]) -> None:
    assert said(stream) == ""


def test_a_boot_that_gets_where_it_was_to_get_is_well() -> None:
    up = [*FIRST, *boot(1, until="os"), *boot(2, until="os"), *boot(3, until="os")]
    assert said(up, until="os") == "" and "boot 3 came to step 'join'" in said([*up, *boot(4)])


def test_why_tells_of_the_boots_before() -> None:
    stream = [*FIRST, *boot(1), *boot(2)]
    told = why(LAB, LAB.blades[0], fold_all(stream), stream, VIRTUAL_S, 130, up=True)
    assert not told.well and told.causes and "console blade1 --log" in told.next
    assert told.where.startswith("it boots again and again, 3 times by now, step 'initrd' of ")
    assert told.where.count("came to step 'initrd' in 60 s and ended there") == 2
    once = why(LAB, LAB.blades[0], fold_all(stream[: len(FIRST) + 5]), stream, VIRTUAL_S, 70, up=True)
    assert once.well and "(a boot before it came to step 'initrd' in 60 s and ended there)" in once.where


# --- what the blade itself gave up


DOWN = UnitFailed(blade="blade1", boot="b0", time=40, unit="docker.service", how="exit-code", detail="no such key")
EMERGENCY = UnitFailed(
    blade="blade1", boot="b0", time=40, unit="emergency.target", detail="Dependency failed for /data"
)
UP = [*FIRST, replace(boot(0, until="os")[-1], seq=9)]


def test_a_docker_that_does_not_start_ends_the_wait_at_once() -> None:
    words = said([*UP, DOWN], now=41)
    assert words.startswith("not joined, and will not be: blade1: Docker did not start (exit-code): no such key")
    assert "./lab ssh blade1 sudo journalctl --boot --unit docker.service" in words and "./lab why blade1" in words
    assert said([*UP, DOWN], until="os") == "", "its system is up without Docker"


def test_an_emergency_ends_both_waits() -> None:
    for until in ("os", "joined"):
        words = said([*FIRST, EMERGENCY], until=until)
        assert "its system came up in emergency mode: Dependency failed for /data" in words
        assert "./lab console blade1 --log" in words


@pytest.mark.parametrize(
    "mended",
    [
        Ticket(blade="blade1", boot="b0", time=50, state="redeemed"),
        Phoned(blade="blade1", boot="b0", time=50, stage="joined"),
        Power(blade="blade1", time=50, state="reset"),
        BootStarted(blade="blade1", boot="b1", time=50, cause="power"),
    ],
)
def test_what_is_mended_ends_no_wait(mended: Event) -> None:
    assert said([*UP, DOWN, mended]) == ""


# --- power and plans


def test_a_blade_that_goes_off_by_itself_ends_the_wait_at_once() -> None:
    off = Power(blade="blade1", time=50, state="off", detail="shut itself down")
    words = said([*FIRST, off], now=50)
    assert "blade1 is off: it went off (shut itself down) at " in words and "./lab power on blade1" in words
    assert said([*FIRST, off], since=51) == ""  # it was off before, and somebody may switch it on
    assert said([*FIRST, off, *boot(1, cause="power"), Power(blade="blade1", time=61, state="on")]) == ""


def test_a_plug_that_is_pulled_may_be_put_in_again() -> None:
    cut = Power(blade="blade1", time=50, state="off", detail=CUT)
    assert said([*FIRST, cut], now=50 + CUT_S - 1) == ""
    assert "somebody cut its power" in said([*FIRST, cut], now=50 + CUT_S)


def test_a_boot_without_a_plan_ends_the_wait() -> None:
    mistake = Trouble(blade="blade1", boot="b0", time=1, part="plan", detail="own.bu does not transpile", fix="mend it")
    words = said([FIRST[0], mistake])
    assert "blade1 has nothing to boot: own.bu does not transpile" in words and "fix: mend it; ./lab why" in words
    assert said([FIRST[0], mistake, *boot(1, cause="power")]) == ""
    assert said([*FIRST, replace(mistake, part="dhcp", detail="declined")]) == ""


# --- parts


def deaths(*details: str, part: str = "bootd", apart_s: float = 5) -> list[Event]:
    pairs = [
        (Part(time=n * apart_s, part=part, state="died", detail=detail),
         Part(time=n * apart_s + 1, part=part, state="started", pid=n + 1))
        for n, detail in enumerate(details)
    ]  # fmt: skip
    return [event for pair in pairs for event in pair]


FULL = "status 1: Traceback\n  File x\nOSError: [Errno 28] No space left on device: 17"


def test_a_part_that_dies_three_times_for_the_same_reason_ends_the_wait() -> None:
    assert said(deaths(FULL, FULL)) == ""
    end = known_end(
        LAB, WHERE, fold_all(deaths(FULL, FULL, FULL.replace("17", "18"))), ["blade1"], until="os", since=0, now=20
    )
    assert isinstance(end, MachineError) and end.where == "/nowhere/logs/bootd.log"
    assert end.what == (
        "bootd, a part of the lab, died 3 times in a row, and each time the same way: "
        "status 1: OSError: [Errno 28] No space left on device: 18"
    )
    assert said(deaths(FULL, FULL, FULL), since=11) == ""  # mended by the time the wait began
    assert said(deaths(FULL, FULL, FULL, part="registry")) == ""  # nobody boots from it
    engine = deaths(FULL, FULL, FULL, part="engine")
    assert said(engine) != "" and said(engine, until="os") == ""


@pytest.mark.parametrize(
    "stream",
    [
        deaths(FULL, "status 2: other", FULL, "status 2: other"),
        deaths(FULL, FULL.replace("status 1", "status -9"), FULL),
        deaths(FULL, FULL, FULL, apart_s=part_deaths.IN_A_ROW_S + 1),
        [*deaths(FULL, FULL), LabEvent(time=11, state="starting"), *deaths(FULL, FULL)[2:]],
    ],
    ids=["two reasons", "killed between", "it ran between", "another lab"],
)
def test_what_is_no_row_of_deaths(stream: list[Event]) -> None:
    assert said(stream) == ""


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        (FULL, "status 1: OSError: [Errno 28] No space left on device: 17"),
        ("status 1: no", "status 1: no"), ("status -9: ", "status -9:"), ("", "no reason is known"),
        ("bootd is not ready after 30 s: \nlast", "last"),
    ],
)  # fmt: skip
def test_the_reason_of_a_death(detail: str, reason: str) -> None:
    assert part_deaths.reason(Part(part="x", state="died", detail=detail)) == reason


def test_a_lab_without_a_part_is_told_to_whoever_connects() -> None:
    """Only while the part does not run."""
    dead = deaths(FULL, FULL, FULL)
    assert dead_part(WHERE, fold_all(dead[:-1]), JOINING) is not None
    assert dead_part(WHERE, fold_all(dead), BOOTING) is None
    assert dead_part(WHERE, LabState(), JOINING) is None


def test_what_a_service_waits_for_is_looked_at_in_each_turn(tmp_path: Path) -> None:
    state = State(tmp_path)
    check = client.RunningLab(LAB, state).part_check("registry")
    check()
    stream = deaths(FULL, FULL, FULL, part="registry")
    later = [replace(event, seq=number, time=event.time + 4e9) for number, event in enumerate(stream, 1)]
    with state.events.open("a") as file:
        for event in later[:4]:
            file.write(encode(event) + "\n")
        file.flush()
        check()
        file.write(encode(later[4]) + "\n")
        file.flush()
        with pytest.raises(MachineError, match=r"registry, a part of the lab, died 3 times"):
            check()


def test_a_wait_ends_with_it(tmp_path: Path) -> None:
    state = State(tmp_path)
    stream = [*FIRST, *boot(1), *boot(2)]
    state.events.write_text("".join(encode(replace(event, seq=n)) + "\n" for n, event in enumerate(stream, 1)))
    with pytest.raises(PowerError, match="boots again and again"):
        client.wait_blades(client.RunningLab(LAB, state), [LAB.blades[0]], since=0)


def test_a_wait_has_time_for_what_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blade whose files still come is late by nothing of its own; one that is off fetches nothing any more."""
    monkeypatch.setattr(control, "status", lambda state: {})
    state = State(tmp_path)
    told: list[Event] = []

    def tell(*more: Event) -> None:
        told.extend(replace(event, blade="blade1", boot="b1") for event in more)
        state.events.write_text("".join(encode(replace(event, seq=n)) + "\n" for n, event in enumerate(told, 1)))

    def wait(show: Callable[[LabState], None] = lambda state: None) -> None:
        client.wait_blades(client.RunningLab(LAB, state), [LAB.blades[0]], timeout_s=0, show=show)

    moving = Transfer(protocol="tftp", path="labos/labos.cpio", state="moving", sent_b=10, size_b=20, seconds=9000)
    now = time.time()
    tell(BootStarted(time=now, cause="power"), Power(time=now, state="on"), replace(moving, time=now))
    wait(lambda state: tell(Phoned(time=now, stage="joined")) if not state.blade("blade1").joined else None)
    tell(BootStarted(time=now, cause="power"), replace(moving, time=now), Power(time=now, state="off"))
    with pytest.raises(PowerError, match="not joined after 0 s: blade1 is at stage 'off'"):
        wait()
    tell(BootStarted(time=now, cause="pxe"), replace(moving, time=now, seconds=0.01))
    with pytest.raises(PowerError, match="not joined after 0 s: blade1 is at stage 'firmware'"):
        wait()
