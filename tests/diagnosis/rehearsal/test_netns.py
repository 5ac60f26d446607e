"""Rehearsals by real packets against the real boot server: each boot method, and each way in which a boot would end."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from labkit import events
from labkit.boot.artifacts import cpio
from labkit.diagnosis.rehearsal.namespaces import rehearse
from labkit.diagnosis.rehearsal.outcome import Rehearsal, verdict
from labkit.diagnosis.stuck import VIRTUAL_S, Watch, find_stuck
from labkit.errors import ControlError
from labkit.events.folding import fold_all
from labkit.lab import lab_yaml
from labkit.lab.process import rpc
from labkit.lab.state import State
from labkit.machines.host.sandbox import Users
from labkit.netboot.boot_client.walkthrough import Task
from labkit.netboot.dhcp import leases
from labkit.netboot.settings import Settings
from tests.rig.net import STRANGER, Net

pytestmark = pytest.mark.netns

METHODS = {"blade1": "pxelinux", "blade2": "lpxelinux", "blade3": "ipxe", "blade4": "grub"}
MACS = {name: f"52:54:00:4d:00:0{number}" for number, name in enumerate(METHODS, 1)}
LAB = "name: rehearsal\nblades:\n" + "".join(
    f'  - {{name: {name}, boot: {method}, macs: ["{MACS[name]}"]}}\n' for name, method in METHODS.items()
)


def kernel(size_b: int = 200_000) -> bytes:
    """Bytes with the setup header of a Linux kernel, as long as the header says."""
    data = bytearray(size_b // 16 * 16)
    data[0x1F1], data[0x202:0x206] = 3, b"HdrS"
    data[0x1F4:0x1F8] = ((len(data) - 4 * 512) // 16).to_bytes(4, "little")
    data[0x20E:0x210] = (0x300).to_bytes(2, "little")
    data[0x500:0x510] = b"6.1.0-labkit x\0\0"
    return bytes(data)


class Stage(Net):
    """The boot server with four blades that boot in four ways, and files that a kernel would take."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "lab.yaml").write_text(LAB)
        self.cards: dict[str, str] = {}
        for name in ("undionly.kpxe", "snponly.efi", "syslinux.efi", "ldlinux.e64", "shimx64.efi", "grubx64.efi"):
            (self.images / name).write_bytes(b"loader" * 9000)
        self.mend()

    def mend(self) -> None:
        (self.images / "labos/vmlinuz").write_bytes(kernel())
        (self.images / "labos/labos.cpio").write_bytes(cpio.pack({"init": b"x" * 300_000}))

    def walk(self, mac: str, firmware: str, blade: str = "", patience: float = 1.0) -> Rehearsal:
        """Walk with a card; as a rehearsal of a blade where one is named."""
        space = self.cards.get(mac) or self.plug(f"w{len(self.cards)}", mac)
        self.cards[mac] = space
        task = json.dumps(asdict(Task(mac=mac, firmware=firmware, server="10.77.0.1", patience=patience)))
        if blade:
            rpc.call(self.state.bootd, "rehearse", blade=blade)
        try:
            done = subprocess.run(
                ["ip", "netns", "exec", space, sys.executable, "-m", "labkit.netboot.boot_client.walkthrough"],
                input=task + "\n", capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        finally:
            if blade:
                rpc.call(self.state.bootd, "rehearsed", blade=blade)
        lines = done.stdout.splitlines()
        assert lines[0] == "ready" and not done.stderr, done.stderr
        tried = verdict(blade, firmware, [json.loads(line) for line in lines[1:]])
        assert done.returncode == (0 if tried.ok else 1)
        self.said = done.stdout
        return tried

    def stream(self) -> list[events.Event]:
        return list(events.read(self.state.events, after=-1))

    def books(self) -> list[Any]:
        """What a rehearsal must leave as it was: the boots, and who holds which address."""
        return [rpc.call(self.state.bootd, "boots"), leases.load(self.state.path / "leases.json")]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    try:
        stage.start()
        yield stage
    finally:
        stage.close()


@pytest.fixture(autouse=True)
def whole_again(stage: Stage) -> Iterator[None]:
    yield
    stage.mend()


SYSTEM = "labos/vmlinuz labos/labos.cpio labos/oem.cpio.gz"


@pytest.mark.parametrize(
    ("blade", "firmware", "tftp", "http"),
    [
        ("blade1", "bios", f"pxelinux.0 ldlinux.c32 CONFIG boot.msg {SYSTEM}", ""),
        ("blade1", "ipxe", f"pxelinux.0 ldlinux.c32 CONFIG boot.msg {SYSTEM}", ""),
        ("blade2", "bios", "lpxelinux.0 ldlinux.c32 CONFIG boot.msg", SYSTEM),
        ("blade2", "ipxe", "pxelinux.0 ldlinux.c32 CONFIG boot.msg", SYSTEM),
        ("blade2", "uefi", "snponly.efi", f"boot.ipxe {SYSTEM}"),
        ("blade2", "http", "", f"snponly.efi boot.ipxe {SYSTEM}"),
        ("blade3", "bios", "undionly.kpxe", f"boot.ipxe {SYSTEM}"),
        ("blade3", "ipxe", "", f"boot.ipxe {SYSTEM}"),
        ("blade1", "uefi", f"syslinux.efi ldlinux.e64 CONFIG boot.msg {SYSTEM}", ""),
        ("blade3", "uefi", "snponly.efi", f"boot.ipxe {SYSTEM}"),
        ("blade3", "http", "", f"snponly.efi boot.ipxe {SYSTEM}"),
        ("blade4", "bios", f"pxelinux.0 ldlinux.c32 CONFIG boot.msg {SYSTEM}", ""),
        ("blade4", "uefi", f"shimx64.efi grubx64.efi grub/grub.cfg {SYSTEM}", ""),
    ],
)  # every method with every firmware but one: HTTP boot has no loader that asks over TFTP, see below
def test_a_boot_is_walked_to_its_last_archive(stage: Stage, blade: str, firmware: str, tftp: str, http: str) -> None:
    before = stage.books()
    since = len(stage.stream())
    tried = stage.walk(MACS[blade], firmware, blade)
    assert tried.ok, tried.what
    config = f"pxelinux.cfg/01-{MACS[blade].replace(':', '-')}"
    for protocol, wanted in (("tftp", tftp.replace("CONFIG", config)), ("http", http)):
        assert [step.path for step in tried.steps if step.protocol == protocol] == wanted.split()
    steps = {step.path: step for step in tried.steps if step.path}
    assert steps["labos/vmlinuz"].what == "Linux 6.1.0-labkit"
    assert steps["labos/vmlinuz"].size_b == len(kernel())
    assert "an archive of 1 entry" in steps["labos/labos.cpio"].what
    assert "with an Ignition 3.3.0 config (" in steps["labos/oem.cpio.gz"].what
    assert tried.steps[-1].what == "the lab answers at http://10.77.0.1"
    assert not tried.warnings
    assert stage.books() == before, "no boot begins and no lease is left"
    mine = [event for event in stage.stream()[since:] if event.blade == blade]
    assert {event.boot for event in mine} == {events.REHEARSAL}
    assert fold_all(mine) == fold_all([])
    assert "X-Labkit-Ticket" not in stage.said


def test_a_lease_from_before_is_kept(stage: Stage) -> None:
    stage.walk(MACS["blade2"], "bios")  # a boot, not a rehearsal of one
    held = leases.load(stage.state.path / "leases.json")
    boots = rpc.call(stage.state.bootd, "boots")
    assert "blade2" in boots["boots"]
    space = stage.cards[MACS["blade2"]]
    stage.lease(space)
    held = leases.load(stage.state.path / "leases.json")
    assert len(held.leases) == 1
    stage.walk(MACS["blade2"], "bios", "blade2")
    assert stage.books() == [boots, held]


def test_one_rehearsal_of_a_blade_at_a_time(stage: Stage) -> None:
    rpc.call(stage.state.bootd, "rehearse", blade="blade1")
    with pytest.raises(ControlError, match="rehearsed already"):
        rpc.call(stage.state.bootd, "rehearse", blade="blade1")
    rpc.call(stage.state.bootd, "power_on", blade="blade1")  # and a real boot ends it
    rpc.call(stage.state.bootd, "rehearse", blade="blade1")
    rpc.call(stage.state.bootd, "rehearsed", blade="blade1")
    with pytest.raises(ControlError, match="no blade blade9"):
        rpc.call(stage.state.bootd, "rehearse", blade="blade9")


# --- boots that would end ---


def test_a_missing_image(stage: Stage) -> None:
    (stage.images / "labos/vmlinuz").unlink()
    for blade in ("blade1", "blade3"):
        tried = stage.walk(MACS[blade], "bios", blade)
        assert not tried.ok and "labos/vmlinuz" in tried.what and "./lab images" in tried.fix
        assert [step.step for step in tried.steps][-1] == "config"


@pytest.mark.parametrize(
    ("path", "content", "what"),
    [
        ("labos/vmlinuz", b"no kernel" * 100, "no setup header"),
        ("labos/vmlinuz", kernel()[:100_000], "this kernel breaks off"),
        ("labos/labos.cpio", cpio.pack({"init": b"x" * 300_000})[:200_000], "does not unpack"),
        ("labos/labos.cpio", cpio.pack_gz({"init": b"x" * 300_000})[:200], "its gzip stream has no end"),
        ("pxelinux.0", b"", "is empty"),
    ],
)
def test_a_broken_image(stage: Stage, path: str, content: bytes, what: str) -> None:
    before = (stage.images / path).read_bytes()
    (stage.images / path).write_bytes(content)
    try:
        tried = stage.walk(MACS["blade1"], "bios", "blade1")
    finally:
        (stage.images / path).write_bytes(before)
    assert not tried.ok and what in tried.what and path in tried.what and tried.fix


def test_a_machine_that_is_not_in_the_lab(stage: Stage) -> None:
    tried = stage.walk(STRANGER, "bios", patience=0.3)
    assert not tried.ok and tried.steps == ()
    assert tried.what == "nobody answered its DISCOVER" and "MAC" in tried.fix


def test_firmware_without_a_loader(stage: Stage) -> None:
    tried = stage.walk(MACS["blade1"], "http", "blade1")
    assert not tried.ok and "no boot file for http firmware" in tried.what


@pytest.mark.parametrize(
    ("blade", "firmware", "protocol", "port"), [("blade1", "bios", "UDP", "69"), ("blade3", "ipxe", "TCP", "80")]
)
def test_a_closed_port(stage: Stage, blade: str, firmware: str, protocol: str, port: str) -> None:
    """Policy routing that drops what goes to a port, as a firewall would, in the server's namespace."""
    closed = f"ip rule {{}} pref 5 ipproto {protocol.lower()} dport {port} blackhole"
    for words in ("ip rule add pref 10 lookup local", "ip rule del pref 0", closed.format("add")):
        stage.inside(stage.server, *words.split())
    try:
        tried = stage.walk(MACS[blade], firmware, blade, patience=0.4)
    finally:
        for words in (closed.format("del"), "ip rule add pref 0 lookup local", "ip rule del pref 10"):
            stage.inside(stage.server, *words.split())
    assert not tried.ok and f"no answer from {protocol} port {port}" in tried.what
    assert [step.step for step in tried.steps] == ["dhcp"] and "doctor" in tried.fix


@pytest.fixture
def rogue(stage: Stage) -> Iterator[None]:
    """Somebody else's DHCP server on the same network."""
    space = stage.plug("rogue", "00:00:5e:00:53:66")
    stage.inside(space, "ip", "address", "add", "10.77.0.66/24", "dev", "eth0")
    words = ["dnsmasq", "--no-daemon", "--port=0", "--interface=eth0", "--user=root", "--conf-file=", "--no-ping"]
    words += ["--dhcp-range=10.77.0.200,10.77.0.210", "--dhcp-authoritative", "--dhcp-boot=evil.0,evil,10.77.0.66"]
    words += [f"--dhcp-leasefile={stage.folder}/rogue.leases", f"--pid-file={stage.folder}/rogue.pid"]
    server = subprocess.Popen(["ip", "netns", "exec", space, *words], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None and "started" in server.stderr.readline()
        yield
    finally:
        server.terminate()
        server.communicate(timeout=10)
        stage.inside(space, "ip", "link", "set", "eth0", "down")


@pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq-base is not installed")
def test_another_dhcp_server(stage: Stage, rogue: None) -> None:
    tried = stage.walk(MACS["blade3"], "ipxe", "blade3")
    assert tried.steps[0].warning == "10.77.0.66 answers DHCP here too, and a boot goes where the quicker one sends it"
    assert tried.ok or "10.77.0.66, which is not labkit's" in tried.what
    assert stage.process is not None
    stage.process.send_signal(signal.SIGSTOP)  # now the other is the quicker one for certain
    try:
        tried = stage.walk(MACS["blade3"], "ipxe")
    finally:
        stage.process.send_signal(signal.SIGCONT)
    assert not tried.ok and "10.77.0.66, which is not labkit's" in tried.what
    assert "boot file evil.0" in tried.steps[0].what and "keep it from this network" in tried.fix


def test_a_blade_that_asks_and_goes_no_further_is_stuck(stage: Stage) -> None:
    """Real packets, a real record; only the time to wait is not waited for."""
    stage.pxe(stage.cards[MACS["blade3"]])
    lab, stream = lab_yaml.load(stage.folder / "lab.yaml"), stage.stream()
    later = stream[-1].time + 100
    stuck = find_stuck(lab, "blade3", fold_all(stream), later, VIRTUAL_S)
    assert stuck is not None and stuck.step == "dhcp"
    assert stuck.what == "it sent DHCP REQUEST, got ACK, and asked for no file since"
    assert "undionly.kpxe" in stuck.causes[0] and "UDP 69" in stuck.causes[0]
    assert "blade3" in [event.blade for event in Watch(lab, stream).due(later)]


REAL = """
name: rack
os: container-linux
boot: pxelinux
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2, tls: true}
bmc: {user: ADMIN, password_file: bmc.password}
blades:
  - {name: red1, slot: 1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.0.40.201}}
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_a_real_lab_is_rehearsed_with_a_server_of_the_same_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """No packet of it is on any card of this machine."""
    folder = tmp_path / "cache" / "container-linux"
    folder.mkdir(parents=True)
    (folder / "coreos_production_pxe.vmlinuz").write_bytes(kernel())
    if is_there:
        (folder / "coreos_production_pxe_image.cpio.gz").write_bytes(cpio.pack_gz({"init": b"x" * 300_000}))
    (tmp_path / "lab.yaml").write_text(REAL)
    (tmp_path / "bmc.password").write_text("secret\n")
    (tmp_path / "bmc.password").chmod(0o600)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(scratch))
    lab = lab_yaml.load(tmp_path / "lab.yaml")
    state = State(tmp_path / "state")
    state.make()
    given = Settings.of(lab, state)
    before = sorted(state.path.rglob("*"))
    lines = asyncio.run(rehearse(lab, state, lab.blades[0], "bios", Users(61184)))
    tried = verdict("red1", "bios", lines)
    assert tried.ok == is_there, tried.what
    assert "10.0.40.11 from 10.0.40.2, boot file pxelinux.0" in tried.steps[0].what
    if is_there:
        assert tried.steps[-2].path == "coreos/oem.cpio.gz" and "Ignition 2." in tried.steps[-2].what
        assert tried.steps[-1].what == "the lab answers at https://10.0.40.2, and the blade believes its certificate"
    else:
        assert "coreos_production_pxe_image.cpio.gz" in tried.what, tried
        assert tried.steps[-1].step == "kernel"
    assert (sorted(state.path.rglob("*")), Settings.of(lab, state)) == (before, given)
    assert not list(scratch.iterdir()), "its leases are thrown away"
