"""How far a blade is, told from recorded events alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import events
from labkit.events import (
    REHEARSAL,
    BootStarted,
    Dhcp,
    Event,
    LabEvent,
    Leave,
    Part,
    Phoned,
    Power,
    Swarm,
    Transfer,
    UnknownMachine,
)  # fmt: skip
from labkit.events.folding import fold, fold_all
from labkit.events.stages import STEPS, Fetched, LabState, step_of
from labkit.events.tables import grid, summary, table
from labkit.lab import lab_yaml

MAC = "52:54:00:4d:00:01"
KERNEL = "labos/vmlinuz"
SIZE_B = 8_000_000


def dhcp(time: float, message: str, reply: str, client: str = "pxe") -> Dhcp:
    return Dhcp(
        blade="blade1", boot="b1", time=time, mac=MAC, message=message, reply=reply, client=client, address="10.77.0.11"
    )


def transfer(time: float, path: str, state: str, sent_b: int = 0) -> Transfer:
    return Transfer(
        blade="blade1", boot="b1", time=time, protocol="tftp", path=path, state=state, sent_b=sent_b, size_b=SIZE_B
    )


def phoned(time: float, stage: str) -> Phoned:
    return Phoned(blade="blade1", boot="b1", time=time, stage=stage, uptime_s=time - 108.0, init_s=2.0, ignition_s=5.5)


BOOT: list[Event] = [
    LabEvent(time=90, state="starting"),
    LabEvent(time=95, state="up"),
    BootStarted(blade="blade1", boot="b1", time=99.9, cause="power"),
    Power(blade="blade1", time=100, state="on"),
    dhcp(103, "DISCOVER", "OFFER"),
    dhcp(104, "REQUEST", "ACK"),
    transfer(104.1, "lpxelinux.0", "started"),
    transfer(104.2, "lpxelinux.0", "done", 90_000),
    transfer(104.5, "pxelinux.cfg/01-52-54-00-4d-00-01", "started"),
    transfer(104.6, "pxelinux.cfg/01-52-54-00-4d-00-01", "done", 400),
    transfer(105, KERNEL, "started"),
    transfer(107, KERNEL, "done", SIZE_B),
    dhcp(112, "DISCOVER", "OFFER", "os"),
    phoned(115, "os"),
    phoned(121, "joined"),
]
"""One boot: the kernel starts at 108, its first process at 110, Ignition is through at 113.5."""


def test_the_seconds_of_a_boot() -> None:
    state = fold_all(BOOT)
    blade = state.blade("blade1")
    assert state.up
    assert blade.seconds() == pytest.approx(
        {"firmware": 3, "loader": 2, "kernel": 5, "ignition": 3.5, "system": 1.5, "join": 6}
    )
    assert blade.total_s == pytest.approx(21)
    assert sum(blade.seconds().values()) == pytest.approx(blade.total_s)
    assert (blade.stage, blade.power, blade.boot, blade.mac, blade.address) == (
        "joined", "on", "b1", MAC, "10.77.0.11",
    )  # fmt: skip
    assert blade.sent_b == 90_400 + SIZE_B
    assert blade.os == 115


def test_the_stage_on_the_way() -> None:
    reached = [fold_all(BOOT[: end + 1]).blade("blade1").stage for end in range(len(BOOT))]
    assert reached == [
        *["off"] * 3, "firmware", *["loader"] * 6, *["kernel"] * 3, "join", "joined",
    ]  # fmt: skip


def test_a_blade_that_says_no_times() -> None:
    silent = [*BOOT[:-2], Phoned(blade="blade1", boot="b1", time=121, stage="joined")]
    seconds = fold_all(silent).blade("blade1").seconds()
    assert seconds == pytest.approx({"firmware": 3, "loader": 2, "system": 16, "join": 0}), "counted in the stage after"


def test_a_question_for_the_size_loads_nothing() -> None:
    asked = fold_all([*BOOT[:10], transfer(105, KERNEL, "started"), transfer(105.01, KERNEL, "done")]).blade("blade1")
    assert asked.stage == "kernel" and asked.sent_b == 90_400
    assert "kernel" not in asked.seconds() and not asked.init
    loaded = fold_all([*BOOT[:10], transfer(105, KERNEL, "started"), transfer(105.01, KERNEL, "done"), *BOOT[10:]])
    assert loaded.blade("blade1").seconds() == fold_all(BOOT).blade("blade1").seconds()


def test_a_missing_file_is_no_progress() -> None:
    before = fold_all(BOOT[:8])
    after = fold(before, transfer(104.3, KERNEL, "missing"))
    blade = after.blade("blade1")
    assert (blade.steps(), blade.seconds(), blade.kernel) == (
        before.blade("blade1").steps(), before.blade("blade1").seconds(), 0.0,
    )  # fmt: skip
    assert (blade.doing, blade.sent_b) == (before.blade("blade1").doing, before.blade("blade1").sent_b)
    assert [refused.path for refused in blade.refused] == [KERNEL], "but kept as evidence"


def test_a_reboot_begins_anew() -> None:
    again = BootStarted(blade="blade1", boot="b2", time=200, cause="pxe")
    blade = fold_all([*BOOT, Leave(blade="blade1", boot="b1", time=190, step="left"), again]).blade("blade1")
    assert (blade.boot, blade.power, blade.began, blade.stage) == ("b2", "on", 200, "firmware")
    assert blade.seconds() == {} and blade.total_s == 0 and blade.sent_b == 0 and not blade.left
    assert blade.mac == MAC


INITRD = "labos/labos.cpio"
STEPPED: list[Event] = [
    *BOOT[:12],
    transfer(107, INITRD, "started"),
    transfer(107.5, INITRD, "done", 90 * SIZE_B),
    transfer(107.6, "labos/oem.cpio.gz", "done", 2_000),
    *BOOT[12:],
]


def test_the_steps_of_a_boot() -> None:
    blade = fold_all(STEPPED).blade("blade1")
    steps = {step.name: step for step in blade.steps()}
    assert list(steps) == list(STEPS)
    assert {name: step.seconds for name, step in steps.items()} == pytest.approx(
        {
            "firmware": 3, "dhcp": 1.1, "loader": 0.4, "config": 0.5, "kernel": 2, "initrd": 3, "ignition": 3.5,
            "os": 1.5, "join": 6,
        }
    )  # fmt: skip
    assert sum(step.seconds for step in steps.values()) == pytest.approx(blade.total_s)
    assert (steps["initrd"].fetched.files, steps["initrd"].fetched.sent_b) == (2, 90 * SIZE_B + 2_000)
    assert (steps["loader"].fetched.files, steps["config"].fetched.sent_b) == (1, 400)
    assert steps["firmware"].fetched == Fetched()


def test_the_step_on_the_way() -> None:
    reached = [fold_all(STEPPED[: end + 1]).blade("blade1").step for end in range(len(STEPPED))]
    assert reached == [
        *["off"] * 3, "firmware", *["dhcp"] * 2, *["loader"] * 2, *["config"] * 2, *["kernel"] * 2, *["initrd"] * 3,
        "os", "join", "joined",
    ]  # fmt: skip
    assert not fold_all(STEPPED[:-1]).blade("blade1").steps()[-1].ended


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("pxelinux.0", "loader"), ("ldlinux.c32", "loader"), ("undionly.kpxe", "loader"), ("snponly.efi", "loader"),
        ("grub/x86_64-efi/linux.mod", "loader"), ("pxelinux.cfg/01-52-54-00-4d-00-01", "config"),
        ("pxelinux.cfg/default", "config"), ("boot.msg", "config"), ("boot.ipxe", "config"),
        ("shimx64.efi", "loader"), ("grubx64.efi", "loader"), ("grub/x86_64-efi/command.lst", "loader"),
        ("grub/grub.cfg-01-52-54-00-4d-00-01", "config"), ("grub/grub.cfg-0A4D000B", "config"),
        ("grub/grub.cfg", "config"), ("labos/vmlinuz", "kernel"), ("coreos/coreos_production_pxe.vmlinuz", "kernel"),
        ("fedora-coreos-40-live-kernel-x86_64", "kernel"), ("labos/labos.cpio", "initrd"),
        ("labos/oem.cpio.gz", "initrd"), ("coreos/coreos_production_pxe_image.cpio.gz", "initrd"),
        ("fedora-coreos-40-live-initramfs.x86_64.img", "initrd"), ("fedora-coreos-40-live-rootfs.x86_64.img", "initrd"),
    ],
)  # fmt: skip
def test_a_file_tells_its_step(path: str, step: str) -> None:
    assert step_of(path) == step


def test_the_rate_is_that_of_the_transfers() -> None:
    took = [
        replace(transfer(107.5, INITRD, "done", 30_000_000), seconds=2.0),
        replace(transfer(109, "labos/oem.cpio.gz", "done", 2_000_000), seconds=2.0),
    ]
    [*_, initrd] = fold_all([*BOOT[:12], *took]).blade("blade1").steps()
    assert (initrd.name, initrd.fetched.rate_b_s, Fetched().rate_b_s) == ("initrd", 8_000_000, 0)


def test_without_a_loader_there_is_no_step_for_it() -> None:
    stream = [*BOOT[:6], transfer(104.5, "boot.ipxe", "started"), *BOOT[10:]]
    later = transfer(130, "pxelinux.0", "started")
    names = [step.name for step in fold_all([*stream, later]).blade("blade1").steps()]
    assert names == ["firmware", "dhcp", "config", "kernel", "ignition", "os", "join"]


def test_a_rehearsal_is_no_boot() -> None:
    state = fold_all(BOOT)
    assert fold(state, Dhcp(blade="blade1", boot=REHEARSAL, time=300, mac=MAC, message="DISCOVER")) is state


def test_what_concerns_no_single_blade() -> None:
    many = [UnknownMachine(time=number, mac=f"00:00:5e:00:53:{number:02x}", adopt="…") for number in range(30)]
    state = fold_all([*BOOT, *many, Part(part="bootd", state="died"), Swarm(time=140, action="init")])
    assert len(state.strangers) == 16 and "00:00:5e:00:53:1d" in state.strangers
    assert state.dead == {"bootd"} and state.swarm == 140
    later = fold_all([*BOOT, Part(part="bootd", state="died"), Part(part="bootd", state="started", pid=7)])
    assert not later.dead


def test_the_summary_is_json() -> None:
    body = json.loads(json.dumps(summary(fold_all(STEPPED).blade("blade1"))))
    assert (body["stage"], body["step"], body["boot"], body["total_s"]) == ("joined", "joined", "b1", 21)
    assert [step["step"] for step in body["steps"]] == list(STEPS)
    assert body["steps"][4] == {
        "step": "kernel", "began": 105, "seconds": 2, "files": 1, "bytes": SIZE_B, "bytes_per_s": 0,
    }  # fmt: skip


def test_leaving_and_going_dark() -> None:
    steps = [Leave(blade="blade1", time=190, step="asked"), Leave(blade="blade1", time=191, step="left")]
    left = fold_all([*BOOT, *steps])
    assert left.blade("blade1").stage == "left"
    dark = fold(left, Power(blade="blade1", time=195, state="off", detail="shut itself down"))
    assert (dark.blade("blade1").stage, dark.blade("blade1").doing) == ("off", "shut itself down")


def test_a_real_slot_is_switched_on_and_its_firmware_asks_later() -> None:
    """Of a real slot only the button is known; the boot begins with the first message, its firmware with the button."""
    off = Power(blade="blade1", time=200, state="off")
    on = fold_all([*BOOT, off, Power(blade="blade1", time=300, state="on")]).blade("blade1")
    assert (on.step, on.boot, on.began, on.joined) == ("firmware", "", 300, 0)
    asks = BootStarted(blade="blade1", boot="b2", time=390, cause="pxe")
    stream = [
        *BOOT,
        off,
        Power(blade="blade1", time=300, state="on"),
        asks,
        replace(dhcp(390, "DISCOVER", ""), boot="b2"),
    ]
    blade = fold_all(stream).blade("blade1")
    assert (blade.boot, blade.step, blade.seconds()) == ("b2", "dhcp", {"firmware": 90})


def test_what_says_nothing_changes_nothing() -> None:
    state = fold_all(BOOT)
    assert fold(state, events.Service(name="web", action="created")) is state
    assert fold(state, events.Service(name="web", action="created", blade="blade1")) is state
    assert fold(state, Phoned(blade="blade1", stage="a stage of a later labkit", time=130)) is state
    assert fold(state, LabEvent(state="starting")) == LabState()


def test_grid() -> None:
    assert grid(["blade", "s"], [["b1", "10.5"], ["blade22", "-"]]) == (
        "blade    s\n───────  ────\nb1       10.5\nblade22  -"
    )


def test_a_grid_goes_on_below_where_it_is_too_wide() -> None:
    head, row = ["blade", "MAC", "page", "nginx"], ["b1", "52:54", "http://b1", "200"]
    assert grid(head, [row], 20) == (
        "blade  MAC\n─────  ─────\nb1     52:54\n\n"
        "blade  page\n─────  ─────────\nb1     http://b1\n\n"
        "blade  nginx\n─────  ─────\nb1     200"
    )
    assert grid(head, [row], 23).count("blade") == 2
    assert grid(head, [row], 1).count("blade") == 3, "a column is never cut"
    assert grid(head, [row], 30) == grid(head, [row])


def test_table() -> None:
    lab = lab_yaml.parse("name: lab\nblades:\n  - name: blade1\n  - name: blade2\n", Path("lab.yaml"))
    head, _, first, second = table(lab, fold_all(BOOT), {"blade1": {"nginx": "200"}}).splitlines()
    titles = "blade MAC address firmware s loader s kernel s ignition s system s join s total s stage nginx"
    assert head.split() == titles.split()
    assert first.split()[0] == "blade1" and first.split()[2:] == (
        ["10.77.0.11", "3.0", "2.0", "5.0", "3.5", "1.5", "6.0", "21.0", "joined", "200"]
    )
    assert second.split() == ["blade2", lab.blades[1].macs[0], str(lab.blades[1].address), *"-------", "off", "-"]
