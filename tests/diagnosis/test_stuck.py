"""Boots that stand still: when that is told, and what is said to be behind it, for each step and each thing seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.diagnosis.causes import explain
from labkit.diagnosis.stuck import (
    PATIENCE,
    REAL_FIRMWARE_S,
    SHORTEST_LIMIT_S,
    VIRTUAL_S,
    Watch,
    find_stuck,
    limit_s,
    standing_s,
    usual_times,
)
from labkit.events import (
    BootStarted,
    Dhcp,
    Event,
    Part,
    Phoned,
    Power,
    Swarm,
    Ticket,
    Transfer,
    Trouble,
    UnknownMachine,
)
from labkit.events.folding import fold_all
from labkit.lab import ChassisKind, DhcpMode, FirmwareKind, Lab, lab_yaml
from labkit.netboot.http import tls

MAC = "52:54:00:4d:00:01"


def lab_of(boot: str = "pxelinux") -> Lab:
    return lab_yaml.parse(f"name: lab\nboot: {boot}\nblades:\n  - name: blade1\n  - name: blade2\n", Path("lab.yaml"))


LAB = lab_of()


def dhcp(message: str = "REQUEST", reply: str = "ACK", **more: Any) -> Dhcp:
    said = Dhcp(
        blade="blade1", boot="b1", time=103, mac=MAC, message=message, reply=reply, client="pxe", file="pxelinux.0"
    )
    return replace(said, **more)


def file(path: str, state: str = "done", *, protocol: str = "tftp", size_b: int = 1000, reason: str = "") -> Transfer:
    sent_b = size_b if state == "done" else 0
    return Transfer(
        blade="blade1", boot="b1", time=104, protocol=protocol, path=path, state=state, size_b=size_b, sent_b=sent_b,
        reason=reason,
    )  # fmt: skip


ON: list[Event] = [
    BootStarted(blade="blade1", boot="b1", time=99.9, cause="power"),
    Power(blade="blade1", boot="b1", time=100, state="on"),
]
LEASED = [*ON, dhcp("DISCOVER", "OFFER"), dhcp()]
LOADED = [*LEASED, file("pxelinux.0"), file("ldlinux.c32")]
CONFIGURED = [*LOADED, file("pxelinux.cfg/01-52-54-00-4d-00-01")]
KERNEL = [*CONFIGURED, file("labos/vmlinuz")]
FETCHED = [*KERNEL, file("labos/labos.cpio"), file("labos/oem.cpio.gz")]
STARTED = [*FETCHED, replace(dhcp(client="os", file=""), time=110)]
UP = [*STARTED, Phoned(blade="blade1", boot="b1", time=115, stage="os", uptime_s=7, init_s=2, ignition_s=4)]
SWARM = [*UP, Swarm(time=116, action="init")]
STRANGER = UnknownMachine(time=101, mac="00:00:5e:00:53:01", adopt="./lab adopt 00:00:5e:00:53:01", vendor="Intel")
REDEEMED = Ticket(blade="blade1", boot="b1", time=117, state="redeemed")
REFUSED = Ticket(blade="blade1", boot="b1", time=117, state="refused", reason="not the ticket of this boot")

CASES: list[tuple[str, list[Event], str, str]] = [
    ("firmware", ON, "has not asked for an address", "does not boot from the network"),
    ("firmware", [*ON, STRANGER], "has not asked for an address", "asks to boot: 00:00:5e:00:53:01 (Intel)"),
    ("dhcp", [*ON, dhcp("DISCOVER", "OFFER")], "DHCP DISCOVER, got OFFER", "another DHCP server"),
    ("dhcp", [*ON, dhcp("DISCOVER", "", reason="relayed from afar")], "got no answer", "relayed from afar"),
    ("dhcp", [*ON, dhcp("REQUEST", "", reason="chose the server 10.0.0.9")], "no answer", "chose the server 10.0.0.9"),
    ("dhcp", [*ON, dhcp("REQUEST", "NAK", reason="not its address")], "got NAK", "not its address"),
    ("dhcp", LEASED, "asked for no file since", "its request for pxelinux.0 does not arrive: a firewall closes UDP 69"),
    ("dhcp", [*ON, dhcp(file="http://10.77.0.1/boot.ipxe", client="ipxe")], "no file", "a firewall closes TCP 80"),
    ("dhcp", [*ON, dhcp(file="", reason="no loader for it")], "no file since", "no loader for it"),
    ("dhcp", [*ON, dhcp(file="", client="os")], "as an operating system does", "on a disk of its own"),
    ("dhcp", [*LEASED, file("pxelinux.0", "missing", reason="not there")], "asked for pxelinux.0 and got none",
     "pxelinux.0 is not there"),
    ("loader", [*LEASED, file("pxelinux.0", "started")], "began to fetch pxelinux.0 (1,000 bytes over tftp)",
     "packets are lost"),
    ("loader", [*LEASED, file("pxelinux.0", "started"), file("pxelinux.0", "failed", reason="gave up")],
     "asked for no configuration", "the transfer broke off: gave up"),
    ("loader", LOADED, "has its boot loader", "not for this firmware"),
    ("loader", [*LOADED, file("pxelinux.cfg/default", "missing", reason="no plan")], "pxelinux.cfg/default", "no plan"),
    ("config", CONFIGURED, "asked for no kernel since", "waits for somebody at the keyboard"),
    ("config", [*CONFIGURED, file("labos/vmlinuz", "missing", reason="the image is not there")], "labos/vmlinuz",
     "the image is not there"),
    ("kernel", KERNEL, "asked for no initrd", "MiB of memory"),
    ("kernel", [*CONFIGURED, file("labos/vmlinuz", "started")], "began to fetch labos/vmlinuz", "packets are lost"),
    ("kernel", [*KERNEL, file("labos/labos.cpio", "missing", reason="gone")], "labos/labos.cpio", "gone"),
    ("initrd", FETCHED, "has its kernel and initrds", "the kernel does not start"),
    ("initrd", [*KERNEL, file("labos/labos.cpio", "started")], "began to fetch labos/labos.cpio", "packets are lost"),
    ("os", STARTED, "has not told the lab that it is up", "Ignition found a mistake"),
    ("os", [*STARTED, REFUSED], "has not told", "ticket was refused: not the ticket of this boot"),
    ("join", SWARM, "has not joined the swarm", "Docker engine does not start"),
    ("join", [*SWARM, REDEEMED], "got its place in the swarm", "Docker engine does not start"),
    ("join", [*SWARM, Part(part="swarmd", state="died")], "has not joined", "swarmd, a part of the lab, has died"),
    ("dhcp", [*LEASED, Trouble(blade="blade1", boot="b1", part="plan", detail="the config does not transpile")],
     "asked for no file", "the config does not transpile"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "stream", "what", "first"), CASES)
def test_what_stands_still_is_told_with_its_likeliest_cause(
    step: str, stream: list[Event], what: str, first: str
) -> None:
    state = fold_all(stream)
    assert state.blade("blade1").step == step
    stuck = find_stuck(LAB, "blade1", state, 400, VIRTUAL_S)
    assert stuck is not None
    assert (stuck.blade, stuck.boot, stuck.step, stuck.time) == ("blade1", "b1", step, 400)
    assert what in stuck.what
    assert first in stuck.causes[0]
    assert stuck.fix and stuck.seconds > 100
    assert events.decode(events.encode(stuck)) == stuck


def test_the_boot_method_has_its_own_causes() -> None:
    def causes(boot: str, stream: list[Event]) -> list[str]:
        lab = lab_of(boot)
        return [cause.what for cause in explain(lab, lab.blades[0], fold_all(stream))[1]]

    assert "over HTTP does not arrive" in causes("ipxe", CONFIGURED)[0]
    for all_over_tftp in ("pxelinux", "grub"):
        assert not any("HTTP" in cause for cause in causes(all_over_tftp, CONFIGURED))
    assert "lpxelinux is known" in causes("lpxelinux", FETCHED)[1]
    assert not any("lpxelinux" in cause for cause in causes("ipxe", FETCHED))


SIGNED = [
    *ON, dhcp("DISCOVER", "OFFER", file="shimx64.efi"), dhcp(file="shimx64.efi"), file("shimx64.efi"),
    *(file(f"{name}.efi", "missing", reason="no such file") for name in ("revocations_sbat", "shim_certificate_0")),
    file("grubx64.efi"), file("grub/x86_64-efi/command.lst", "missing", reason="no such file"),
    file("grub/x86_64-efi/grub.cfg", "missing", reason="no such file"),
]  # fmt: skip


@pytest.mark.parametrize("again", [[], ["started"], ["started", "done"]])
@pytest.mark.parametrize("firmware", ["uefi-secure", "uefi", "real"])
def test_a_kernel_that_secure_boot_refuses(firmware: str, again: list[str]) -> None:
    virtual = "uefi" if firmware == "uefi" else "uefi-secure"
    lab = lab_yaml.parse(f"blades: [{{name: blade1, boot: grub, firmware: {virtual}}}]\n", Path("lab.yaml"))
    if firmware == "real":
        blade = replace(lab.blades[0], firmware=FirmwareKind.BIOS)
        lab = replace(lab, chassis=replace(lab.chassis, kind=ChassisKind.IPMI), blades=(blade,))
    kernel = [*SIGNED, file("grub/grub.cfg"), file("labos/vmlinuz"), *(file("labos/vmlinuz", how) for how in again)]
    _, causes = explain(lab, lab.blades[0], fold_all(kernel))
    assert ("Secure Boot refuses this kernel" in causes[0].what) == (firmware != "uefi")
    assert "damaged" in causes[0].what or firmware == "uefi"
    booted = [*kernel, file("labos/labos.cpio"), file("labos/oem.cpio.gz")]
    _, causes = explain(lab, lab.blades[0], fold_all(booted))
    assert not any("Secure Boot" in cause.what for cause in causes), "shim let it run"
    _, causes = explain(
        lab, lab.blades[0], fold_all([*SIGNED, file("grub/grub.cfg"), file("labos/vmlinuz", "started")])
    )
    assert not any("Secure Boot" in cause.what for cause in causes), "nobody has looked at it yet"


def test_what_shim_and_grub_only_try_is_no_trouble() -> None:
    state = fold_all(SIGNED).blade("blade1")
    assert (state.step, state.refused, state.heard) == ("loader", (), 104)
    missing = fold_all([*SIGNED[:4], file("grubx64.efi", "missing", reason="it is not installed")])
    lab = lab_of("grub")
    _, causes = explain(lab, lab.blades[0], missing)
    assert causes[0].what == "grubx64.efi is not there: it is not installed"
    assert "grub has signed loaders" in explain(LAB, LAB.blades[0], fold_all(LOADED))[1][0].fix


def test_over_tls_a_blade_may_not_believe_the_lab() -> None:
    lab = replace(LAB, network=replace(LAB.network, tls=True))
    for its, is_told in ((LAB, False), (lab, True)):
        _, causes = explain(its, its.blades[0], fold_all(STARTED))
        told = [cause for cause in causes if "does not believe the certificate of https://10.77.0.1" in cause.what]
        assert bool(told) == is_told and all("./lab console blade1" in cause.fix for cause in told)


def test_a_blade_that_hung_up_on_the_lab_is_told_first_until_it_is_heard() -> None:
    lab = replace(LAB, network=replace(LAB.network, tls=True))
    hung_up = [*STARTED, replace(tls.explain("blade1", "SSLV3_ALERT_CERTIFICATE_EXPIRED"), boot="b1", time=300)]
    _, causes = explain(lab, lab.blades[0], fold_all(hung_up))
    assert "its clock is years ahead" in causes[0].what and "set its clock" in causes[0].fix
    assert not any("does not believe the certificate" in cause.what for cause in causes), "it is known why"
    heard = fold_all([*hung_up, Phoned(blade="blade1", boot="b1", time=310, stage="os")])
    assert heard.blade("blade1").trouble == ""


def test_beside_a_router_another_server_is_no_cause() -> None:
    lab = replace(LAB, network=replace(LAB.network, dhcp=DhcpMode.PROXY))
    _, causes = explain(lab, lab.blades[0], fold_all([*ON, dhcp("DISCOVER", "OFFER")]))
    assert "the network's own DHCP server gives it no address" in causes[0].what


def test_it_is_told_once_a_step() -> None:
    stuck = find_stuck(LAB, "blade1", fold_all(LEASED), 400, VIRTUAL_S)
    assert stuck is not None
    assert find_stuck(LAB, "blade1", fold_all([*LEASED, stuck]), 500, VIRTUAL_S) is None
    later = fold_all([*LEASED, stuck, replace(file("pxelinux.0"), time=450)])
    assert find_stuck(LAB, "blade1", later, 460, VIRTUAL_S) is None, "it goes on"
    assert find_stuck(LAB, "blade1", later, 800, VIRTUAL_S) is not None, "and stands still again"


def test_a_step_may_take_its_time() -> None:
    state = fold_all(LEASED)
    limit = limit_s(state.blade("blade1"), VIRTUAL_S)
    assert limit == max(PATIENCE * VIRTUAL_S["dhcp"], SHORTEST_LIMIT_S)
    assert find_stuck(LAB, "blade1", state, 103 + limit, VIRTUAL_S) is None
    assert find_stuck(LAB, "blade1", state, 103.1 + limit, VIRTUAL_S) is not None
    large = fold_all([*CONFIGURED, file("labos/vmlinuz", "started", size_b=200 << 20)])
    assert limit_s(large.blade("blade1"), VIRTUAL_S) == 30 + 200


@pytest.mark.parametrize("protocol", ["tftp", "http"])
def test_what_still_arrives_is_not_stuck_however_slowly(protocol: str) -> None:
    """A fetch of 100 MiB at 200 kB a second: it stands still once nothing has moved for the time of its step."""
    begun = file("labos/labos.cpio", "started", protocol=protocol, size_b=100 << 20)
    moved = [
        replace(begun, state="moving", time=104 + at, sent_b=at * 200_000, seconds=at) for at in range(10, 401, 10)
    ]
    limit = max(PATIENCE * VIRTUAL_S["initrd"], SHORTEST_LIMIT_S)
    for told in (moved[20:21], moved):
        stream = [*KERNEL, begun, *told]
        last = told[-1]
        assert find_stuck(LAB, "blade1", fold_all(stream), last.time + limit, VIRTUAL_S) is None
        stuck = find_stuck(LAB, "blade1", fold_all(stream), last.time + limit + 0.1, VIRTUAL_S)
        assert stuck is not None and stuck.step == "initrd"
        assert stuck.what.startswith(f"it has {last.sent_b:,} bytes of labos/labos.cpio (104,857,600 bytes over")
    whole = replace(begun, state="done", time=509, sent_b=begun.size_b, seconds=405)
    assert find_stuck(LAB, "blade1", fold_all([*KERNEL, begun, *moved, whole]), 509 + limit, VIRTUAL_S) is None
    small = [replace(file("labos/oem.cpio.gz", how), time=at) for at in range(105, 510) for how in ("started", "done")]
    assert find_stuck(LAB, "blade1", fold_all([*KERNEL, *small]), 510, VIRTUAL_S) is not None, "that goes in a circle"


@pytest.mark.parametrize(
    "stream",
    [
        [],
        [*LEASED, Power(blade="blade1", boot="b1", time=200, state="off")],
        [*UP, Phoned(blade="blade1", boot="b1", time=120, stage="joined")],
        [*SWARM, events.Leave(blade="blade1", boot="b1", time=130, step="left")],
        UP,
    ],
    ids=["never heard of", "off", "joined", "left", "no swarm yet"],
)
def test_who_is_not_on_the_way_does_not_stand_still(stream: list[Event]) -> None:
    state = fold_all(stream)
    assert standing_s(state.blade("blade1"), state, 10_000) == 0
    assert find_stuck(LAB, "blade1", state, 10_000, VIRTUAL_S) is None


def test_waiting_for_the_swarm_does_not_count() -> None:
    state = fold_all([*UP, Swarm(time=1000, action="joined", node="n1")])
    assert standing_s(state.blade("blade1"), state, 1010) == 10
    assert fold_all([*SWARM, Swarm(action="gone")]).swarm == 0


def test_the_usual_times_are_learned_from_this_labs_boots() -> None:
    slow = fold_all([*UP, Phoned(blade="blade1", boot="b1", time=215, stage="joined")]).blade("blade1")
    usual = usual_times([slow, fold_all(FETCHED).blade("blade1")], LAB)
    assert usual["join"] == 100 and usual["firmware"] == 3
    assert usual_times([fold_all(UP).blade("blade1")], LAB)["join"] == VIRTUAL_S["join"], "it goes on"
    assert usual["loader"] == slow.steps()[2].seconds
    assert usual_times([], LAB) == VIRTUAL_S


def test_a_real_blade_tests_itself_before_it_asks() -> None:
    rack = replace(LAB, chassis=replace(LAB.chassis, kind=ChassisKind.IPMI))
    assert usual_times([], rack) == {**VIRTUAL_S, "firmware": REAL_FIRMWARE_S}


def test_a_watch_learns_from_what_it_has_seen() -> None:
    slow = Phoned(blade="blade1", boot="b1", time=1115, stage="os", uptime_s=1007, init_s=2, ignition_s=4)
    again = [replace(event, blade="blade2", boot="b2", time=event.time + 5000) for event in STARTED]
    assert [event.step for event in Watch(LAB, again).due(5300)] == ["os"]
    assert Watch(LAB, [*STARTED, slow, *again]).due(5300) == [], "such systems take a quarter of an hour here"


def test_a_watch_tells_each_blade_once() -> None:
    watch = Watch(LAB, LEASED)
    assert watch.due(110) == []
    [stuck] = watch.due(400)
    watch.take(stuck)
    assert watch.due(401) == []
    watch.take(BootStarted(blade="blade2", boot="b2", time=500, cause="pxe"))
    watch.take(Dhcp(blade="blade2", boot="b2", time=501, mac=MAC, message="DISCOVER", reply="OFFER"))
    assert [event.blade for event in watch.due(900)] == ["blade2"]


def test_waiting_for_a_swarm_that_does_not_answer_does_not_count() -> None:
    state = fold_all([*UP, Swarm(time=300, action="init"), Swarm(time=1000, action="silent", detail="locked")])
    assert standing_s(state.blade("blade1"), state, 1010) == 0 and state.swarm == 300
    state = fold_all([*UP, Swarm(time=1000, action="silent", detail="locked"), Swarm(time=1005, action="answers")])
    assert standing_s(state.blade("blade1"), state, 1010) == 5
