"""Power without a management controller: a packet that wakes, a command of one's own, and a person's hand."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import PowerError
from labkit.lab import Bmc, PowerKind, lab_yaml
from labkit.lab.lab_yaml import bmcs
from labkit.lab.secret import Secret
from labkit.lab.state import State
from labkit.machines import power
from labkit.machines.power import calls, ways
from labkit.machines.power.passwords import bmc_password

NOBODY = Secret("")
REAL = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {password_env: RACK_PW}
blades:
  - {name: red1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.0.41.1}}
  - {name: red2, macs: ["00:00:5e:00:53:20"], bmc: {address: 10.0.41.2, kind: redfish}}
  - {name: red3, macs: ["00:00:5e:00:53:30"], bmc: {kind: wol}}
"""
IPMI = Bmc("10.0.40.201")
REDFISH = Bmc("10.0.40.202", 443, kind=PowerKind.REDFISH)
WOL = Bmc("127.0.0.1", 9, kind=PowerKind.WOL, mac="00:00:5e:00:53:10")
HAND = Bmc("", kind=PowerKind.MANUAL, place="slot 3")


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", text)


def command(on: str = "", off: str = "", state: str = "") -> Bmc:
    first, second, third = (python(text) if text else () for text in (on, off, state))
    return Bmc("", kind=PowerKind.COMMAND, on=first, off=second, state=third)


# --- Wake-on-LAN ------------------------------------------------------------------------------------------------------


def test_the_magic_packet_is_sent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
        card.bind(("127.0.0.1", 0))
        card.settimeout(10)
        assert power.set_power("red1", replace(WOL, port=card.getsockname()[1]), NOBODY, "on") == ""
        assert card.recv(1500) == bytes.fromhex("ff" * 6 + "00005e005310" * 16)


def test_a_packet_that_cannot_leave_is_said() -> None:
    """Linux sends nothing to port 0."""
    with pytest.raises(PowerError, match="could not be sent") as caught:
        power.set_power("red1", replace(WOL, port=0), NOBODY, "on")
    assert "bmc.broadcast" in caught.value.fix and "red1" in caught.value.where


def test_every_kind_is_in_every_table() -> None:
    """A table that lacks one fails where a blade of that kind is pressed, and not before."""
    assert set(ways.KINDS) == set(bmcs.KEYS) == set(PowerKind)
    for bmc in (Bmc("", kind=kind) for kind in PowerKind):
        assert ways.able(bmc) == ways.STATES or ways.KINDS[bmc.kind].limit, bmc.kind
        assert bmc.tells_state or ways.silent(bmc), bmc.kind


@pytest.mark.parametrize("bmc", [WOL, HAND, command(on="1")], ids=["wol", "manual", "command"])
def test_who_cannot_tell_says_so(bmc: Bmc) -> None:
    assert power.power_state("red1", bmc, NOBODY) == power.UNKNOWN
    with pytest.raises(PowerError, match="nobody can tell whether it is on: ") as caught:
        power.wait_power("red1", bmc, NOBODY, "on", timeout_s=60)
    assert "./lab events red1" in caught.value.fix


@pytest.mark.parametrize(
    ("bmc", "refused", "why"),
    [
        (WOL, ("off", "shutdown", "reset", "boot", "pxe"), "can only switch on"),
        (HAND, ("boot", "pxe"), "no button of a machine"),
        (command(on="1"), ("off", "shutdown", "reset", "boot", "pxe"), "bmc.off"),
        (command(on="1", off="1"), ("shutdown", "reset", "boot", "pxe"), "bmc.off"),
        (IPMI, (), ""),
        (REDFISH, (), ""),
    ],
    ids=["wol", "manual", "command", "command-off", "ipmi", "redfish"],
)
def test_what_a_kind_cannot_do_is_refused_in_a_sentence(bmc: Bmc, refused: tuple[str, ...], why: str) -> None:
    assert tuple(state for state in power.STATES if state not in ways.able(bmc)) == refused
    for state in refused:
        with pytest.raises(PowerError, match=re.escape(why)) as caught:
            power.set_power("red1", bmc, NOBODY, state)
        assert "\n" not in caught.value.what and caught.value.fix and "red1" in caught.value.where
        with pytest.raises(PowerError, match=re.escape(why)):
            ways.dry_run("red1", bmc, state)


# --- a command --------------------------------------------------------------------------------------------------------


def test_a_command_presses_and_tells(tmp_path: Path) -> None:
    plug = tmp_path / "plug"
    bmc = command(
        on=f"open({str(plug)!r}, 'w').write('ON since noon')",
        off=f"open({str(plug)!r}, 'w').write('0')",
        state=f"print(open({str(plug)!r}).read())",
    )
    power.set_power("red1", bmc, NOBODY, "on")
    assert power.power_state("red1", bmc, NOBODY) == "on"
    power.set_power("red1", bmc, NOBODY, "off")
    assert power.wait_power("red1", bmc, NOBODY, "off", timeout_s=5) < 5


def test_no_shell_reads_a_command(tmp_path: Path) -> None:
    words = ("touch", f"{tmp_path}/a; touch {tmp_path}/b $(id)")
    with pytest.raises(PowerError):
        power.set_power("red1", replace(command(), on=words), NOBODY, "on")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import sys; sys.exit('no such plug')", "ended with status 1 and said: no such plug"),
        ("print('perhaps')", "printed 'perhaps' and not on or off"),
        ("", "printed 'nothing' and not on or off"),
    ],
)
def test_a_command_that_fails_is_quoted(text: str, what: str) -> None:
    with pytest.raises(PowerError, match=what) as caught:
        power.power_state("red1", command(on="1", state=text or "pass"), NOBODY)
    assert caught.value.fix and "red1" in caught.value.where and "python" in caught.value.what


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(PowerError, match="'/nowhere/plug on' cannot be run: No such file"):
        power.set_power("red1", replace(command(), on=("/nowhere/plug", "on")), NOBODY, "on")


def test_a_command_has_a_time_limit_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "CALL_S", 0.5)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    slow = f"import os, time; os.open({str(tmp_path / 'pipe')!r}, os.O_WRONLY); os.fork(); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(PowerError, match="did not end within 0.5 s"):
        power.set_power("red1", command(on=slow), NOBODY, "on")
    assert time.monotonic() - began < 10
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # no process holds the other end
    os.close(reader)


# --- a hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["on", "off", "shutdown", "reset"])
def test_a_person_is_told_what_to_press_and_where(state: str) -> None:
    told = power.set_power("red1", HAND, NOBODY, state)
    assert "button" in told and told.endswith(": red1, in slot 3")


# --- passwords --------------------------------------------------------------------------------------------------------


def test_a_password_is_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_yaml.parse(REAL, tmp_path / "lab.yaml")
    ipmi, redfish, woken = lab.blades
    with pytest.raises(PowerError, match="this environment variable is not set") as caught:
        bmc_password(lab, State(tmp_path), ipmi)
    assert "red1 ($RACK_PW)" in caught.value.where and "export RACK_PW" in caught.value.fix
    monkeypatch.setenv("RACK_PW", "a password of twenty-four")
    with pytest.raises(PowerError, match="at most 20 bytes"):
        bmc_password(lab, State(tmp_path), ipmi)
    assert bmc_password(lab, State(tmp_path), redfish).reveal() == "a password of twenty-four"
    assert bmc_password(lab, State(tmp_path), woken) == NOBODY
    error = calls.told("red2", redfish.bmc, {"error": "password"})
    assert "bmc.password_env" in error.fix


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bmc", "state", "said"),
    [
        (IPMI, "reset", "red1: would press: reset, by IPMI, at 10.0.40.201:623"),
        (IPMI, "pxe", "red1: would press: the next boot by PXE, once, by IPMI, at 10.0.40.201:623"),
        (REDFISH, "off", "red1: would press: power off, at once, by Redfish, at https://10.0.40.202:443"),
        (WOL, "on", "red1: would press: power on, by Wake-on-LAN, a packet for 00:00:5e:00:53:10 to 127.0.0.1:9"),
        (
            replace(command(), on=("plug", "a b")), "on",
            "red1: would press: power on, by this command: plug 'a b'",
        ),
        (HAND, "on", "red1: would press: power on, by hand (press the power button), in slot 3"),
    ],
)  # fmt: skip
def test_what_would_be_pressed(bmc: Bmc, state: str, said: str) -> None:
    assert ways.dry_run("red1", bmc, state) == said
