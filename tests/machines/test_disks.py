"""The disks of virtual blades: files that are made once, and how QEMU is given them."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import PowerError
from labkit.events import Event, Trouble
from labkit.lab import Blade, Disk, FirmwareKind, lab_yaml
from labkit.lab.hardware import BUILDS
from labkit.lab.state import State
from labkit.machines.host.sandbox import User
from labkit.machines.virtual.chassis import VirtualChassis
from labkit.machines.virtual.disks import disk_file, ensure_disk
from labkit.machines.virtual.qemu import Machine

ME = User(os.getuid(), os.getgid())
Usage = namedtuple("Usage", "total used free")


def blade(keys: str = "disk: {device: /dev/vda, size: 2GiB}") -> Blade:
    return lab_yaml.parse(f"blades: [{{name: blade7, {keys}}}]\n", Path("lab.yaml")).blades[0]


def command(blade: Blade, disk: Path) -> list[str]:
    return Machine(
        blade, "tcg", Path("b.qmp"), Path("b.log"), 6001, 6101, Path("b.vars"), disk_file(blade, disk)
    ).command()


def test_a_disk_is_made_once_sparse_and_for_its_machine_alone(tmp_path: Path) -> None:
    ensure_disk(blade(), tmp_path / "disks", ME)
    file = tmp_path / "disks/blade7.raw"
    assert (file.stat().st_size, file.stat().st_blocks) == (2 << 30, 0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open("r+b") as opened:
        opened.write(b"precious")
    for other in (
        blade(),
        replace(blade(), disk=Disk("/dev/vda", 1024)),
        replace(blade(), disk=Disk("/dev/vda", 4096)),
    ):
        ensure_disk(other, tmp_path / "disks", ME)
        with file.open("rb") as opened:  # not read whole: it is 2 GiB of nothing
            assert (file.stat().st_size, opened.read(8)) == (2 << 30, b"precious"), "it stays as it is"


def test_without_a_disk_there_is_no_file(tmp_path: Path) -> None:
    ensure_disk(blade("disk: none"), tmp_path / "disks", ME)
    assert not (tmp_path / "disks").exists() and disk_file(blade("disk: none"), tmp_path) is None


def test_no_room_is_told_before_the_machine_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_disk(blade(), tmp_path, ME)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 1 << 30))
    with pytest.raises(PowerError, match=r"may take 2.1 GB more, and 1.1 GB are free") as caught:
        ensure_disk(blade(), tmp_path, ME)
    assert str(tmp_path / "blade7.raw") in str(caught.value) and "remove this file" in caught.value.fix
    (tmp_path / "blade7.raw").unlink()
    with pytest.raises(PowerError) as caught:
        ensure_disk(blade(), tmp_path, ME)
    assert "remove" not in caught.value.fix and not (tmp_path / "blade7.raw").exists()


def test_a_machine_without_room_says_so_in_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 1 << 40, 1 << 30))
    lab = lab_yaml.parse("blades: [{name: blade7, disk: /dev/vda}]\n", Path("lab.yaml"))
    said: list[Event] = []

    async def before(blade: Blade) -> None:
        raise AssertionError("no boot begins")

    chassis = VirtualChassis(lab, State(tmp_path / "state"), ME, "tcg", said.append, before)
    with pytest.raises(PowerError, match="are free"):
        asyncio.run(chassis.press(1, "power", 1))
    [trouble] = said
    assert isinstance(trouble, Trouble) and trouble.blade == "blade7" and "blade7.raw" in trouble.detail
    assert "make room there" in trouble.fix and not chassis.is_on(1)


@pytest.mark.parametrize(
    ("keys", "device"),
    [("disk: /dev/vda", "virtio-blk-pci"), ("disk: /dev/sda, hardware: red", "ide-hd"),
     ("disk: /dev/nvme0n1, hardware: pc", "nvme")],
)  # fmt: skip
def test_the_machine_has_its_disk_and_never_boots_from_it(keys: str, device: str) -> None:
    line = command(blade(keys), Path("a,b"))
    assert f"{device},drive=disk,serial=labkit-1" in line
    [file] = [word for word in line if "node-name=disk" in word]
    assert file.endswith("file.filename=a,,b/blade7.raw") and "driver=raw" in file
    assert not [word for word in line if "drive=disk" in word and "bootindex" in word]
    assert "serial=empty" not in " ".join(line), "an office machine has one drive"


def test_an_office_machine_without_has_an_empty_drive() -> None:
    assert "nvme,drive=empty,serial=empty" in command(blade("hardware: pc"), Path("d"))
    assert "-blockdev" not in command(blade("hardware: red"), Path("d"))
    secure = replace(blade(), firmware=FirmwareKind.UEFI_SECURE)
    assert "virtio-blk-pci,drive=disk,serial=labkit-1" in command(secure, Path("d"))


def test_every_kind_of_hardware_says_what_its_disk_is() -> None:
    assert [build.disk for build in BUILDS.values()] == ["/dev/vda", "/dev/sda", "/dev/nvme0n1"]
