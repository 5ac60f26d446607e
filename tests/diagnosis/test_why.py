"""What a person is told of a blade, and of boots that were: text and JSON, for every state a blade can be in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import events
from labkit.cli.boot_report import Record, as_json, choose_boots, render_text
from labkit.cli.commands import main
from labkit.diagnosis.stuck import VIRTUAL_S, find_stuck
from labkit.diagnosis.why import Why, why
from labkit.events import REHEARSAL, BootStarted, Dhcp, Event, LabEvent, Leave, Phoned, Power, Swarm, Transfer, Trouble
from labkit.events.folding import fold_all
from labkit.events.tables import table
from labkit.lab import ChassisKind, lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.virtual.consoles import heard
from labkit.netboot.http.blade_disk import read_disk
from labkit.pictures.timeline import outcome
from labkit.servers import client
from tests.rig.known import shows

LAB_TEXT = "name: lab\nboot: ipxe\nblades:\n  - name: blade1\n  - name: blade2\n"
LAB = lab_yaml.parse(LAB_TEXT, Path("lab.yaml"))


def boot(name: str = "blade1", identity: str = "b1", at: float = 1000.0) -> list[Event]:
    """One boot that joins 60 seconds after power-on."""
    stream: list[Event] = [
        BootStarted(time=at, cause="power"),
        Power(time=at, state="on"),
        Dhcp(time=at + 3, mac="52:54:00:4d:00:01", message="REQUEST", reply="ACK", client="ipxe", file="boot.ipxe"),
        Transfer(time=at + 10, protocol="http", path="boot.ipxe", state="done", sent_b=670, seconds=0.1),
        Transfer(time=at + 11, protocol="http", path="labos/vmlinuz", state="done", sent_b=14_000_000, seconds=0.5),
        Transfer(time=at + 12, protocol="http", path="labos/labos.cpio", state="done", sent_b=9_000_000, seconds=3),
        Phoned(time=at + 40, stage="os", uptime_s=20, init_s=4, ignition_s=7),
        Phoned(time=at + 60, stage="joined", uptime_s=40, init_s=4, ignition_s=7),
    ]
    return [replace(event, blade=name, boot=identity, seq=int(event.time * 10)) for event in stream]


BOOT = boot()
OFF = Power(blade="blade1", boot="b1", time=1100, state="off", detail="power cut")


def ask(stream: list[Event], *, now: float = 1200, up: bool = True) -> Why:
    told = why(LAB, LAB.blades[0], fold_all(stream), stream, VIRTUAL_S, now, up=up)
    assert json.loads(json.dumps(told.as_json()))["next"] == told.next
    assert str(told).startswith(f"blade1: {told.where}") and str(told).endswith(f"next: {told.next}")
    return told


def test_a_blade_that_ran_full_says_with_what() -> None:
    full = events.Space(
        blade="blade1",
        boot="b1",
        time=1100,
        state="full",
        used_b=950_000_000,
        size_b=1_000_000_000,
        detail="logs 900 MB",
    )
    told = ask([*BOOT, full])
    assert not told.well and "its room for Docker is full, 950.0 MB of 1.0 GB: logs 900 MB" in told.where
    assert "docker ps --size" in told.next and "prune" not in told.next
    assert ask([*BOOT, full, replace(full, time=1150, state="room")]).well


def test_a_blade_that_is_too_hot_says_which_part_of_it() -> None:
    hot = events.Measured(
        blade="blade1", time=1100, celsius=92.0, state="critical", hot="CPU 92 °C (above its critical limit of 90 °C)"
    )
    told = ask([*BOOT, hot])
    assert not told.well and "is too hot: CPU 92 °C (above its critical limit of 90 °C), at " in told.where
    assert "./lab power sensors blade1" in told.next and any("hot=CPU 92 °C" in line for line in told.evidence)
    shows("too-hot", [*BOOT, hot], "blade1")
    again = boot(identity="b2", at=2000.0)
    assert not ask([*BOOT, hot, *again], now=2100).well, "another boot does not cool it"
    well = ask([*BOOT, hot, replace(hot, time=1150, celsius=60.0, state="ok", hot="")])
    assert well.well and "60 °C" not in str(well), "what is as it should be is no evidence"
    silent = Trouble(blade="blade1", time=1100, part=events.SENSORS, detail="its BMC is asked no more what it measures")
    assert ask([*BOOT, silent]).well and "could not boot" not in ask([*BOOT, silent, OFF]).where


def test_a_blade_without_its_disk_is_well_but_for_that() -> None:
    """It is told once it has joined; until then, and once it is off, the disk is no reason for anything."""
    report = read_disk("refused\n0123456789abcdef\n/dev/vda has something on it; Docker is in memory\n")
    assert report is not None
    refused = replace(report.event("blade1", "b1"), time=1041.0)
    told = ask([*BOOT, refused])
    assert not told.well and told.where.endswith("without its disk: /dev/vda has something on it; Docker is in memory")
    assert "./lab disk wipe blade1" in told.next and "none" in told.next
    assert "disk" not in ask([*BOOT[:-1], refused], now=1050).where
    assert "could not boot" not in ask([*BOOT, refused, OFF]).where
    again = boot(identity="b2", at=2000.0)
    used = replace(report, state="used", words="Docker is on /dev/vda").event("blade1", "b2")
    assert ask([*BOOT, refused, *again, replace(used, time=2041.0)], now=2100).well


def test_a_docker_that_does_not_start_says_why() -> None:
    down = events.UnitFailed(
        blade="blade1", boot="b1", time=1050, unit="docker.service", how="exit-code", detail="no such key",
        said=("starting", "no such key"), others=("a.mount",),
    )  # fmt: skip
    told = ask([*BOOT[:-1], down])
    assert not told.well and told.where.startswith("Docker did not start (exit-code): no such key; failed as well: a.m")
    assert told.where.endswith(", in step 'join')") and "journalctl --boot --unit docker.service" in told.next
    assert told.evidence == ("docker.service: starting", "docker.service: no such key")
    assert "join: no Docker" in table(LAB, fold_all([*BOOT[:-1], down]))
    join = replace(down, time=1060, unit="docker-swarm-join.service", detail="start-limit-hit", said=(), others=())
    assert ask([*BOOT[:-1], down, join]).where == told.where, "what needs Docker fails after it"
    assert ask([*BOOT[:-1], join]).where.startswith("docker-swarm-join.service failed")
    assert ask([*BOOT[:-1], join, down]).where == told.where
    later = ask([*BOOT, replace(down, time=1100)])
    assert not later.well and "it joined the swarm at" in later.where
    assert ask([*BOOT[:-1], down, BOOT[-1]]).well
    assert "Docker" not in ask([*BOOT[:-1], down, OFF]).where


def test_a_blade_that_has_lost_something_is_told_until_its_next_boot() -> None:
    gone = "the memory bar in B1, 8.0 GiB, is gone"
    lost = events.HardwareChange(blade="blade1", boot="b1", time=1100, part="memory", state="worse", detail=gone)
    told = ask([*BOOT, lost, lost, replace(lost, state="other", detail="there is a new disk")])
    assert not told.well and told.where.endswith(f"has lost something since its last boot: {gone}")
    assert "./lab inventory blade1" in told.next
    assert ask([*BOOT, lost, *boot(identity="b2", at=2000.0)], now=2100).well


def test_a_kernel_that_is_fetched_again_and_again_is_told_at_once() -> None:
    text = "blades: [{name: blade1, boot: grub, firmware: uefi-secure}]\n"
    lab = lab_yaml.parse(text, Path("lab.yaml"))
    stream: list[Event] = [BootStarted(time=1000, cause="power"), Power(time=1000, state="on")]
    mac = lab.blades[0].macs[0]
    stream += [Dhcp(time=1003, mac=mac, message="REQUEST", reply="ACK", client="pxe", file="shimx64.efi")]
    for second, path in enumerate(("grubx64.efi", "grub/grub.cfg", *["labos/vmlinuz"] * 3), 1004):
        stream += [Transfer(time=second, protocol="tftp", path=path, state="done", sent_b=12_000_000, seconds=0.1)]
    stream = [replace(event, blade="blade1", boot="b1") for event in stream]
    for count, well in ((1, True), (0, False)):
        seen = stream[: len(stream) - count]
        told = why(lab, lab.blades[0], fold_all(seen), seen, VIRTUAL_S, 1009, up=True)
        assert told.well == well
    assert "Secure Boot refuses this kernel" in told.causes[0].what and "./lab images verify" in told.next


def test_a_wrong_clock_is_told_with_how_wrong_it_was() -> None:
    late = [replace(event, clock_off_s=-8e8) if isinstance(event, Phoned) else event for event in BOOT]
    told = ask(late)
    assert told.well and "its clock was 25 years behind and was set: if it is so at each boot" in told.where
    waits = ask([*late[:-1], Swarm(time=1000, action="init")], now=9999)
    assert not waits.well and "its clock was 25 years behind" in str(waits)
    unset = ask([*BOOT[:-1], Swarm(time=1000, action="init")], now=9999)
    assert "its clock is wrong" in str(unset) and "journalctl -u labkit-clock" in str(unset)
    assert "clock" not in ask(BOOT).where


def test_a_blade_that_was_put_out_says_that_it_comes_back() -> None:
    out = Swarm(blade="blade1", boot="b1", time=1100, action="lost-removed", node="n1")
    told = ask([*BOOT, out])
    assert not told.well and "was put out of it at" in told.where and "joins anew" in told.where
    assert "journalctl -u labkit-member" in told.next and "force" not in str(told)
    assert "put out" in table(LAB, fold_all([*BOOT, out]))
    for back in (replace(out, time=1110, action="joined", node="n2"), replace(out, time=1110, action="ready"),
                 replace(BOOT[-1], time=1110)):  # fmt: skip
        assert ask([*BOOT, out, back]).well
    assert ask([*BOOT, replace(out, boot="b0")]).well, "the node of the boot before"
    assert ask([*BOOT, replace(out, action="ghost-removed")]).well
    leaves = Leave(blade="blade1", boot="b1", time=1090, step="asked")
    assert fold_all([*BOOT, leaves, replace(out, action="removed")]).blade("blade1").removed == 0


def test_all_is_well() -> None:
    told = ask(BOOT)
    assert told.well and told.step == "joined" and "60.0 s after power-on" in told.where
    assert len(told.evidence) == 8 and "stage=joined" in told.evidence[-1]


def test_a_blade_of_several_cards_is_told_with_the_one_it_uses() -> None:
    text = "name: lab\nboot: ipxe\nhardware: red\nblades: [{name: blade1}]\n"
    lab = lab_yaml.parse(text, Path("lab.yaml"))
    second = lab.blades[0].macs[1]
    stream = [replace(event, mac=second) if isinstance(event, Dhcp) else event for event in BOOT]
    told = why(lab, lab.blades[0], fold_all(stream), stream, VIRTUAL_S, 1200, up=True)
    assert told.where.endswith(f"60.0 s after power-on, by its card 2 of 4 ({second})")
    assert "card" not in ask(BOOT).where


def test_what_a_console_says_is_a_cause() -> None:
    said = heard("blade1", "network: NO CARD THAT THIS SYSTEM HAS A DRIVER FOR; PCI ids without driver: 1022:2000")
    assert said is not None
    for now in (1040, 1200):
        told = ask([*BOOT[:6], replace(said, boot="b1", time=1030)], now=now)
        assert not told.well and "its system has no driver for its network card: 1022:2000 (PCI ids)" in str(told)
        assert (told.causes[0].what, told.next) == (said.detail, said.fix)


@pytest.mark.parametrize(
    ("stream", "well", "step", "where", "following"),
    [
        ([], True, "off", "was not switched on", "./lab power on blade1"),
        ([*BOOT, OFF], True, "off", "it is off (power cut)", "./lab rehearse blade1"),
        ([*BOOT, Leave(blade="blade1", boot="b1", time=1090, step="left")], True, "left", "left the swarm", "boots it"),
        (BOOT[:7], True, "join", "there is no swarm yet", "./lab run"),
    ],
)
def test_who_is_not_on_the_way(stream: list[Event], well: bool, step: str, where: str, following: str) -> None:
    told = ask(stream)
    assert (told.well, told.step, told.causes) == (well, step, ())
    assert where in told.where and following in told.next


def test_off_because_it_could_not_boot() -> None:
    told = ask([*BOOT[:2], Trouble(blade="blade1", boot="b1", time=1001, part="plan", detail="no such config"), OFF])
    assert not told.well and "no such config" in told.where


def test_on_its_way() -> None:
    told = ask(BOOT[:3], now=1005)
    assert told.well and told.step == "dhcp" and "usually 2 s. Nothing is wrong" in told.where
    assert "firmware → dhcp → loader" in told.where and "stuck after 30 s" in told.next
    late = ask(BOOT[:5], now=1012)
    assert "firmware → dhcp → config → kernel" in late.where, "a step it went past without is no step of it"


def test_stuck() -> None:
    stream = BOOT[:3]
    stuck = find_stuck(LAB, "blade1", fold_all(stream), 1200, VIRTUAL_S)
    assert stuck is not None
    told = ask([*stream, stuck])
    assert not told.well and stuck.what in told.where
    assert [cause.what for cause in told.causes] == list(stuck.causes) and told.next == stuck.fix
    assert "likely causes" in str(told) and f"1. {stuck.causes[0]}" in str(told)
    assert not any("stuck" in line for line in told.evidence)


def test_trouble_is_told_before_its_time() -> None:
    told = ask([*BOOT[:3], Trouble(blade="blade1", boot="b1", part="plan", detail="no such config")], now=1004)
    assert not told.well and told.causes[0].what == "no such config"


def test_the_lab_is_down() -> None:
    assert ask([], up=False).where == "the lab is not up"
    told = ask(BOOT, up=False)
    assert not told.well and "when it was, this blade was joined" in told.where and told.next == "./lab up"


def test_another_boots_events_are_no_evidence() -> None:
    stream = [*BOOT, OFF, *boot(identity="b2", at=2000)[:3], replace(BOOT[2], boot=REHEARSAL, time=2004)]
    told = ask(stream, now=2005)
    assert len(told.evidence) == 3 and "rehears" not in str(told.evidence)


# --- the report of boots ---

LIVES = [
    LabEvent(time=900, state="starting"), *BOOT, OFF,
    LabEvent(time=1500, state="starting"), *boot(identity="b2", at=2000), *boot("blade2", "b3", 2001)[:5],
    *boot(identity="b4", at=3000)[:3],
]  # fmt: skip


def test_a_record_keeps_every_boot_over_every_life_of_the_lab() -> None:
    record = Record.of(LIVES)
    assert [one.boot for one in record.boots("blade1")] == ["b1", "b2", "b4"]
    assert [outcome(one) for one in record.boots("blade1")] == [
        "joined after 60.0 s, now off", "joined after 60.0 s", "in dhcp",
    ]  # fmt: skip
    last = record.last("blade1")
    assert last is not None and last.boot == "b4" and record.last("blade9") is None
    assert record.usual(LAB)["dhcp"] == 7 and record.usual(LAB)["loader"] == VIRTUAL_S["loader"]
    assert [one.boot for one in choose_boots(record, ["blade2", "blade1"], every=False)] == ["b3", "b4"]
    assert len(choose_boots(record, ["blade1", "blade2"], every=True)) == 4


def test_the_report_in_text() -> None:
    record = Record.of(LIVES)
    lines = render_text(choose_boots(record, ["blade1"], every=True), {"dhcp": 7.0}).splitlines()
    assert lines[0].split("  ")[0] == "blade" and "initrd s" in lines[0] and "loader s" not in lines[0]
    assert lines[2].split()[2:] == "3.0 7.0 1.0 1.0 12.0 3.0 13.0 20.0 joined after 60.0 s, now off".split()
    assert lines[4].split()[2:] == "3.0 … - - - - - - in dhcp".split()
    assert lines[5].split() == "usually - 7.0 - - - - - -".split()
    assert lines[-1].split() == "blade1 initrd 1 9.0 MB 3.00 3.0 MB/s".split()
    assert render_text([], {}) == "no boot has been seen"


def test_the_report_as_json() -> None:
    record = Record.of(LIVES)
    body = json.loads(json.dumps(as_json(choose_boots(record, ["blade2"], every=False), {"dhcp": 7.0})))
    [told] = body["boots"]
    assert (body["usual_s"], told["blade"], told["outcome"]) == ({"dhcp": 7.0}, "blade2", "in kernel")
    assert told["steps"][3]["bytes_per_s"] == 28_000_000


# --- the commands ---


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "lab.yaml").write_text(LAB_TEXT)
    (tmp_path / "state").mkdir()
    stream = [*BOOT, Swarm(seq=10_700, time=1070, action="init")]
    text = "".join(events.encode(event) + "\n" for event in stream)
    (tmp_path / "state" / "events.jsonl").write_text(text)
    return ["--lab", str(tmp_path / "lab.yaml"), "--state", str(tmp_path / "state")]


def test_the_commands_read_a_lab_that_is_down(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "why", "blade1"]) == 1
    assert "the lab is not up; when it was, this blade was joined" in capsys.readouterr().out
    assert main([*words, "why", "blade1", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["well"] is False
    assert main([*words, "why", "blade9"]) == 2
    assert "blade1, blade2" in capsys.readouterr().err
    picture = tmp_path / "boots.svg"
    assert main([*words, "boot-report", "--svg", str(picture)]) == 0
    assert "joined after 60.0 s" in capsys.readouterr().out
    assert picture.read_text().startswith("<svg xmlns=")
    assert main([*words, "boot-report", "blade2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boots"] == []


@pytest.mark.parametrize(
    ("before", "press", "told"), [("off", "on", "on"), ("on", "on", ""), ("on", "shutdown", "soft-off")]
)
def test_a_real_slots_button_is_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, press: str, told: str
) -> None:
    """A virtual slot tells of its power itself; a real one cannot."""
    pressed: list[str] = []
    emitted: list[Event] = []
    monkeypatch.setattr(power, "power_state", lambda *a: before)
    monkeypatch.setattr(power, "set_power", lambda name, bmc, password, state: pressed.append(state))
    monkeypatch.setattr(client.RunningLab, "emit", lambda self, event: emitted.append(event))
    begun: list[tuple[str, str]] = []
    monkeypatch.setattr(rpc, "call", lambda path, verb, *, blade: begun.append((verb, blade)))
    (tmp_path / "password").write_text("x")
    blade = replace(LAB.blades[0], bmc=replace(LAB.blades[0].bmc, password_file=tmp_path / "password"))
    rack = replace(LAB, chassis=replace(LAB.chassis, kind=ChassisKind.IPMI))
    client.RunningLab(rack, State(tmp_path)).power(blade, press)
    assert pressed == [press]
    assert [event.state for event in emitted if isinstance(event, Power)] == ([told] if told else [])
    assert begun == ([("power_on", "blade1")] if told == "on" else [])
    (tmp_path / "keys").mkdir()
    client.RunningLab(LAB, State(tmp_path)).power(LAB.blades[0], press)
    assert len(pressed) == 2 and len(emitted) == (1 if told else 0)


def test_a_swarm_that_does_not_answer_is_named_with_what_helps() -> None:
    silent = Swarm(time=1060, action="silent", detail="the swarm does not have a leader", fix="./lab swarm recover")
    told = ask([*BOOT[:7], silent], now=1200)
    assert (told.well, told.step, told.next) == (False, "join", "./lab swarm recover")
    assert told.where.endswith("and waits: the swarm does not have a leader")
    assert "there is no swarm" not in str(told)
    again = ask([*BOOT[:7], silent, Swarm(time=1090, action="answers")], now=1100)
    assert "waits:" not in again.where and "step 'join'" in again.where
