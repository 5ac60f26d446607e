"""The table of systems: which files a boot takes, what each system's overlay adds, and how much memory it wants."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from labkit import ignition
from labkit.boot import SYSTEMS, BaseConfig, BootSecrets, Release, plan
from labkit.boot.systems import files_of, needed_mib, too_small, untrusted
from labkit.errors import PlanError
from labkit.lab import Blade, ChassisKind, Custom, Flavour, Lab, lab_yaml
from labkit.lab.secret import Secret
from tests.boot.artifacts.test_golden_systems import COREOS, RELEASES
from tests.rig.known import causes

FCOS = "variant: fcos\nversion: 1.7.0\n"
FLATCAR = "variant: flatcar\nversion: 1.1.0\n"
MOTD = "storage:\n  files:\n    - path: /etc/motd\n      contents:\n        inline: hello\n"
CLC = "storage:\n  files:\n    - path: /etc/motd\n      filesystem: root\n      contents: {inline: hello}\n"


def one_blade(keys: str) -> Lab:
    return lab_yaml.parse(f"blades: [{{name: blade1, {keys}}}]\n", Path("lab.yaml"))


def config(lab: Lab, base: BaseConfig | None = None, ca: str = "") -> dict[str, Any]:
    (blade,) = lab.blades
    made = plan(lab, blade, "b1", BootSecrets(Secret("t")), base, ca=ca, release=RELEASES[blade.os])
    assert made.ignition is not None
    assert not ignition.validate(made.ignition.reveal()).is_fatal
    found: dict[str, Any] = json.loads(made.ignition.reveal())
    return found


def units_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {unit["name"]: unit for unit in config["systemd"]["units"]}


def written(source: str) -> BaseConfig:
    return BaseConfig("own.bu", json.loads(ignition.transpile(source).config))


def test_every_system_has_its_row() -> None:
    assert list(SYSTEMS) == list(Flavour)
    for os, system in SYSTEMS.items():
        if os is Flavour.CUSTOM:
            continue  # a person says what that is
        assert system.memory_mib and system.first_boot and system.config, os
        assert bool(system.rootfs) == bool(system.rootfs_argument) == bool(system.loaded_mib), os
        assert system.writes in ("2.3.0", "3.3.0"), os


# --- files ------------------------------------------------------------------------------------------------------------


def blade_of(keys: str) -> Blade:
    (blade,) = one_blade(keys).blades
    return blade


@pytest.mark.parametrize("dot", [".", "-"])
def test_a_kernel_of_either_name_is_taken(dot: str) -> None:
    """Since Fedora CoreOS 42 there is a dot before the architecture."""
    names = (f"fedora-coreos-41.1-live-kernel{dot}x86_64", "fedora-coreos-41.1-live-initramfs.x86_64.img",
             "fedora-coreos-41.1-live-rootfs.x86_64.img")  # fmt: skip
    files = files_of(blade_of("os: fedora-coreos"), Release("41.1", names))
    assert files.kernel == f"fedora-coreos/41.1/{names[0]}"
    assert (files.initrds, files.fetched) == ((f"fedora-coreos/41.1/{names[1]}",), f"fedora-coreos/41.1/{names[2]}")


@pytest.mark.parametrize("part", ["kernel", "initramfs", "rootfs"])
def test_a_part_that_is_missing_is_named(part: str) -> None:
    left = dataclasses.replace(COREOS, files=tuple(name for name in COREOS.files if f"live-{part}" not in name))
    with causes("release-not-whole") as caught:
        files_of(blade_of("os: fedora-coreos"), left)
    assert caught.value.what.startswith(f"the release has no fedora-coreos-*-live-{part}")
    assert caught.value.where == "fedora-coreos/43.20260714.3.1 (for blade1)"
    assert "./lab images fetch fedora-coreos --version 43.20260714.3.1" in caught.value.fix


def test_two_builds_in_one_folder_are_refused() -> None:
    """Kernel, initramfs and rootfs of Fedora CoreOS have to be of one build."""
    other = "fedora-coreos-42.1-live-kernel.x86_64"
    mixed = dataclasses.replace(COREOS, files=(other, *COREOS.files))
    with causes("release-not-whole") as caught:
        files_of(blade_of("os: fedora-coreos"), mixed)
    assert f"the release has {other} and " in caught.value.what and caught.value.what.endswith(", and one is booted")


@pytest.mark.parametrize("os", ["flatcar", "fedora-coreos"])
def test_no_release_is_no_plan(os: str) -> None:
    lab = one_blade(f"os: {os}")
    with pytest.raises(PlanError, match=f"nothing says which release of {os} to boot") as caught:
        plan(lab, lab.blades[0], "b1", BootSecrets(Secret("t")))
    assert (caught.value.where, caught.value.fix) == ("blade1", f"./lab images fetch {os}")


# --- the overlay ------------------------------------------------------------------------------------------------------


def test_docker_is_turned_on_where_it_is_off() -> None:
    docker = units_of(config(one_blade("os: fedora-coreos")))["docker.service"]
    assert docker["enabled"] is True and "contents" not in docker
    drop_in, _ = docker["dropins"]
    assert drop_in["name"] == "10-labkit-swarm.conf" and drop_in["contents"].startswith("[Service]\nExecStartPre=-")
    for os in ("labos", "flatcar", "container-linux"):
        assert "enabled" not in units_of(config(one_blade(f"os: {os}")))["docker.service"]


FAILURES = {
    "docker.service": "[Unit]\nOnFailure=labkit-failed@%n.service\nStartLimitIntervalSec=300\nStartLimitBurst=5\n",
    "emergency.target": "[Unit]\nWants=labkit-failed@%n.service\n",
}


@pytest.mark.parametrize("os", [os for os in Flavour if os is not Flavour.CUSTOM])
@pytest.mark.parametrize("own", [False, True])
def test_every_system_lets_a_blade_say_that_its_docker_does_not_start(os: Flavour, own: bool) -> None:
    source = CLC if os is Flavour.CONTAINER_LINUX else FLATCAR + MOTD
    made = config(one_blade(f"os: {os}"), written(source) if own else None)
    units, scripts = units_of(made), SYSTEMS[os].scripts
    for name, contents in FAILURES.items():
        drop_ins = {one["name"]: one["contents"] for one in units[name]["dropins"]}
        assert drop_ins["10-labkit-failed.conf"] == contents
    assert units["labkit-failed@.service"]["contents"].endswith(f"\nType=oneshot\nExecStart={scripts}/failed %i\n")
    assert f"{scripts}/failed" in {file["path"] for file in made["storage"]["files"]}


@pytest.mark.skipif(shutil.which("sed") is None, reason="sed is not installed")
def test_live_restore_is_taken_out_of_fedoras_options(tmp_path: Path) -> None:
    """The line that the drop-in runs, on what Fedora's package ships: an engine with live-restore joins no swarm."""
    options = tmp_path / "docker"
    options.write_text(
        'OPTIONS="--selinux-enabled \\\n  --log-driver=journald \\\n  --live-restore \\\n  --x=1:1 \\\n"\n'
    )
    [drop_in] = SYSTEMS[Flavour.FEDORA_COREOS].drop_ins
    words = drop_in.contents.splitlines()[1].removeprefix("ExecStartPre=-/usr/bin/").split()
    assert words[-1] == "/etc/sysconfig/docker"
    subprocess.run([*words[:-1], str(options)], check=True, timeout=10)
    assert options.read_text().split() == [
        'OPTIONS="--selinux-enabled', "\\", "--log-driver=journald", "\\", "\\", "--x=1:1", "\\", '"',
    ]  # fmt: skip


def test_selinux_lets_systemd_run_the_scripts() -> None:
    """In a folder for programs, /usr/local/bin, a file is labelled as one; /usr of the others cannot be written to."""
    for os, folder in (
        ("fedora-coreos", "/usr/local/bin/labkit"),
        ("flatcar", "/etc/labkit"),
        ("labos", "/etc/labkit"),
    ):
        made = config(one_blade(f"os: {os}"), ca="PEM\n")
        files = {file["path"]: file for file in made["storage"]["files"]}
        for name in ("hello", "join", "leave"):
            assert files[f"{folder}/{name}"]["mode"] == 0o755
            assert f"\n. {folder}/lab.sh\n" in unquote(files[f"{folder}/{name}"]["contents"]["source"])
        assert files["/etc/labkit/ticket"]["mode"] == 0o600
        assert "--header @/etc/labkit/ticket" in unquote(files[f"{folder}/lab.sh"]["contents"]["source"])
        runs = [line for unit in made["systemd"]["units"] for line in unit.get("contents", "").splitlines()]
        assert f"ExecStart={folder}/join" in runs and f"ExecStop={folder}/leave" in runs


@pytest.mark.parametrize(
    ("os", "network"),
    [("fedora-coreos", "NetworkManager.service"), ("flatcar", "systemd-networkd.service")],
)
def test_the_leave_unit_stops_before_the_network(os: str, network: str) -> None:
    contents = units_of(config(one_blade(f"os: {os}")))["docker-swarm-leave.service"]["contents"]
    [after] = [line for line in contents.splitlines() if line.startswith("After=")]
    assert network in after.split() and "docker.service" in after


def test_a_system_without_the_argument_gets_its_shells_by_drop_ins() -> None:
    units = units_of(config(one_blade('os: fedora-coreos, console: [tty0, "ttyS1,115200", tty3]')))
    shells = {"getty@tty1.service", "serial-getty@ttyS1.service", "getty@tty3.service"}
    assert {name for name in units if "getty@" in name} == shells
    for name in shells:
        [drop_in] = units[name]["dropins"]
        assert "\nExecStart=\nExecStart=-/usr/sbin/agetty --autologin core " in drop_in["contents"]
    assert [name for name in units_of(config(one_blade("os: fedora-coreos, console: []"))) if "getty@" in name] == [
        "getty@tty1.service"
    ]
    assert not [n for n in units_of(config(one_blade("os: fedora-coreos, autologin: false"))) if "getty@" in n]
    assert not [name for name in units_of(config(one_blade("os: flatcar"))) if "getty@" in name]


def test_a_persons_config_is_merged_in_its_own_version() -> None:
    for os, source, version in (
        ("fedora-coreos", FCOS + MOTD, "3.6.0"), ("fedora-coreos", FLATCAR + MOTD, "3.4.0"),
        ("flatcar", FLATCAR + MOTD, "3.4.0"), ("flatcar", CLC, "3.3.0"), ("flatcar", FCOS + MOTD, "3.4.0"),
        ("fedora-coreos", CLC, "3.3.0"),
    ):  # fmt: skip
        made = config(one_blade(f"os: {os}"), written(source))
        assert made["ignition"]["version"] == version, (os, source)
        assert "/etc/motd" in {file["path"] for file in made["storage"]["files"]}
        assert "docker-swarm-join.service" in units_of(made)


def test_a_persons_unit_keeps_its_own_drop_ins() -> None:
    own = "systemd:\n  units:\n    - name: docker.service\n      dropins:\n        - name: 20-own.conf\n" + (
        "          contents: |\n            [Service]\n            Nice=5\n"
    )
    docker = units_of(config(one_blade("os: fedora-coreos"), written(FCOS + own)))["docker.service"]
    assert {one["name"] for one in docker["dropins"]} == {
        "10-labkit-swarm.conf", "10-labkit-failed.conf", "20-own.conf"
    }  # fmt: skip
    assert docker["enabled"] is True


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ("os: flatcar", 3072),
        ("os: flatcar, boot: pxelinux", 3072),
        ("os: fedora-coreos", 2048),
        ("os: fedora-coreos, boot: ipxe", 2048),
        ("os: fedora-coreos, boot: pxelinux", 4096),
        ("os: labos", 1536),
    ],
)
def test_what_a_system_needs(keys: str, needed: int) -> None:
    lab = one_blade(f"{keys}, memory: {needed - 1}")
    assert needed_mib(lab.blades[0]) == needed
    [(blade, what, fix)] = too_small(lab)
    assert blade.name == "blade1" and what.startswith(f"blade1 has {needed - 1:,} MiB of memory, and ")
    assert f" needs {needed:,}" in what and fix.startswith(f"memory: {needed}M for blade1 in lab.yaml")
    assert ("boot: ipxe" in fix) == (needed == 4096)
    assert not too_small(one_blade(f"{keys}, memory: {needed}"))


SECURE = "boot: grub, firmware: uefi-secure"


@pytest.mark.parametrize(
    ("os", "what", "fix"),
    [
        ("labos", "", ""),
        ("flatcar", "the kernel of flatcar is signed by Flatcar: Debian's shim refuses it", "os: labos"),
        ("fedora-coreos", "fedora-coreos is signed by Fedora", "os: labos for blade1"),
        ("container-linux", "container-linux has no signature", "firmware: uefi"),
    ],
)
def test_whose_kernels_secure_boot_lets_run(os: str, what: str, fix: str) -> None:
    found = untrusted(one_blade(f"os: {os}, {SECURE}"))
    assert bool(found) == bool(what)
    for blade, said, to_do in found:
        assert blade.name == "blade1" and what in said and fix in to_do
    assert not untrusted(one_blade(f"os: {os}, boot: grub, firmware: uefi"))


def test_a_kernel_of_ones_own_may_be_signed_by_anybody() -> None:
    lab = one_blade(SECURE)
    own = dataclasses.replace(lab.blades[0], os=Flavour.CUSTOM, custom=Custom(Path("linux")))
    assert not untrusted(dataclasses.replace(lab, blades=(own,)))


def test_a_real_blades_memory_is_known_once_it_told() -> None:
    lab = one_blade("os: flatcar")
    assert too_small(lab)
    real = dataclasses.replace(lab, chassis=dataclasses.replace(lab.chassis, kind=ChassisKind.IPMI))
    assert not too_small(real) and not too_small(real, {"blade1": 3072})
    [(_, what, fix)] = too_small(real, {"blade1": 2048})
    assert what == "blade1 has 2,048 MiB of memory, and flatcar needs 3,072"
    assert "more memory in it" in fix and "./lab inventory blade1" in fix
    assert too_small(lab, {"blade1": 9999}) == too_small(lab), "a virtual blade's is in lab.yaml"
