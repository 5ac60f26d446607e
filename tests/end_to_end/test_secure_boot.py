"""Secure Boot from the firmware's keys to the swarm, and a kernel that it does not let run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from labkit import events, images
from labkit.events import Transfer
from labkit.lab import lab_yaml
from tests.end_to_end.test_hardware import answered, run
from tests.rig.front_door import new_lab

pytestmark = [pytest.mark.qemu, pytest.mark.soak]
LAB = "name: secure\nnetwork: {subnet: 10.87.0.0/24}\nboot: grub\nfirmware: uefi-secure\nblades: [{name: blade1}]\n"
DAMAGED = """\
os: custom
custom:
  kernel: vmlinuz
  initrds: [%s]
  arguments: coreos.first_boot=1 coreos.config.url=oem:///raw.ign apparmor=0
  config: {archive: usr/share/oem/raw.ign}
"""
TRIED_S = 600


def test_a_blade_with_secure_boot_joins(tmp_path: Path) -> None:
    with new_lab(tmp_path, LAB) as door:
        answered(door, ["blade1"], 3600)
        fetched = [event for event in door.connect().events() if isinstance(event, Transfer) and event.state == "done"]
        paths = [(event.protocol, event.path) for event in fetched]
        for name in ("shimx64.efi", "grubx64.efi", "grub/grub.cfg", "labos/vmlinuz", "labos/labos.cpio"):
            assert ("tftp", name) in paths
        assert "locked down from EFI Secure Boot" in run(door, "blade1", "sudo dmesg"), "the kernel itself found it on"


def test_a_blade_with_secure_boot_refuses_a_damaged_kernel(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    images.ensure_images(lab_yaml.load(tmp_path / "lab.yaml"), progress=print)
    data = bytearray(images.kernel().read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "vmlinuz").write_bytes(data)
    with new_lab(tmp_path, LAB + DAMAGED % images.kernel().with_name("labos.cpio")) as door:
        assert door("up").returncode == 0
        running = door.connect()
        running.power(running.lab.blade("blade1"), "on")
        tried = 0
        for event in events.follow(running.state.events, after=0, until=time.time() + TRIED_S):
            if isinstance(event, Transfer) and event.state == "done":
                assert "/initrd/" not in event.path and "oem" not in event.path, "a damaged kernel was started"
                tried += event.path.endswith("/vmlinuz")
            if tried == 3:
                break
        assert tried == 3
        told = door("why", "blade1")
        assert told.returncode == 1 and "Secure Boot refuses this kernel" in told.stdout
