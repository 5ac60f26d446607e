"""A system of a person's own: as given, by each boot method, with a config by archive, by URL, or without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit import ignition
from labkit.boot import BootSecrets, ImageFile, Rendered, plan, plan_bare, resources, tree
from labkit.boot.artifacts import cpio
from labkit.boot.boot_plan import BootPlan
from labkit.boot.systems import custom_files, too_small
from labkit.events.stages import step_of
from labkit.lab import Blade, Lab, lab_yaml
from labkit.lab.secret import Secret
from labkit.netboot.boot_client.scripts import read_grub, read_ipxe, read_pxelinux

TICKET = "0123456789abcdef"

PXELINUX = """\
default custom
prompt 1
timeout 15

display boot.msg

label custom
menu default
kernel custom/blade1/kernel/linux
initrd custom/blade1/initrd/initrd.gz,custom/blade1/initrd/2-initrd.gz
append priority=low vga=788 -- quiet
"""

IPXE = """\
kernel ${root}/custom/blade1/kernel/linux initrd=initrd.gz initrd=2-initrd.gz priority=low vga=788 -- quiet \
|| goto failed
initrd --name initrd.gz ${root}/custom/blade1/initrd/initrd.gz || goto failed
initrd --name 2-initrd.gz ${root}/custom/blade1/initrd/2-initrd.gz || goto failed
boot || goto failed
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("linux", "initrd.gz", "more/initrd.gz", "odd, %name.img", "memtest86+x64.efi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def lab_of(folder: Path, custom: str, keys: str = "boot: pxelinux") -> Lab:
    text = f"os: custom\ncustom: {custom}\nblades: [{{name: blade1, {keys}}}]\n"
    return lab_yaml.parse(text, folder / "lab.yaml")


def planned(lab: Lab) -> tuple[Blade, BootPlan]:
    (blade,) = lab.blades
    return blade, plan(lab, blade, "b1", BootSecrets(Secret(TICKET)), ca="PEM\n")


GIVEN = "{kernel: linux, initrds: [initrd.gz, more/initrd.gz], arguments: priority=low vga=788 -- quiet}"


def test_a_kernel_and_its_archives_as_given(folder: Path) -> None:
    lab = lab_of(folder, GIVEN)
    blade, made = planned(lab)
    files = resources(lab, blade, made)
    menu = files["pxelinux.cfg/default"]
    assert isinstance(menu, Rendered) and menu.content.decode() == PXELINUX
    by_http = lab_of(folder, GIVEN, "boot: lpxelinux")
    menu = resources(by_http, *planned(by_http))["pxelinux.cfg/default"]
    assert isinstance(menu, Rendered)
    assert menu.content.decode() == PXELINUX.replace(" custom/", " http://10.77.0.1/custom/").replace(
        ",custom/", ",http://10.77.0.1/custom/"
    )
    by_ipxe = lab_of(folder, GIVEN, "boot: ipxe")
    script = resources(by_ipxe, *planned(by_ipxe))["boot.ipxe"]
    assert isinstance(script, Rendered)
    assert script.content.decode().partition("from ${root}\n")[2].partition("\n:failed")[0] == IPXE


def test_without_a_config_nothing_of_the_lab_goes_to_the_blade(folder: Path) -> None:
    lab = lab_of(folder, GIVEN)
    blade, made = planned(lab)
    assert not blade.is_node and made.ignition is None and made == plan_bare_of(lab)
    files = resources(lab, blade, made)
    assert not [name for name, file in files.items() if isinstance(file, Rendered) and file.secret]
    assert {name: path.read_bytes() for name, path in custom_files(blade).items()} == {
        "custom/blade1/kernel/linux": b"linux",
        "custom/blade1/initrd/initrd.gz": b"initrd.gz",
        "custom/blade1/initrd/2-initrd.gz": b"more/initrd.gz",
    }
    assert {name for name, file in files.items() if isinstance(file, ImageFile)} >= custom_files(blade).keys()
    assert tree(lab, blade, made).keys() == custom_files(blade).keys() | {
        "pxelinux.0", "ldlinux.c32", "boot.msg", "pxelinux.cfg/default",
    }  # fmt: skip
    assert not too_small(lab)


def plan_bare_of(lab: Lab) -> BootPlan:
    bare = plan_bare(lab, lab.blades[0])
    return BootPlan(**{**vars(bare), "boot": "b1"})


@pytest.mark.parametrize("method", ["pxelinux", "lpxelinux", "ipxe", "grub"])
def test_a_config_by_archive_is_behind_the_others(folder: Path, method: str) -> None:
    lab = lab_of(folder, "{kernel: linux, initrds: [initrd.gz], config: {archive: /etc/my.ign}}", f"boot: {method}")
    blade, made = planned(lab)
    assert blade.is_node and made.arguments == ()
    assert made.initrds == ("custom/blade1/initrd/initrd.gz", "custom/blade1/oem.cpio.gz")
    archive = resources(lab, blade, made)[made.initrds[-1]]
    assert isinstance(archive, Rendered) and archive.secret
    [config] = (entry for entry in cpio.unpack(archive.content) if not entry.is_folder)
    assert config.name == "etc/my.ign" and TICKET in config.data.decode()
    assert not ignition.validate(config.data).is_fatal


def test_a_config_by_url_is_served_to_its_blade_alone(folder: Path) -> None:
    lab = lab_of(folder, "{kernel: linux, arguments: ignition.firstboot, config: url}")
    blade, made = planned(lab)
    assert made.initrds == () and made.config == "custom/blade1/config.ign"
    assert made.arguments == (
        "ignition.firstboot", "ignition.config.url=http://10.77.0.1/custom/blade1/config.ign",
    )  # fmt: skip
    files = resources(lab, blade, made)
    config = files[made.config]
    assert isinstance(config, Rendered) and config.secret
    assert json.loads(config.content)["ignition"]["version"] == "3.3.0" and TICKET in config.content.decode()
    for name, file in files.items():
        assert not (isinstance(file, Rendered) and not file.secret and TICKET.encode() in file.content), name


def test_a_kernel_alone_is_a_boot(folder: Path) -> None:
    """A memory tester is one file that a loader takes for a kernel."""
    for method, name, read in (
        ("pxelinux", "pxelinux.cfg/default", read_pxelinux),
        ("ipxe", "boot.ipxe", read_ipxe),
        ("grub", "grub/grub.cfg", read_grub),
    ):
        lab = lab_of(folder, "{kernel: memtest86+x64.efi}", f"boot: {method}")
        blade, made = planned(lab)
        text = resources(lab, blade, made)[name]
        assert isinstance(text, Rendered)
        following = read(text.content.decode())
        assert following.kernel.endswith("custom/blade1/kernel/memtest86+x64.efi") and following.initrds == ()


def test_names_are_what_loaders_can_hold(folder: Path) -> None:
    """PXELINUX parts its archives by commas; a URL has no blank and no bare percent sign."""
    lab = lab_of(folder, '{kernel: linux, initrds: ["odd, %name.img"]}')
    assert list(custom_files(lab.blades[0])) == ["custom/blade1/kernel/linux", "custom/blade1/initrd/odd---name.img"]


def test_the_steps_of_such_a_boot_are_told() -> None:
    paths = ("custom/blade1/kernel/linux", "custom/blade1/initrd/x", "custom/kernel/config.ign", "custom/a/oem.cpio.gz")
    assert [step_of(path) for path in paths] == ["kernel", "initrd", "initrd", "initrd"]
