"""IPMI: the buttons of OpenIPMI's simulator that a virtual slot has no use for, and pyghmi's words for failures."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import PowerError
from labkit.lab import Bmc, lab_yaml
from labkit.lab.secret import Secret
from labkit.machines import power
from labkit.machines.power import calls, ipmi
from labkit.machines.virtual import bmc

PASSWORD = Secret("a16bytepassword!")
BUTTONS = """
import pathlib, sys
folder, slot, verb, *rest = sys.argv[1:]
kept = pathlib.Path(folder)
if verb == "get":
    for name in rest:
        path = kept / name
        print(f"{name}:{path.read_text() if path.exists() else 'default' if name == 'boot' else 0}")
for name, value in zip(rest[::2], rest[1::2]) if verb == "set" else ():
    (kept / name).write_text(value)
"""
"""The script of a chassis of its own kind: ipmi_sim(1), chassis_control."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy takes longer for a process than a BMC for its answer."""
    monkeypatch.setattr(power, "CALL_S", 120.0)


@pytest.fixture(scope="module")
def chassis() -> Iterator[tuple[Path, Bmc]]:
    """A BMC, and the folder that its buttons write to."""
    if shutil.which(bmc.BINARY) is None:
        pytest.skip(f"not installed: {bmc.BINARY}; ./lab setup installs it")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        own = Bmc("127.0.0.1", free.getsockname()[1], "labkit")
    (blade,) = lab_yaml.parse("blades: [{name: red1}]\n", Path("lab.yaml")).blades
    with tempfile.TemporaryDirectory(prefix="lab") as place:
        folder = Path(place)
        (folder / "buttons.py").write_text(BUTTONS)
        blade = replace(blade, bmc=own)
        line = bmc.write_config(folder / "bmc", blade, password=PASSWORD, control=folder, serial_port=1)
        line = [f"LABKIT_BUTTONS={folder}/buttons.py" if word.startswith("LABKIT_BUTTONS=") else word for word in line]
        with subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as sim:
            try:
                while f":{own.port:04X} " not in Path("/proc/net/udp").read_text():
                    assert sim.poll() is None, "the simulated BMC ended"
                    time.sleep(0.02)
                yield folder, own
            finally:
                sim.kill()


def test_the_next_boot_is_by_pxe(chassis: tuple[Path, Bmc]) -> None:
    folder, own = chassis
    power.set_power("red1", own, PASSWORD, "pxe")
    assert (folder / "boot").read_text() == "pxe"


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(PowerError, match="its address cannot be found: ") as caught:
        power.power_state("red1", Bmc("a..b"), PASSWORD)
    assert "bmc.address" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "is_in", "kind"),
    [
        ("None", False, "silent"),
        ("timeout", True, "slow"),
        ("Session no longer connected", True, "slow"),
        ("Incorrect password provided", False, "password"),
        ("Unauthorized name in RAKP2", False, "password"),
        ("Invalid RAKP4 integrity code (wrong Kg?)", False, "password"),
        ("Insufficient resources to create new session (wait for existing sessions to timeout)", False, "sessions"),
        ("Insufficient resources to create a session at the requested role in RAKP2", False, "sessions"),
        ("No Cipher suite match with proposed security algorithms", False, "cipher"),
        ("Invalid integrity algorithm", False, "cipher"),
        ("MD5 required but not enabled/available on target BMC", False, "cipher"),
        ("Unauthorized role or privilege level requested in RAKP2", False, "rights"),
        ("Insufficient privilege level or firmware firewall", True, "rights"),
        ("Node Busy", True, "busy"),
        ("BMC initialization in progress", True, "busy"),
        ("Invalid command", True, "refused"),
    ],
)
def test_a_failure_has_one_sentence(text: str, is_in: bool, kind: str) -> None:
    """The texts are pyghmi's."""
    found = ipmi.failure(text, is_in=is_in)
    assert found["error"] == kind
    error = calls.told("red1", Bmc("10.0.40.201"), found)
    assert error.what and error.fix and "\n" not in error.what and "{" not in error.what + error.fix
