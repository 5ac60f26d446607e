"""What a person can get wrong before a lab is up: each mistake has its message, and leaves nothing behind."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import socket
import threading
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from labkit.cli import commands
from labkit.errors import LabkitError, MachineError, ParameterError
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.machines.host import programs
from labkit.machines.virtual.network import check_subnet
from labkit.netboot.ports import IP_FREEBIND, check_stores, open_sockets, store_ports
from labkit.servers import client, lifecycle
from labkit.servers.client import choose_blades, ensure_lab

CLONE_NEWNET = 0x40000000
VIRTUAL = "blades: [{name: blade1}, {name: blade2}]\n"
REAL = """\
network: {kind: interface, interface: lo, subnet: 10.81.0.0/24, server: 10.81.0.1}
chassis: {kind: ipmi, slots: 1}
bmc: {user: admin, password_file: bmc.password}
blades:
  - {name: blade1, slot: 1, macs: ["52:54:00:00:00:01"], address: 10.81.0.11, bmc: {address: 10.81.0.201}}
"""


@pytest.fixture
def lab_path(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(VIRTUAL)
    return path


def quiet(_: str) -> None:
    """Progress nobody reads."""


@pytest.mark.netns
@pytest.mark.parametrize(("kind", "port"), [(socket.SOCK_DGRAM, 67), (socket.SOCK_DGRAM, 69), (socket.SOCK_STREAM, 80)])
def test_a_port_in_use_is_named(tmp_path: Path, kind: socket.SocketKind, port: int) -> None:
    lab = lab_yaml.parse(REAL, tmp_path / "lab.yaml")
    network = dataclasses.replace(lab.network, server=IPv4Address("127.0.0.1"))
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1" if port != 67 else "0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(MachineError, match=f"port {port} .* on lo: another program has this port"):
            open_sockets(dataclasses.replace(lab, network=network))


@pytest.mark.netns
@pytest.mark.parametrize("address", ["::", "0.0.0.0", "10.81.0.1"])
def test_a_port_of_what_it_keeps_is_in_use(tmp_path: Path, address: str) -> None:
    """Whichever address somebody has it at, and whether the lab's own is there yet or not."""
    lab = lab_yaml.parse(f"{REAL}storage: {{share: true, cache: true, cache_port: 5009}}\n", tmp_path / "lab.yaml")
    said: dict[int, MachineError] = {}

    def elsewhere() -> None:
        assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
        check_stores(lab)
        for port in (2049, 5000, 5009):
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as other:
                other.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
                other.bind((address, port))
                other.listen()
                with pytest.raises(MachineError, match="another program has this port") as error:
                    check_stores(lab)
            said[port] = error.value
            check_stores(lab)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert [said[port].where for port in sorted(said)] == [
        "TCP port 2049 (share) at 10.81.0.1",
        "TCP port 5000 (registry) at 10.81.0.1",
        "TCP port 5009 (cache) at 10.81.0.1",
    ]
    assert "systemctl stop nfs-server" in said[2049].fix
    assert said[2049].fix.endswith("or write share: false under storage: in lab.yaml")
    assert said[5000].fix == "stop it (ss -lnp 'sport = :5000' names it), or set network.registry_port in lab.yaml"
    assert "storage.cache_port" in said[5009].fix


def test_of_a_virtual_lab_only_the_cache_is_on_this_machines_own_network() -> None:
    virtual = lab_yaml.parse(f"{VIRTUAL}storage: {{share: true, cache: true}}\n", Path("lab.yaml"))
    assert [(one.port, one.address) for one in store_ports(virtual)] == [(5001, "10.77.0.254")]


def test_the_machines_engine_trusts_registry_and_cache_until_the_lab_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "TRUSTED", tmp_path / "certs.d")
    lab, state = lab_yaml.parse(f"{REAL}storage: {{cache: true}}\n", tmp_path / "lab.yaml"), State(tmp_path / "state")
    state.make()
    lifecycle._trust_registry(lab, state, quiet)
    given = [tmp_path / f"certs.d/10.81.0.1:{port}/ca.crt" for port in (5000, 5001)]
    assert {path.read_bytes() for path in given} == {state.ca.read_bytes()}
    mine = given[1].with_name("mine.crt")
    mine.touch()
    assert lifecycle._distrust_registry(state)
    assert sorted(path for path in (tmp_path / "certs.d").rglob("*")) == [mine.parent, mine]
    assert not lifecycle._distrust_registry(state)


def test_without_root_it_says_why_root_is_needed(
    lab_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="needs root"):
        lifecycle.up(lab_yaml.load(lab_path), State(tmp_path / "state"), quiet)
    assert not (tmp_path / "state").exists()


def test_missing_programs_are_named_with_their_packages(lab_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MachineError, match="qemu-system-x86_64") as caught:
        programs.check_programs(lab_yaml.load(lab_path))
    assert "openipmi" in caught.value.fix and "qemu-system-x86" in caught.value.fix


def test_a_subnet_this_machine_uses_is_refused() -> None:
    with pytest.raises(MachineError, match="127.0.0.0/8 is in use on this machine"):
        check_subnet(IPv4Network("127.0.0.0/8"), "labtest")


def test_a_state_folder_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="too long for Unix sockets"):
        State(tmp_path / ("deep" * 30)).make()


def test_a_real_lab_waits_for_a_yes(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(REAL)
    (tmp_path / "bmc.password").write_text("secret\n")
    with pytest.raises(MachineError, match="needs your yes") as caught:
        ensure_lab(tmp_path / "lab.yaml", state_path=tmp_path / "state", progress=quiet)
    assert "--yes" in caught.value.fix


@pytest.mark.parametrize("names", ["blade1", [1], ["blade1", "blade9"], '["blade9"]'])
def test_blades_that_are_not_in_the_lab_are_refused_with_the_list(lab_path: Path, names: list[str]) -> None:
    with pytest.raises(ParameterError) as caught:
        choose_blades(lab_yaml.load(lab_path), names)
    assert "blade1" in str(caught.value)


def test_none_means_every_blade_and_the_order_is_the_labs(lab_path: Path) -> None:
    lab = lab_yaml.load(lab_path)
    assert [blade.name for blade in choose_blades(lab, [])] == ["blade1", "blade2"]
    assert [blade.name for blade in choose_blades(lab, ["blade2", "blade1"])] == ["blade1", "blade2"]


def test_a_broken_lab_file_is_told_with_line_and_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("blades:\n  - {name: blade1, rol: worker}\n  - {name: blade1}\n")
    assert commands.main(["--lab", str(path), "explain", "blade1"]) == 2
    said = capsys.readouterr().err
    assert f"{path}:2:20" in said and f"{path}:3:" in said


def test_commands_for_a_lab_that_is_not_up_say_how_to_start_it(
    lab_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["swarm"], ["power", "on"], ["ssh", "blade1"], ["console", "blade1"]):
        assert commands.main(["--lab", str(lab_path), *words]) == 1
        assert "./lab up" in capsys.readouterr().err
    assert commands.main(["--lab", str(lab_path), "down"]) == 0


def test_explain_shows_every_file_and_no_secret(lab_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--lab", str(lab_path), "explain", "blade1"]) == 0
    said = capsys.readouterr().out
    assert "pxelinux.cfg/default" in said and "usr/share/oem/raw.ign" in said
    assert "ticket" not in said.lower()


def test_every_error_prints_its_place_and_its_fix() -> None:
    assert str(LabkitError("broken", where="here", fix="mend it")) == "here: broken\n  fix: mend it"


SAID = """\
2 images are built
  labos: unpacking packages …
✓ labos: built in 60 s
not all blades can be on at once
  fix: fewer blades
starting the lab's servers …
"""
WRONG = """\
lab.yaml:1:1: one
  fix: mend it
lab.yaml:2:1: two
  fix: mend that
"""


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sudo that says what is in a file, and ends with the status in another."""
    program = tmp_path / "bin/sudo"
    program.parent.mkdir()
    ends = f"cat {tmp_path}/said >&2\nexit $(cat {tmp_path}/status)"
    program.write_text(f'#!/bin/sh\n[ "$*" = "-n -- true" ] && exit\n{ends}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path


def test_what_root_tells_is_told_on(sudo: Path) -> None:
    (sudo / "said").write_text(SAID + "one thing more\n")
    (sudo / "status").write_text("0")
    told: list[str] = []
    client._sudo(["up"], told.append)
    assert told == [*SAID.splitlines(), "one thing more"]


@pytest.mark.parametrize(
    ("said", "what", "fix"),
    [
        (WRONG, "lab.yaml:1:1: one\n  fix: mend it\nlab.yaml:2:1: two", "mend that"),
        ("it broke\n", "it broke", "./lab up"),
        ("", "it ended with status 1", "./lab up"),
    ],
)
def test_an_error_of_roots_is_told_once_and_whole(sudo: Path, said: str, what: str, fix: str) -> None:
    (sudo / "said").write_text(SAID + said)
    (sudo / "status").write_text("1")
    told: list[str] = []
    with pytest.raises(MachineError) as caught:
        client._sudo(["up"], told.append)
    assert told == SAID.splitlines()
    assert (caught.value.what, caught.value.fix) == (f"the lab could not be started: {what}", fix)
