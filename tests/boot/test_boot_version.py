"""What a boot brings: the same word for the same image and config, and another for every other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from labkit.boot import BaseConfig
from labkit.boot.boot_version import LENGTH, boot_version
from labkit.errors import PlanError
from labkit.lab import BootMethod, Lab, lab_yaml

IMAGES = {"labos/vmlinuz": "k1", "labos/labos.cpio": "i1"}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return lab_yaml.parse("blades: [{name: blade1}, {name: blade2}]\n", tmp_path / "lab.yaml")


def config(text: str) -> BaseConfig:
    file = {"path": "/etc/motd", "contents": {"source": f"data:,{text}"}}
    return BaseConfig("mine.bu", {"ignition": {"version": "3.3.0"}, "storage": {"files": [file]}})


def test_the_same_is_the_same_and_everything_that_runs_counts(lab: Lab) -> None:
    blade = lab.blades[0]
    first = boot_version(lab, blade, config("a"), ca="CA", images=IMAGES)
    assert len(first) == LENGTH and int(first, 16)
    assert boot_version(lab, blade, config("a"), ca="CA", images=dict(IMAGES)) == first
    others = [
        boot_version(lab, blade, config("b"), ca="CA", images=IMAGES),
        boot_version(lab, blade, None, ca="CA", images=IMAGES),
        boot_version(lab, blade, config("a"), ca="another", images=IMAGES),
        boot_version(lab, blade, config("a"), ca="CA", images={**IMAGES, "labos/vmlinuz": "k2"}),
        boot_version(lab, blade, config("a"), ca="CA", images={**IMAGES, "labos/labos.cpio": "i2"}),
        boot_version(lab, blade, config("a"), ca="CA", images={}),
        boot_version(replace(lab, ssh_keys=("ssh-ed25519 AAAA me",)), blade, config("a"), ca="CA", images=IMAGES),
        boot_version(lab, replace(blade, autologin=False), config("a"), ca="CA", images=IMAGES),
    ]
    assert len({first, *others}) == len(others) + 1


def test_another_loader_brings_the_same(lab: Lab) -> None:
    ways = {boot_version(lab, replace(lab.blades[0], boot=method), images=IMAGES) for method in BootMethod}
    assert len(ways) == 1


def test_what_cannot_be_planned_has_no_version(lab: Lab) -> None:
    taken = {"path": "/etc/hostname", "contents": {"source": "data:,x"}}
    base = BaseConfig("mine.bu", {"ignition": {"version": "3.3.0"}, "storage": {"files": [taken]}})
    with pytest.raises(PlanError, match="/etc/hostname"):
        boot_version(lab, lab.blades[0], base, images=IMAGES)
