"""The chassis: a blade's command line, its BMC, and power asked for over real IPMI on the loopback."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from labkit.diagnosis import listeners
from labkit.errors import PowerError
from labkit.lab import Blade, Bmc, FirmwareKind, Hardware, lab_yaml
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.host.programs import needed_programs
from labkit.machines.virtual import bmc, network
from labkit.machines.virtual.qemu import Machine
from labkit.servers.client import bmc_password
from tests.rig.odd import ODD
from tests.rig.rpc_server import RpcServer

PASSWORD = Secret("a16bytepassword!")
MACS = tuple(f"52:54:00:4d:01:0{number}" for number in range(4))
TOOLS = [tool for tool in ("ipmi_sim", "ipmitool") if shutil.which(tool) is None]


def blade() -> Blade:
    lab = lab_yaml.parse("name: lab\nblades:\n  - name: blade7\n", Path("lab.yaml"))
    return replace(lab.blades[0], macs=MACS)


def free_udp() -> socket.socket:
    """A bound port that never answers."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


# --- the machine ---


def command(accelerator: str = "tcg,thread=multi") -> list[str]:
    return machine(blade(), accelerator).command()


def machine(blade: Blade, accelerator: str = "tcg") -> Machine:
    return Machine(blade, accelerator, Path("run/b.qmp"), Path("logs/b.log"), 6001, 6101, Path("run/b.vars"))


def test_a_machine_boots_from_its_network_card_alone() -> None:
    line = command()
    assert line[0] == "qemu-system-x86_64"
    assert not {"-kernel", "-initrd", "-append", "-drive", "-hda", "-cdrom", "-fw_cfg"} & set(line)
    assert "-nodefaults" in line and "-no-user-config" in line
    assert line[line.index("-m") + 1] == str(blade().memory_mib)


@pytest.mark.parametrize("plugged", [(1,), (3,), (2, 4)])
def test_the_cards_that_are_plugged_in_are_wired_and_firmware_tries_all(plugged: tuple[int, ...]) -> None:
    built = machine(replace(blade(), plugged=plugged))
    line = built.command()
    cards = [value for value in line if value.startswith("virtio-net-pci")]
    assert [card.split(",")[2] for card in cards] == [f"mac={mac}" for mac in MACS]
    assert [number for number, card in enumerate(cards, 1) if ",netdev=" in card] == list(plugged)
    assert [card.split(",")[3] for card in cards] == [f"bootindex={number}" for number in (1, 2, 3, 4)]
    assert line.count("-netdev") == len(plugged)
    assert built.unplugged == tuple(f"card{number}" for number in (1, 2, 3, 4) if number not in plugged)
    assert "-S" in line, "it waits until its monitor has been told which cards have no link"


@pytest.mark.parametrize("kind", list(Hardware))
def test_hardware_is_what_it_says(kind: Hardware) -> None:
    text = f"name: lab\nblades:\n  - {{name: blade7, hardware: {kind}}}\n"
    built = machine(lab_yaml.parse(text, Path("lab.yaml")).blades[0])
    line = " ".join(built.command())
    assert ("virtio" in line) == (kind is Hardware.VIRTIO)
    assert ("isa-ipmi-kcs" in line) == (kind is Hardware.RED)
    if kind is Hardware.RED:
        assert line.count("-device e1000e,") == 4 and line.count("-netdev") == 1
        assert line.index("isa-serial,chardev=line0") < line.index("isa-serial,chardev=serial"), "its line is ttyS1"
        assert (built.blade.memory_mib, built.blade.console) == (4096, ("tty0", "ttyS1,115200"))


@pytest.mark.parametrize(
    ("firmware", "without"),
    [(FirmwareKind.UEFI, ["IPv6PXESupport"]), (FirmwareKind.UEFI_HTTP, ["IPv6PXESupport", "IPv4PXESupport"])],
)
def test_uefi_has_variables_of_its_own_and_no_rom(firmware: FirmwareKind, without: list[str]) -> None:
    uefi = replace(blade(), firmware=firmware)
    line = machine(uefi).command()
    code, variables = (value for value in line if value.startswith("if=pflash"))
    assert "readonly=on" in code and code.endswith("OVMF_CODE_4M.fd")
    assert "readonly" not in variables and variables.endswith("file=run/b.vars")
    assert all(value.endswith("romfile=") for value in line if value.startswith("virtio-net-pci"))
    assert [value.split("/")[-1].split(",")[0] for value in line if value.startswith("name=opt/")] == without


@pytest.mark.parametrize("accelerator", ["kvm", "tcg,thread=multi"])
def test_secure_boot_has_its_board_its_firmware_and_the_keys(accelerator: str) -> None:
    text = "blades: [{name: blade7, boot: grub, firmware: uefi-secure}]\n"
    built = machine(lab_yaml.parse(text, Path("lab.yaml")).blades[0], accelerator)
    line = built.command()
    assert line[line.index("-machine") + 1] == "q35,smm=on"
    assert line[line.index("-global") + 1] == "driver=cfi.pflash01,property=secure,value=on"
    code, variables = (value for value in line if value.startswith("if=pflash"))
    assert "readonly=on" in code and code.endswith("file=/usr/share/OVMF/OVMF_CODE_4M.ms.fd")
    assert "readonly" not in variables and variables.endswith("file=run/b.vars")
    assert built.fresh_variables == Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
    assert all(value.endswith("romfile=") for value in line if value.startswith("virtio-net-pci"))
    assert [value for value in line if value.startswith("name=opt/")] == [
        "name=opt/org.tianocore/IPv6PXESupport,string=n"
    ]


@pytest.mark.parametrize("firmware", sorted(set(FirmwareKind) - {FirmwareKind.UEFI_SECURE}))
def test_other_firmware_has_no_keys(firmware: FirmwareKind) -> None:
    built = machine(replace(blade(), firmware=firmware))
    assert not {"-global", "q35,smm=on"} & set(built.command())
    assert built.fresh_variables == Path("/usr/share/OVMF/OVMF_VARS_4M.fd")


def test_the_firmware_that_a_lab_needs_is_looked_for() -> None:
    def needed(blade: str) -> set[str]:
        lab = lab_yaml.parse(f"blades: [{{name: a}}, {{name: b, {blade}}}]\n", Path("lab.yaml"))
        return {Path(path).name for path, package in needed_programs(lab).items() if package == "ovmf"}

    assert needed("boot: grub") == set()
    assert needed("boot: grub, firmware: uefi") == {"OVMF_CODE_4M.fd"}
    secure = needed("boot: grub, firmware: uefi-secure")
    assert secure == {"OVMF_CODE_4M.fd", "OVMF_CODE_4M.ms.fd", "OVMF_VARS_4M.ms.fd"}


def test_the_processor_follows_the_accelerator() -> None:
    assert [command(name)[command(name).index("-cpu") + 1] for name in ("kvm", "tcg")] == ["host", "max"]


# --- its BMC ---


def test_lan_conf() -> None:
    own = replace(blade(), bmc=Bmc("10.77.0.101", 623, "labkit"))
    text = bmc.render_lan_conf(own, password=PASSWORD, serial_port=6007, ipmi_port=6107)
    lines = [line.strip() for line in text.splitlines()]
    assert "addr 10.77.0.101 623" in lines
    assert 'user 2 true "labkit" "a16bytepassword!" admin 10 md5' in lines
    assert 'user 1 false "" "" user 10 md5' in lines, "nobody comes in without a name"
    assert 'sol "tcp:127.0.0.1:6007" 115200' in lines
    assert "serial 15 127.0.0.1 6107 codec VM" in lines
    (control,) = (line for line in lines if line.startswith("chassis_control"))
    assert control.endswith(f' {own.slot}"')
    assert all(len(line) < 1024 for line in lines), "longer ones are broken off (OpenIPMI, MAX_CONFIG_LINE)"


@pytest.mark.parametrize("text", ["plain", 'its "own"', "it's", '"', "", "a $HOME # \\ %s"])
def test_strings_of_lan_conf_are_read_back(text: str) -> None:
    """As OpenIPMI does it: quoted parts are put together, each ends with the quote it began with."""
    left, read = bmc.quoted(text), ""
    while left:
        part, left = left[1:].split(left[0], 1)
        read += part
    assert read == text


def test_the_files_are_for_their_owner(tmp_path: Path) -> None:
    folder = tmp_path / "bmc1"
    line = bmc.write_config(folder, blade(), password=PASSWORD, control=tmp_path / "c.sock", serial_port=6007)
    assert PASSWORD.reveal() not in " ".join(line)
    assert (folder.stat().st_mode & 0o777, (folder / "lan.conf").stat().st_mode & 0o777) == (0o700, 0o600)


def test_the_password_fits_every_ipmi(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.make()
    assert len(state.bmc_password.reveal()) == 16, "IPMI 1.5 takes 16 bytes, 2.0 takes 20"
    assert state.bmc_password == state.bmc_password
    assert (state.keys / "bmc").stat().st_mode & 0o777 == 0o600


def test_a_password_no_bmc_can_have(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(
        "network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}\n"
        "bmc: {password_file: bmc.password}\n"
        "blades: [{name: red1, macs: [00:00:5e:00:53:10], bmc: {address: 10.0.40.201}}]\n"
    )
    lab = lab_yaml.load(tmp_path / "lab.yaml")
    for text, what in (("one more than twenty!", "at most 20 bytes, and this one has 21"), ("", "cannot be read")):
        (tmp_path / "bmc.password").write_text(text)
        with pytest.raises(PowerError, match=what) as raised:
            bmc_password(lab, State(tmp_path), lab.blades[0])
        assert raised.value.where == f"red1 ({tmp_path}/bmc.password)" and raised.value.fix
    (tmp_path / "bmc.password").write_text("exactly twenty bytes\nand a line of notes\n")
    assert bmc_password(lab, State(tmp_path), lab.blades[0]).reveal() == "exactly twenty bytes"


# --- power, over IPMI ---


class Slot:
    """A supervisor of one slot: its two verbs on a socket, and what was pressed."""

    def __init__(self, path: Path) -> None:
        self.on = False
        self.pressed: list[tuple[str, int]] = []
        self._server = RpcServer(path, {"slot_power": self.slot_power, "slot_set": self.slot_set})

    def close(self) -> None:
        self._server.close()

    async def slot_power(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["slot"] == blade().slot
        return {"on": self.on}

    async def slot_set(self, request: dict[str, Any]) -> dict[str, Any]:
        self.pressed.append((request["button"], request["value"]))
        if request["button"] == "power":
            self.on = bool(request["value"])
        return {}


@pytest.fixture
def slot() -> Iterator[tuple[Slot, Bmc]]:
    if TOOLS:
        pytest.skip(f"not installed: {', '.join(TOOLS)}; ./lab setup installs it")
    with free_udp() as sock:
        own = Bmc("127.0.0.1", sock.getsockname()[1], "labkit")
    with ExitStack() as stack:  # pytest's own folders are too long for sockets
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lab"))) / ODD
        folder.mkdir()
        slot = Slot(folder / "c.sock")
        stack.callback(slot.close)
        line = bmc.write_config(
            folder / "bmc", replace(blade(), bmc=own), password=PASSWORD, control=folder / "c.sock", serial_port=1
        )
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        wait_bound(own.port)
        yield slot, own


def wait_bound(port: int) -> None:
    deadline = time.monotonic() + 10
    while f":{port:04X} " not in Path("/proc/net/udp").read_text():
        assert time.monotonic() < deadline, "ipmi_sim does not listen"
        time.sleep(0.02)


def ipmitool(own: Bmc, *words: str) -> str:
    line = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", own.address, "-p", str(own.port), "-U", own.user]
    done = subprocess.run(
        [*line, "-P", PASSWORD.reveal(), *words], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def test_a_bmc_is_asked_whether_it_answers_without_its_password(slot: tuple[Slot, Bmc]) -> None:
    _, own = slot
    asyncio.run(asyncio.wait_for(listeners._bmc(own.address, own.port), 10))


def test_ipmitool_presses_the_buttons(slot: tuple[Slot, Bmc]) -> None:
    behind, own = slot
    assert ipmitool(own, "power", "status") == "Chassis Power is off"
    ipmitool(own, "power", "on")
    assert (behind.on, set(behind.pressed)) == (True, {("power", 1)})
    assert ipmitool(own, "power", "status") == "Chassis Power is on"
    ipmitool(own, "power", "reset")
    ipmitool(own, "power", "soft")
    ipmitool(own, "power", "off")
    # IPMI goes over UDP, and a client that hears nothing for a second asks again: a press may come twice in a row.
    pressed = [button for button, _ in groupby(behind.pressed)]
    assert pressed == [("power", 1), ("reset", 1), ("shutdown", 1), ("power", 0)]
    assert not behind.on


def test_our_client_presses_the_buttons(slot: tuple[Slot, Bmc]) -> None:
    behind, own = slot
    power.set_power("blade7", own, PASSWORD, "on")
    assert set(behind.pressed) == {("power", 1)}  # IPMI goes over UDP: a slow answer makes the client ask again
    assert power.wait_power("blade7", own, PASSWORD, "on", timeout_s=5) < 5


def test_a_wrong_password_is_said(slot: tuple[Slot, Bmc]) -> None:
    _, own = slot
    with pytest.raises(PowerError) as caught:
        power.power_state("blade7", own, Secret("wrong"))
    assert "blade7" in caught.value.where and "password" in caught.value.fix
    assert "wrong" not in str(caught.value) and PASSWORD.reveal() not in str(caught.value)


def test_no_such_button() -> None:
    with pytest.raises(PowerError, match=r"blade7: no such power state: explode\n  fix: one of on, off"):
        power.set_power("blade7", Bmc("127.0.0.1"), PASSWORD, "explode")


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "power_state", lambda *_: "off")
    clock = iter(range(100))
    with pytest.raises(PowerError, match="still not on after 5 s"):
        power.wait_power(
            "blade7", Bmc("127.0.0.1"), PASSWORD, "on", timeout_s=5, clock=lambda: next(clock), pause=lambda _: None
        )


@pytest.mark.simulator
def test_a_silent_bmc_is_said() -> None:
    with free_udp() as sock, pytest.raises(PowerError, match="no answer") as caught:  # the client gives up after 6 s
        power.power_state("blade7", Bmc("127.0.0.1", sock.getsockname()[1]), PASSWORD)
    assert caught.value.where.startswith("blade7 (BMC 127.0.0.1:")
    assert "cable" in caught.value.fix


# --- the network ---


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def test_the_bridge_has_an_address_of_its_own() -> None:
    lab = lab_yaml.parse("name: lab\nblades: [{name: blade7}]\n", Path("lab.yaml"))
    assert network.bridge_mac(lab) == "02:00:0a:4d:00:01"  # 10.77.0.1, marked as locally administered


@pytest.mark.netns
def test_the_way_in_is_removed_whoever_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    link = network.host_link("tests0")
    assert not network.remove_way_in("tests0")
    ip("link", "add", link, "type", "veth", "peer", "name", "peer-tests0")
    assert network.remove_way_in("tests0")
    assert link not in ip("-brief", "link")
    ip("link", "add", link, "type", "veth", "peer", "name", "peer-tests0")
    run_ip = network.run_ip

    def beaten(command: str) -> None:  # the kernel clears a dead namespace's link away between our look and our deed
        ip("link", "delete", link)
        run_ip(command)

    monkeypatch.setattr(network, "run_ip", beaten)
    assert network.remove_way_in("tests0")
