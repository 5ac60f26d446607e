"""A BMC's password from the system's keyring: what is asked of the package, and each way in which there is none.

The package is in no lock, so a stand-in has its names: `keyring.get_keyring`, `keyring.get_password` and its errors.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import PowerError
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.machines.power import calls, keyring_entry, passwords

FILE = """\
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {user: ADMIN, password_keyring: "the rack"}
blades:
  - {name: red1, macs: ["00:00:5e:00:53:10"], bmc: {address: 10.0.41.1}}
  - {name: red2, macs: ["00:00:5e:00:53:20"], bmc: {address: 10.0.41.2, password_keyring: rack/root}}
"""
STAND_IN = {
    "__init__.py": """
from keyring import errors
from keyring.backends import fail
kept, raises, backend = {}, None, object()
def get_keyring():
    return backend
def get_password(service, user):
    if raises is not None:
        raise raises
    return kept.get((service, user))
""",
    "errors.py": """
class KeyringError(Exception): ...
class NoKeyringError(KeyringError, RuntimeError): ...
class InitError(KeyringError): ...
class KeyringLocked(KeyringError): ...
""",
    "backends/__init__.py": "",
    "backends/fail.py": "class Keyring: ...\n",
}


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, text in STAND_IN.items():
        path = tmp_path / "packages/keyring" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "keyring"]:
        monkeypatch.delitem(sys.modules, name)
    yield importlib.import_module("keyring")
    for name in [name for name in sys.modules if name.partition(".")[0] == "keyring"]:
        del sys.modules[name]


def ask(user: str = "ADMIN") -> dict[str, str]:
    return keyring_entry.answer({"service": "rack", "user": user})


def test_an_entry_is_found(keyring: Any) -> None:
    keyring.kept["rack", "ADMIN"] = "of-the-keyring"
    assert ask() == {"password": "of-the-keyring"} and ask("root") == {"error": "missing"}
    keyring.kept["rack", "root"] = ""
    assert ask("root") == {"error": "missing"}


def test_each_way_in_which_there_is_none(keyring: Any) -> None:
    keyring.raises = keyring.errors.KeyringLocked("the collection\nis locked")
    assert ask() == {"error": "locked", "detail": "the collection is locked"}
    keyring.raises = keyring.errors.NoKeyringError("none")
    assert ask() == {"error": "backend"}
    keyring.raises = OSError("no bus")
    assert ask() == {"error": "failed", "detail": "no bus"}
    keyring.backend = keyring.backends.fail.Keyring()
    assert ask() == {"error": "backend"}


def password(folder: Path, blade: str) -> str:
    lab = lab_yaml.parse(FILE, folder / "lab.yaml")
    return passwords.bmc_password(lab, State(folder), lab.blade(blade)).reveal()


@pytest.mark.skipif(importlib.util.find_spec("keyring") is not None, reason="the package keyring is installed here")
def test_without_the_package_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(PowerError, match="password cannot be read: the Python package keyring is not") as caught:
        password(tmp_path, "red1")
    assert caught.value.where == "red1 (keyring: the rack/ADMIN)"
    assert f"{sys.executable} -m pip install keyring, or name a password_file" in caught.value.fix
    with pytest.raises(PowerError) as caught:
        password(tmp_path, "red2")
    assert caught.value.where == "red2 (keyring: rack/root)"


def answers(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let a program stand in for the process that asks."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def test_the_question_is_no_word_of_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = 'echo "$@" >"${0%/*}/words"; cat >"${0%/*}/asked"; echo \'{"password": "a password"}\''
    answers(tmp_path, monkeypatch, words)
    assert password(tmp_path, "red1") == "a password"
    assert (tmp_path / "asked").read_text() == '{"service": "the rack", "user": "ADMIN"}'
    assert (tmp_path / "words").read_text() == f"-I -m {passwords.KEYRING}\n"


@pytest.mark.parametrize(
    ("program", "what", "fix"),
    [
        ("""echo '{"error": "missing"}'""", "no such entry", "-m keyring set 'the rack' ADMIN"),
        ("""echo '{"error": "locked", "detail": "x"}'""", "the keyring is locked: x", "unlock it"),
        ("""echo '{"error": "backend"}'""", "no keyring here", "name a password_file"),
        ("echo it broke >&2; exit 3", "the keyring refused: it broke", "keyring diagnose says more"),
        ("exit 3", "it ended with 3", "name a password_file"),
        ("exec sleep 60", "did not answer within 0.3 s", "unlock"),
        ("""echo '{"password": "of more than twenty bytes"}'""", "at most 20 bytes", "a shorter one"),
    ],
)
def test_what_is_said_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, what: str, fix: str
) -> None:
    answers(tmp_path, monkeypatch, program)
    if "sleep" in program:
        monkeypatch.setattr(passwords, "KEYRING_S", 0.3)
    with pytest.raises(PowerError) as caught:
        password(tmp_path, "red1")
    assert what in caught.value.what and fix in caught.value.fix and "\n" not in caught.value.what
    assert "{" not in caught.value.what + caught.value.fix


def test_a_wrong_password_names_the_key(tmp_path: Path) -> None:
    bmc = lab_yaml.parse(FILE, tmp_path / "lab.yaml").blades[0].bmc
    assert "bmc.password_keyring" in calls.told("red1", bmc, {"error": "password"}).fix
