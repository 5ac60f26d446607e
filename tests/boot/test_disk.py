"""What a blade with a disk is given at boot, and one without is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from labkit import ignition
from labkit.boot import BootSecrets, plan
from labkit.boot.systems import SYSTEMS, needed_mib
from labkit.images.needs import least_mib
from labkit.lab import Flavour, Lab, lab_yaml
from labkit.lab.secret import Secret
from labkit.netboot import plans
from tests.boot.artifacts.test_golden_systems import RELEASES
from tests.boot.test_boot_plan import daemon_of, writing

UNIT = """\
[Unit]
Description=Put Docker's data on this blade's disk
After=local-fs.target
Before=docker.service labkit-hello.service

[Service]
Type=oneshot
RemainAfterExit=yes
# After a power cut a large filesystem is looked at first.
TimeoutStartSec=30min
ExecStart=%s/disk

[Install]
WantedBy=docker.service
"""
WIPE = "/etc/labkit/disk-wipe"


def lab(keys: str = "disk: /dev/vda") -> Lab:
    return lab_yaml.parse(f"blades: [{{name: blade1, {keys}}}]\n", Path("lab.yaml"))


def config(made: Lab, wipe: str = "") -> dict[str, Any]:
    (blade,) = made.blades
    planned = plan(made, blade, "b1", BootSecrets(Secret("t"), wipe), release=RELEASES.get(blade.os))
    assert planned.ignition is not None
    assert not ignition.validate(planned.ignition.reveal()).is_fatal
    found: dict[str, Any] = json.loads(planned.ignition.reveal())
    return found


def files(found: dict[str, Any]) -> dict[str, str]:
    return {
        file["path"]: unquote(file["contents"]["source"].removeprefix("data:,")) for file in found["storage"]["files"]
    }


@pytest.mark.parametrize("os", [os for os in Flavour if os is not Flavour.CUSTOM])
def test_the_script_runs_before_docker_on_every_system(os: Flavour) -> None:
    found = config(lab(f"disk: /dev/disk/by-id/virtio-labkit-1, os: {os}"))
    units = {unit["name"]: unit for unit in found["systemd"]["units"]}
    scripts = SYSTEMS[os].scripts
    assert units["labkit-disk.service"]["contents"] == UNIT % scripts
    assert units["labkit-disk.service"]["enabled"] is True
    drop_ins = {one["name"]: one["contents"] for one in units["docker.service"]["dropins"]}
    after = "[Unit]\nAfter=var-lib-docker.mount var-lib-docker-swarm.mount\n"
    assert drop_ins["10-labkit-disk.conf"] == after, "at a shutdown Docker ends before its disk goes"
    script = files(found)[f"{scripts}/disk"]
    assert "\ndisk=/dev/disk/by-id/virtio-labkit-1\ndata=/var/lib/docker\n" in script and WIPE not in files(found)
    assert f"yes={WIPE}\n" in script
    assert "com.docker.swarm.task.id" in files(found)[f"{scripts}/join"]


def test_without_a_disk_there_is_nothing_of_it() -> None:
    found = config(lab("role: worker"))
    assert "labkit-disk.service" not in json.dumps(found) and "/etc/labkit/disk" not in files(found)
    assert "com.docker.swarm.task.id" not in files(found)["/etc/labkit/join"]
    assert "features" not in json.loads(files(found)["/etc/docker/daemon.json"])


def test_a_yes_is_of_one_boot_and_makes_no_other_version() -> None:
    made = lab()
    assert files(config(made, "0123456789abcdef"))[WIPE] == "0123456789abcdef\n"
    assert WIPE not in files(config(lab("role: worker"), "0123456789abcdef"))
    versions = {
        plans.prepare_with(plans.Own(), None, made, made.blades[0], "b1", BootSecrets(Secret("t"), mark))[0].version
        for mark in ("", "0123456789abcdef")
    }
    assert len(versions) == 1


def test_images_are_kept_where_the_disk_is() -> None:
    made = lab()

    def daemon(text: str) -> dict[str, Any]:
        return daemon_of(plan(made, made.blades[0], "b", BootSecrets(Secret("t")), writing(text)))

    assert daemon("{}")["features"] == {"containerd-snapshotter": False}
    theirs = '{"features": {"buildkit": true, "containerd-snapshotter": true}}'
    assert daemon(theirs)["features"] == {"buildkit": True, "containerd-snapshotter": True}, (
        "a person's own word counts"
    )


def test_with_docker_on_a_disk_labos_needs_less_memory() -> None:
    assert [needed_mib(lab(keys).blades[0]) for keys in ("disk: none", "disk: /dev/vda")] == [1536, 1024]
    assert [least_mib(lab(keys)) for keys in ("disk: none", "disk: /dev/vda")] == [1536, 1024]
    assert needed_mib(lab("os: flatcar, disk: /dev/vda").blades[0]) == 3072, "nobody has tried it with less"
    assert least_mib(lab_yaml.parse("blades: []\n", Path("lab.yaml"))) == 1536
