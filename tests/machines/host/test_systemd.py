"""A lab's unit on a machine, with a folder and a systemctl of our own: nothing of a person's is touched."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit.errors import MachineError
from labkit.machines.host import systemd, unit

NAME = "labkit-0a1b2c.service"


class Machine:
    """A machine that systemd runs; ``calls`` is what systemctl was told, which does as the real one does."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.units, self.runs, self.calls = folder / "units", folder / "runs", list[str]()
        self.script, self.lab = folder / "lab", folder / "lab.yaml"
        self.refuses = ""
        for place in (self.units / systemd.WANTS, self.runs):
            place.mkdir(parents=True)
        for file in (self.script, self.lab):
            file.touch()
        patch.setattr(systemd, "FOLDER", self.units)
        patch.setattr(systemd, "RUNS", self.runs)
        patch.setattr(systemd, "systemctl", self._systemctl)

    def _systemctl(self, verb: str, *names: str) -> None:
        self.calls.append(verb)
        if verb == self.refuses:
            raise MachineError(f"systemctl {verb} failed")
        for name in names:
            link = self.units / systemd.WANTS / name
            link.symlink_to(self.units / name) if verb == "enable" and not link.is_symlink() else None
            link.unlink() if verb == "disable" and link.is_symlink() else None

    def text(self, words: str = "up") -> str:
        return unit.unit("a lab", self.script, self.lab, {}, after=("network-online.target",), words=(words,))

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.units)) for path in self.units.rglob("*") if not path.is_dir())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_exactly_what_was_written_is_removed(machine: Machine) -> None:
    (machine.units / f"{NAME}.d").mkdir()
    (machine.units / f"{NAME}.d/override.conf").write_text("[Service]\n")
    (machine.units / "labkit-other.service").write_text("[Service]\n")
    before = machine.files()
    assert systemd.enable(NAME, machine.text()) == machine.units / NAME
    systemd.enable(NAME, machine.text("anew"))
    assert (machine.units / NAME).read_text() == machine.text("anew")
    assert machine.files() == sorted([*before, NAME, f"{systemd.WANTS}/{NAME}"])
    assert systemd.disable(NAME) == machine.units / NAME and systemd.disable(NAME) is None
    assert machine.files() == before
    assert machine.calls == ["daemon-reload", "enable"] * 2 + ["disable", "daemon-reload"]


@pytest.mark.parametrize("kind", ["a person's", "changed", "masked"])
def test_a_unit_of_somebody_else_is_named_and_left(machine: Machine, kind: str) -> None:
    path = machine.units / NAME
    if kind == "masked":
        path.symlink_to("/dev/null")
    else:
        path.write_text("[Service]\n" if kind == "a person's" else f"{machine.text()}Nice=5\n")
    before = os.readlink(path) if kind == "masked" else path.read_text()
    refused: list[Callable[[], object]] = [
        lambda: systemd.check(NAME, ""),
        lambda: systemd.enable(NAME, "x"),
        lambda: systemd.disable(NAME),
    ]
    for verb in refused:
        with pytest.raises(MachineError, match="that labkit did not write") as caught:
            verb()
        assert caught.value.where == str(path) and f"rm {path}" in caught.value.fix
    assert before == (os.readlink(path) if kind == "masked" else path.read_text()) and machine.calls == []


def test_what_systemctl_refuses_leaves_nothing(machine: Machine) -> None:
    machine.refuses = "enable"
    with pytest.raises(MachineError, match="enable failed"):
        systemd.enable(NAME, machine.text())
    assert machine.files() == []


def test_without_systemd_there_is_a_sentence(machine: Machine) -> None:
    machine.runs.rmdir()
    with pytest.raises(MachineError, match="as in a container") as caught:
        systemd.check(NAME, "/srv/lab up --at-boot")
    assert "/srv/lab up --at-boot" in caught.value.fix


def test_what_is_seen_of_it(machine: Machine) -> None:
    assert not systemd.look(NAME).enabled and "--enable would" in systemd.look(NAME).what
    systemd.enable(NAME, machine.text())
    seen = systemd.look(NAME)
    assert seen.enabled and NAME in seen.what and seen.wrong == ()
    (machine.units / systemd.WANTS / NAME).unlink()
    [(what, fix)] = systemd.look(NAME).wrong
    assert "switched off" in what and f"systemctl enable {NAME}" in fix


def test_a_moved_checkout_is_told_by_the_lab_and_by_every_other(machine: Machine) -> None:
    """A lab that moved has another tag, and another unit: the old one is found all the same."""
    systemd.enable(NAME, machine.text())
    machine.script.unlink()
    ((what, fix),) = systemd.look(NAME).wrong
    assert str(machine.script) in what and "./lab up --enable" in fix
    other = systemd.look("labkit-ffffff.service")
    [(what, fix)] = other.wrong
    assert not other.enabled and NAME in what and fix == f"systemctl disable {NAME}; rm {machine.units / NAME}"


def test_what_systemctl_says_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="there is no systemctl"):
        systemd.systemctl("enable", NAME)
    program = tmp_path / "systemctl"
    program.write_text('#!/bin/sh\necho "Unit $2 is masked." >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(MachineError, match=f"systemctl enable {NAME} failed: Unit {NAME} is masked."):
        systemd.systemctl("enable", NAME)


def test_systemd_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (str(tmp_path / "notify"), f"@labkit-test-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind("\0" + address[1:] if address.startswith("@") else address)
            monkeypatch.setenv("NOTIFY_SOCKET", address)
            systemd.tell_ready()
            systemd.tell_ready()
            assert sock.recv(100) == b"READY=1" and "NOTIFY_SOCKET" not in os.environ
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(100)
