"""What the doctor makes of what was found: each finding with its fix."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labkit.cli.commands import main
from labkit.diagnosis.doctor.checks import examine
from labkit.diagnosis.doctor.facts import Answer, Facts, Holder, Image, Interface, Place, SeenSwarm
from labkit.diagnosis.doctor.findings import BAD, OK, SKIPPED, WARNING, Finding, is_well, render
from labkit.lab import DhcpMode, Lab, Network, NetworkKind, Storage, lab_yaml
from labkit.machines.host.unit import AtBoot

VIRTUAL = lab_yaml.parse("name: lab\nblades:\n  - name: blade1\n  - name: blade2\n", Path("lab.yaml"))
REAL_TEXT = """
name: rack
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {user: ADMIN, password_file: bmc.password}
blades:
  - {name: red1, slot: 1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.0.40.201}}
"""

NOW = 1_790_000_000.0
WELL = Facts(
    interface=Interface("eth1", True, True, ("10.0.40.2/24",)), interfaces=("eth0", "eth1"),
    images=(Image("labos"),), modules=("ip_vs", "vxlan"), now=NOW, newest_file=NOW - 100, synchronised=True,
    cache=Place("/var/cache/labkit", 9000), state=Place("/lab/.lab", 9000), memory_mib=16_000, kvm=True,
    beyond=Network(
        NetworkKind.INTERFACE, IPv4Network("10.0.40.0/24"), IPv4Address("10.0.40.2"), IPv4Address("10.0.40.2"),
        router=IPv4Address("10.0.40.1"), dns=(IPv4Address("10.0.40.1"),),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("rack")
    (folder / "bmc.password").write_text("x\n")
    (folder / "bmc.password").chmod(0o600)
    (folder / "lab.yaml").write_text(REAL_TEXT)
    return lab_yaml.load(folder / "lab.yaml")


def only(lab: Lab, **changed: Any) -> Finding:
    """The one finding that is not ok when these facts are changed."""
    answers = (Answer("bios", "10.0.40.1", "10.0.40.77"),) if lab.network.is_proxy else ()
    found = examine(lab, replace(replace(WELL, answers=answers), **changed))
    [finding] = [one for one in found if one.state != OK]
    assert is_well(found) == (finding.state != BAD)
    assert finding.what in render(found) and finding.fix in render(found)
    return finding


@pytest.mark.parametrize("part", ["bootd", "registry", "engine"])
def test_a_part_that_does_not_answer(part: str) -> None:
    heard = {"swarmd": {"control": ""}, part: {"TFTP": "nothing within 3 s", "HTTP": ""}}
    found = only(VIRTUAL, is_up=True, parts={"bootd": 3, "swarmd": 4, "registry": 5, "engine": 6}, heard=heard)
    assert (found.check, found.state) == ("lab", BAD)
    assert found.what == f"{part} runs, and TFTP does not answer (nothing within 3 s)"
    assert f"read logs/{part}.log" in found.fix and ("within a minute it is started anew" in found.fix) == (
        part != "engine"
    )


def test_what_starts_the_lab_when_this_machine_boots() -> None:
    lost = AtBoot(True, "labkit-0a1b2c.service starts it", (("it starts what is no more: /srv/lab", "write it anew"),))
    found = only(VIRTUAL, at_boot=lost)
    assert (found.check, found.state, found.fix) == ("at boot", WARNING, "write it anew")
    told = render(examine(VIRTUAL, replace(WELL, at_boot=replace(lost, wrong=()))))
    assert "ok       at boot    labkit-0a1b2c.service starts it\n" in told


def test_events_that_are_not_written() -> None:
    found = only(VIRTUAL, is_up=True, unwritten="3 events: No space left on device")
    assert found.state == BAD and "3 events: No space left on device" in found.what and "make room" in found.fix


def test_all_is_well(real: Lab) -> None:
    for lab in (VIRTUAL, real):
        found = examine(lab, WELL)
        assert {one.state for one in found} == {OK} and is_well(found)
        assert render(found).splitlines()[-1] == "nothing is in the way of a boot"
    checks = "lab programs clock disk images engine interface network ports firewall dhcp".split()
    assert list(dict.fromkeys(one.check for one in examine(real, WELL))) == checks


def test_real_labs(real: Lab) -> None:
    down, bare = Interface("eth1", False, False, ("10.0.40.2/24",)), Interface("eth1", True, True)
    dnsmasq = Holder("udp", 67, "0.0.0.0", "dnsmasq", 812)
    wide = ("10.0.40.2/16",)
    cases: list[tuple[dict[str, Any], str, str, str, str]] = [
        ({"interface": None}, "interface", BAD, "no interface eth1; this machine has eth0, eth1", "network.interface"),
        ({"interface": down}, "interface", BAD, "eth1 is down", "ip link set eth1 up"),
        ({"interface": replace(down, is_up=True)}, "interface", BAD, "no link", "cable"),
        ({"interface": bare}, "interface", BAD, "has no address", "ip address add 10.0.40.2/24 dev eth1"),
        ({"interface": replace(bare, addresses=wide)}, "interface", BAD, "the subnet is 10.0.40.0/24", "correct"),
        ({"holders": (dnsmasq,)}, "ports", BAD, "UDP 67 is held by dnsmasq (process 812)", "systemctl stop dnsmasq"),
        ({"holders": (Holder("tcp", 80, "*"),)}, "ports", BAD, "TCP 80 is held by another program", "ss -lnp"),
        ({"blocked": (("udp", 69, "drop", "INPUT 3"),)}, "firewall", BAD,
         "UDP 69 from the blades is dropped by INPUT 3", "iptables -I INPUT -i eth1 -p udp --dport 69"),
        ({"blocked": (("udp", 4789, "drop", "INPUT 3"),)}, "firewall", BAD, "UDP 4789", "-p udp --dport 4789"),
        ({"blocked": (("tcp", 80, "unsure", "a policy"),)}, "firewall", WARNING, "may be dropped", "--dport 80"),
        ({"modules": ("vxlan",)}, "engine", WARNING, "answer on the blades only", "modprobe ip_vs"),
        ({"modules": ("ip_vs",)}, "engine", BAD, "no vxlan", "modprobe vxlan"),
        ({"engine": "/var/run/docker.sock: Connection refused"}, "engine", BAD, "refused", "systemctl start docker"),
        ({"answers": (Answer("bios", "10.0.40.9", "10.0.40.77", "evil.0"), Answer("uefi", "10.0.40.9"))}, "dhcp", BAD,
         "another DHCP server answers: 10.0.40.9 (to bios: 10.0.40.77, boot file evil.0; to uefi: no address)",
         "switch 10.0.40.9 off"),
        ({"not_looked": {"firewall": "needs root"}}, "firewall", SKIPPED, "not looked at: needs root", ""),
    ]  # fmt: skip
    for changed, check, state, what, fix in cases:
        finding = only(real, **changed)
        assert (finding.check, finding.state) == (check, state), changed
        assert what in finding.what and fix in finding.fix, changed


def test_a_card_with_small_packets_leaves_too_little_for_overlay_networks(real: Lab) -> None:
    assert WELL.interface is not None
    found = only(real, interface=replace(WELL.interface, mtu=1400))
    assert (found.check, found.state) == ("interface", WARNING) and "packets of 1400 bytes" in found.what
    assert "ip link set eth1 mtu 1500" in found.fix and "driver.mtu=1350" in found.fix


def test_with_tls_its_port_is_looked_at_too(real: Lab) -> None:
    lab = replace(real, network=replace(real.network, tls=True, https_port=8443))
    assert "TCP 8443" in next(one.what for one in examine(lab, WELL) if one.check == "ports")
    held = Holder("tcp", 8443, "*", "nginx", 7)
    assert only(lab, holders=(held,)).what == "TCP 8443 is held by nginx (process 7)"
    assert only(lab, blocked=(("tcp", 8443, "drop", "INPUT 3"),)).check == "firewall"


CACHED = Storage(cache="https://registry-1.docker.io")


def test_what_the_lab_keeps_has_ports_too(real: Lab) -> None:
    lab = replace(real, storage=replace(CACHED, share=True))
    wanted = "UDP 67, UDP 69, TCP 80, TCP 5000, TCP 2049, TCP 5001 are free"
    assert wanted in [one.what for one in examine(lab, WELL)]
    nfsd = only(lab, holders=(Holder("tcp", 2049, "[::]"),))  # the kernel's has no process
    assert (nfsd.check, nfsd.state, nfsd.what) == ("ports", BAD, "TCP 2049 is held by another program")
    assert "systemctl stop nfs-server" in nfsd.fix and "write share: false under storage:" in nfsd.fix
    other = only(lab, holders=(Holder("tcp", 5001, "10.0.40.2", "app", 7),))
    assert other.fix == "systemctl stop app, or set storage.cache_port in lab.yaml"
    virtual, held = replace(VIRTUAL, storage=CACHED), Holder("tcp", 5001, "0.0.0.0", "app", 7)
    assert only(virtual, holders=(held, Holder("tcp", 5000, "0.0.0.0"))).what == "TCP 5001 is held by app (process 7)"


def test_the_machines_own_engine_asks_the_cache_or_is_told_how(real: Lab) -> None:
    lab = replace(real, storage=CACHED)
    found = examine(lab, replace(WELL, mirrors=("https://10.0.40.2:5001/",)))
    assert {one.state for one in found} == {OK} and "cache" in {one.check for one in found}
    for mirrors, line in (
        ((), '"registry-mirrors": ["https://10.0.40.2:5001"]'),
        (("https://mine/",), '"registry-mirrors": ["https://10.0.40.2:5001", "https://mine"]'),
    ):
        finding = only(lab, mirrors=mirrors)
        assert (finding.check, finding.state) == ("cache", WARNING) and "fetches every image itself" in finding.what
        assert f"{line} into /etc/docker/daemon.json" in finding.fix and f"{{{line}}}" in finding.fix
        assert finding.fix.endswith("systemctl reload docker")


def test_a_proxy_beside_a_router(real: Lab) -> None:
    lab = replace(real, network=replace(real.network, dhcp=DhcpMode.PROXY))
    router, other = Answer("bios", "10.0.40.1", "10.0.40.77"), Answer("bios", "10.0.40.9", "10.0.40.78")
    found = examine(lab, replace(WELL, answers=(router,)))
    assert {one.state for one in found} == {OK} and "10.0.40.1 gives the addresses" in [one.what for one in found]
    assert "UDP 4011" in next(one.what for one in found if one.check == "ports")
    for answers, state, what in (
        ((), BAD, "none answers"),
        ((router, other), WARNING, "10.0.40.1 and 10.0.40.9 give addresses"),
        ((replace(router, file="evil.0"),), BAD, "names a boot file of its own: evil.0"),
    ):
        finding = only(lab, answers=answers)
        assert (finding.check, finding.state) == ("dhcp", state) and what in finding.what and finding.fix


@pytest.mark.parametrize(
    ("changed", "check", "state", "what", "fix"),
    [
        ({"overlap": "10.77.0.0/24 is in use on this machine"}, "interface", BAD, "in use", "network.subnet"),
        ({"missing": {"ipmi_sim": "openipmi"}}, "programs", BAD, "not installed: ipmi_sim", "install openipmi"),
        ({"is_up": True, "parts": {"bootd": 0, "engine": 7}}, "lab", BAD, "bootd does not run", ".lab/logs"),
        ({"now": NOW - 90_000}, "clock", BAD, "before labkit's own files", "timedatectl"),
        ({"synchronised": False}, "clock", WARNING, "nothing keeps it right", "timedatectl"),
        ({"cache": Place("/var/cache/labkit", 50)}, "disk", BAD, "50 MiB are free for /var/cache", "LABKIT_CACHE"),
        ({"state": Place("/lab/.lab", 50)}, "disk", BAD, "for /lab/.lab", "LABKIT_STATE"),
        ({"memory_mib": 2000}, "memory", BAD, "2,000 MiB are free; the blades take 4,096", "needs 3,036"),
        ({"memory_mib": 3100}, "memory", BAD, "3,100 MiB are free", "fewer blades at once: with memory: 1536M"),
        ({"memory_mib": 4700}, "memory", BAD, "4,700 MiB are free", "with that all 2 fit"),
        ({"is_up": True, "way_in": "lab1 has lost its address"}, "interface", BAD, "its address", "leave lab* alone"),
        ({"silent": "no answer", "is_up": True}, "lab", BAD, "does not answer: no answer", "./lab down"),
        ({"images": (Image("labos", "its SHA-256 has changed", "build"),)}, "images", BAD, "labos: its SHA", "build"),
        ({"modules": ("vxlan",)}, "engine", WARNING, "the blades' kernel has it", ""),
    ],
)
def test_virtual_labs(changed: dict[str, Any], check: str, state: str, what: str, fix: str) -> None:
    finding = only(VIRTUAL, **changed)
    assert (finding.check, finding.state) == (check, state)
    assert what in finding.what and fix in finding.fix


@pytest.mark.parametrize(
    ("text", "free_mib", "check", "state", "what", "fix"),
    [
        ("blades: [{name: blade1, os: flatcar}]", 9000, "memory", BAD, "blade1 has 2,048 MiB of memory",
         "memory: 3072M for blade1"),
        ("blades: [{name: blade1, os: flatcar, memory: 4G}]", 5000, "memory", BAD, "5,000 MiB are free",
         "memory: 3072M at the top"),
        ("blades: [{name: blade1, os: fedora-coreos, boot: pxelinux}]", 9000, "memory", BAD, "its root file system",
         "boot: ipxe, with which 2,048 are enough"),
        ("blades: [{name: a, os: container-linux}, {name: b}]", 9000, "images", WARNING, "ended in May", "its heir"),
    ],
)  # fmt: skip
def test_systems(text: str, free_mib: int, check: str, state: str, what: str, fix: str) -> None:
    finding = only(lab_yaml.parse(f"{text}\n", Path("lab.yaml")), memory_mib=free_mib)
    assert (finding.check, finding.state) == (check, state)
    assert what in finding.what and fix in finding.fix


def test_a_kernel_that_secure_boot_refuses() -> None:
    text = "blades: [{name: blade1, os: flatcar, boot: grub, firmware: uefi-secure, memory: 4G}]\n"
    finding = only(lab_yaml.parse(text, Path("lab.yaml")))
    assert (finding.check, finding.state) == ("images", BAD)
    assert "is signed by Flatcar" in finding.what and "firmware: uefi" in finding.fix


@pytest.mark.parametrize(("said", "state"), [("share: true", "warning"), ("share: {folder}", "bad")])
def test_a_folder_that_cannot_be_shared(said: str, state: str, tmp_path: Path) -> None:
    text = f"blades: [{{name: blade1}}]\nstorage: {{{said.format(folder=tmp_path)}}}\n".replace("{{", "{")
    lab = lab_yaml.parse(text, tmp_path / "lab.yaml")
    found = [one for one in examine(lab, replace(WELL, unservable="no file handles")) if one.check == "share"]
    assert [(one.state, "no file handles" in one.what, "ext4" in one.fix) for one in found] == [(state, True, True)]
    assert next(one for one in examine(lab, WELL) if one.check == "share").state == "ok"


def test_what_is_no_trouble(real: Lab) -> None:
    mine = Answer("bios", "10.0.40.2", "10.0.40.100")
    elsewhere = Holder("udp", 67, "127.0.0.1", "dnsmasq", 1), Holder("tcp", 81, "0.0.0.0")
    on_another_card = Holder("udp", 67, "0.0.0.0%eth0", "dnsmasq", 1)
    facts = replace(WELL, answers=(mine,), holders=(*elsewhere, on_another_card), synchronised=None)
    assert all(one.state == OK for one in examine(real, facts))
    up = replace(WELL, is_up=True, memory_mib=100, parts={"bootd": 7}, holders=(Holder("udp", 67, "0.0.0.0"),))
    assert all(one.state == OK for lab in (real, VIRTUAL) for one in examine(lab, up))
    slow = [one.what for one in examine(VIRTUAL, replace(WELL, kvm=False)) if one.check == "speed"]
    assert "no KVM" in slow[0]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On whatever machine this is: every check is there, and the exit status is that of the findings."""
    (tmp_path / "lab.yaml").write_text("name: lab\nnetwork: {subnet: 10.86.0.0/24}\nblades: [{name: blade1}]\n")
    status = main(["--lab", str(tmp_path / "lab.yaml"), "doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"lab", "programs", "clock", "disk", "memory", "images", "interface"} <= {one["check"] for one in found}
    assert status == int(any(one["state"] == "bad" for one in found))
    assert not (tmp_path / ".lab").exists(), "it only looks"


def test_the_swarm_is_told_with_its_state_and_its_certificate() -> None:
    well = SeenSwarm("this engine is the swarm's only manager, at 10.77.0.2", True, ends=NOW + 700 * 86400)
    said = [one for one in examine(VIRTUAL, replace(WELL, swarm=well)) if one.check == "swarm"]
    assert [one.state for one in said] == [OK, OK] and "good until 2028-" in said[1].what
    soon = only(VIRTUAL, swarm=replace(well, ends=NOW + 20 * 86400))
    assert soon.state == WARNING and "only" in soon.what and "./lab swarm recover" in soon.fix
    silent = only(VIRTUAL, swarm=SeenSwarm("the engine's swarm is locked", False, "docker swarm unlock"))
    assert (silent.state, silent.fix) == (BAD, "docker swarm unlock")


def test_the_lock_of_the_swarm_is_told() -> None:
    for fix, state in (("", OK), ("./lab swarm autolock --yes", WARNING)):
        seen = SeenSwarm("well", True, lock="it is locked with a key", lock_fix=fix)
        said = [one for one in examine(VIRTUAL, replace(WELL, swarm=seen)) if one.check == "swarm"]
        assert (said[1].state, said[1].what, said[1].fix) == (state, "it is locked with a key", fix)


def test_overlay_networks_that_cover_others_are_told() -> None:
    seen = SeenSwarm("well", True, covers=("ingress (10.77.0.0/24) covers 10.77.0.0/24",))
    found = only(VIRTUAL, swarm=seen)
    assert found.state == WARNING and "ingress (10.77.0.0/24) covers 10.77.0.0/24" in found.what
    assert "--subnet" in found.fix
    pool = only(VIRTUAL, swarm=SeenSwarm("well", True, pool="10.0.0.0/8"))
    assert pool.state == WARNING and "from 10.0.0.0/8, which has the lab's own 10.77.0.0/24 in it" in pool.what
