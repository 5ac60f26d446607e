"""A blade with a disk: what it keeps over a power cut, what it leaves alone, and what it wipes after a person's yes."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from labkit.events import Event, Note, Trouble
from labkit.servers.client import RunningLab, ensure_blades, shut_down
from labkit.swarm import cluster
from labkit.swarm.services.nginx import ensure_nginx
from tests.rig.front_door import FrontDoor, new_lab

pytestmark = [pytest.mark.qemu, pytest.mark.soak]
LAB = """\
boot: ipxe
network: {subnet: 10.89.0.0/24}
disk: {device: /dev/vda, size: 2GiB}
memory: 1024M
blades: [{name: blade1}]
"""
FILE = "/var/lib/docker/volumes/mine/_data/file"
TASKS = "sudo docker ps --all --quiet --filter label=com.docker.swarm.task.id"


def run(door: FrontDoor, command: str) -> str:
    """What a command says on the blade."""
    done = door("ssh", "blade1", "--", command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def boot(running: RunningLab) -> list[Event]:
    """Boot the blade, which is off, into the swarm, where it is once; what its boot said of its disk."""
    before = len(list(running.events()))
    ensure_blades(running, running.lab.blades, until="joined", timeout_s=1200)
    with running.engine() as engine:
        cluster.wait_nodes(engine, ["blade1"], 60)
        listed = sorted((node.hostname, node.state) for node in cluster.nodes(engine))
    assert listed == [("blade1", "ready"), ("controller", "ready")]
    return [
        event
        for event in list(running.events())[before:]
        if isinstance(event, Note | Trouble) and "/dev/vda" in event.detail and "somebody" not in event.detail[:8]
    ]


def cut(running: RunningLab) -> None:
    running.power(running.lab.blade("blade1"), "off")
    running.wait_power(running.lab.blade("blade1"), "off", timeout_s=30)


def on_host(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_disk_keeps_images_and_nothing_of_a_persons_is_wiped_unasked(tmp_path: Path) -> None:
    with new_lab(tmp_path, LAB) as door:
        running = door.up()
        disk = running.state.disks / "blade1.raw"
        with running.engine() as engine:
            cluster.ensure_swarm_of(engine, running.lab)

        [told] = boot(running)
        assert isinstance(told, Note) and "was empty: it was formatted" in told.detail
        ensure_nginx(running, replicas=1, port=8080)
        run(door, "sudo docker tag $(sudo docker images --quiet | head -n 1) kept:1")
        run(door, f"sudo docker volume create mine; echo precious | sudo tee {FILE}; sudo sync")
        tasks = set(run(door, TASKS).split())
        assert tasks and run(door, "findmnt -no FSTYPE /var/lib/docker/swarm") == "tmpfs\n"

        cut(running)
        assert "swarm" in on_host("debugfs", "-R", "ls -p /", str(disk))
        kept = on_host("debugfs", "-R", "ls -p /swarm", str(disk)).split()
        assert [line.split("/")[5] for line in kept] == [".", ".."], "no key of the swarm is on the disk"

        [told] = boot(running)
        assert isinstance(told, Note) and "with what was there" in told.detail
        assert run(door, "sudo docker images --quiet kept:1") and run(door, f"sudo cat {FILE}") == "precious\n"
        assert not tasks & set(run(door, TASKS).split()), "what ran before the cut is nobody's any more"

        cut(running)
        size_b = disk.stat().st_size
        with disk.open("r+b") as file:
            file.truncate(0)
            file.truncate(size_b)
        on_host("mke2fs", "-q", "-t", "ext4", "-L", "photos", str(disk))
        before = digest(disk)
        [told] = boot(running)
        assert isinstance(told, Trouble) and "labkit did not put there (photos, ext4)" in told.detail
        why = door("why", "blade1").stdout
        assert "without its disk" in why and "./lab disk wipe blade1" in why
        assert run(door, "findmnt -no FSTYPE /var/lib/docker") == "tmpfs\n"
        refused = door("disk", "wipe", "blade1")
        assert refused.returncode and "nothing will be wiped" in refused.stderr, "nobody was there to ask"
        assert door("disk", "wipe", "blade1", "--yes").returncode == 0
        shut_down(running, running.lab.blade("blade1"))
        assert digest(disk) == before

        [told] = boot(running)
        assert isinstance(told, Note) and "was wiped" in told.detail
        assert "all is well" in door("why", "blade1").stdout
        assert "/dev/vda" in run(door, "findmnt -no SOURCE /var/lib/docker")
        shut_down(running, running.lab.blade("blade1"))
        features = on_host("dumpe2fs", "-h", str(disk))
        assert "needs_recovery" not in features, "it was unmounted in order"


def test_boards_that_are_not_virtual_have_their_disks_too(tmp_path: Path) -> None:
    """A SATA disk by the name that its serial number gives it, and an NVMe drive."""
    text = """\
name: disks
boot: ipxe
network: {subnet: 10.90.0.0/24}
blades:
  - {name: red1, hardware: red, memory: 1024M, disk: {device: /dev/disk/by-id/ata-QEMU_HARDDISK_labkit-1, size: 1GiB}}
  - {name: pc1, hardware: pc, memory: 1024M, disk: {device: /dev/nvme0n1, size: 1GiB}}
"""
    with new_lab(tmp_path, text) as door:
        running = door.up()
        ensure_blades(running, running.lab.blades, until="os", timeout_s=1800)
        told = {event.blade: event.detail for event in running.events() if isinstance(event, Note | Trouble)}
        assert "ata-QEMU_HARDDISK_labkit-1 was empty" in told["red1"] and "/dev/nvme0n1 was empty" in told["pc1"]
