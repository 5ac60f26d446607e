"""``disk:`` in lab.yaml: which disk Docker is on, and what no blade can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.lab import Disk, lab_yaml
from labkit.lab.changes import changes
from tests.rig.lab_files import mistakes, real

BY_ID = "/dev/disk/by-id/virtio-labkit-2"
TWO = "blades:\n  - name: a\n  - {name: b, %s}\n"


def disks(text: str) -> list[Disk | None]:
    return [blade.disk for blade in lab_yaml.parse(text, Path("lab.yaml")).blades]


@pytest.mark.parametrize(
    ("said", "disk"),
    [
        ("disk: /dev/vda", Disk("/dev/vda", 8192)),
        ("disk: {device: /dev/vda, size: 4GiB}", Disk("/dev/vda", 4096)),
        (f"disk: {{device: {BY_ID}, size: 1 T}}", Disk(BY_ID, 1 << 20)),
        ("disk: /dev/sda, hardware: red", Disk("/dev/sda", 8192)),
        ("disk: /dev/nvme0n1, hardware: pc", Disk("/dev/nvme0n1", 8192)),
        ("disk: none", None),
    ],
)  # fmt: skip
def test_a_virtual_blades_disk(said: str, disk: Disk | None) -> None:
    assert disks(TWO % said) == [None, disk]


def test_a_disk_for_all_and_a_blade_without() -> None:
    assert disks("disk: /dev/vda\n" + TWO % "disk: off") == [Disk("/dev/vda", 8192), None]


@pytest.mark.parametrize("device", ["/dev/sda", "/dev/nvme0n1p3", "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", "/dev/vda"])
def test_a_real_blades_disk_has_no_size(device: str) -> None:
    assert disks(real(f"    disk: {device}\n")) == [Disk(device)]
    assert disks(real(f"    disk: {{device: {device}}}\n")) == [Disk(device)]


SIZED = "disk: {device: /dev/sda, size: 4GiB}"
SILENT = "os: custom\ncustom: {kernel: lab.yaml}\nblades: [{name: a, disk: /dev/vda}]\n"


@pytest.mark.parametrize(
    ("text", "place", "what", "fix"),
    [
        (TWO % "disk: vda", "vda}", "'vda' is not the name of a disk", "/dev/sda"),
        (TWO % "disk: /dev/../etc/shadow", "/dev/..", "is not the name of a disk", "by-id"),
        (TWO % "disk: '/dev/sda; reboot'", "'/dev", "is not the name of a disk", "none"),
        (TWO % "disk: /dev/sda", "/dev/sda}", "hardware: virtio is /dev/vda, not /dev/sda", "write /dev/vda"),
        (TWO % "disk: {size: 4GiB}", "{size", "disk has no 'device'", "device: /dev/sda"),
        (TWO % "disk: {device: /dev/vda, size: 4096}", "4096", "'4096' is not the size of a disk", "4GiB"),
        (TWO % "disk: {device: /dev/vda, size: 17T}", "17T", "no size for a blade's disk", "1GiB to 16TiB"),
        (TWO % "disk: {device: /dev/vda, room: 4GiB}", "room", "disk has no key 'room'", "device, size"),
        (TWO % "disk: ", " }", "disk has no value", "remove the line"),
        (real(f"    {SIZED}\n"), "4GiB", "has the size that it has", "write disk: /dev/sda"),
        (SILENT, "/dev/vda", "nothing tells this system of a disk", "config: url"),
    ],
)
def test_what_no_blade_can_have(text: str, place: str, what: str, fix: str, tmp_path: Path) -> None:
    [(line, column, said, instead)] = mistakes(text, tmp_path)
    assert text.splitlines()[line - 1][column - 1 :].startswith(place)
    assert what in said and fix in instead


def test_a_mistake_at_the_top_is_told_once(tmp_path: Path) -> None:
    [(line, _, what, _)] = mistakes("disk: /dev/sda\n" + TWO % "role: manager", tmp_path)
    assert line == 1 and "is /dev/vda" in what


def test_another_disk_waits_for_the_labs_next_start() -> None:
    old, new = (lab_yaml.parse(TWO % said, Path("lab.yaml")) for said in ("disk: none", "disk: /dev/vda"))
    assert changes(old, new).keys == ("disk of b",)
