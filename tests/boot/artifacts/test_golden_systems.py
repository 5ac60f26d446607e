"""What a loader is given for the systems that others make, letter for letter, by each boot method.

The arguments are those of their documents: Flatcar's "Booting via PXE", Fedora CoreOS's "Live ISO and PXE image
reference".
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.boot import BootSecrets, ImageFile, Release, Rendered, Resource, plan, plan_bare, resources, tree
from labkit.boot.artifacts import cpio
from labkit.boot.boot_plan import BootPlan
from labkit.lab import Blade, Lab, lab_yaml
from labkit.lab.secret import Secret

FLATCAR = Release("4593.2.5", ("flatcar_production_pxe.vmlinuz", "flatcar_production_pxe_image.cpio.gz", "version.txt"))
COREOS = Release(
    "43.20260714.3.1",
    (
        "fedora-coreos-43.20260714.3.1-live-initramfs.x86_64.img",
        "fedora-coreos-43.20260714.3.1-live-kernel.x86_64",
        "fedora-coreos-43.20260714.3.1-live-rootfs.x86_64.img",
        "fedora-coreos-43.20260714.3.1-live-rootfs.x86_64.img.sig",
    ),
)
RELEASES = {"flatcar": FLATCAR, "fedora-coreos": COREOS, "labos": None, "container-linux": None}

MENU = """\
default {label}
prompt 1
timeout 15

display boot.msg

label {label}
menu default
kernel {kernel}
initrd {initrd}
append {append}
"""

SCRIPT = """\
#!ipxe
# blade1: made by labkit when it was asked for
set root http://10.77.0.1
set tries:int32 0

:again
imgfree
echo labkit: blade1 fetches from ${{root}}
kernel ${{root}}/{kernel} {names} {append} || goto failed
{initrds}
boot || goto failed

:failed
inc tries
echo labkit: try ${{tries}} did not work: ${{errno}}; the server's events say more (./lab events blade1)
sleep 3
iseq ${{tries}} 10 || goto again
exit 1
"""

GRUB = """\
# blade1: made by labkit when it was asked for
for try in 1 2 3; do
  echo "labkit: blade1 fetches over TFTP"
  if linux /{kernel} {append}; then
    if initrd {initrds}; then
      boot
    fi
  fi
  echo "labkit: try $try did not work; the server's events say more (./lab events blade1)"
  sleep 3
done
echo "labkit: the machine starts again in 20 seconds"
sleep 20
reboot
"""

F = "flatcar/4593.2.5"
C = "fedora-coreos/43.20260714.3.1"
LIVE = f"{C}/fedora-coreos-43.20260714.3.1-live"
H = "http://10.77.0.1"
ON_CONSOLES = "console=tty0 console=ttyS0,115200"
FIRST = "ignition.firstboot ignition.platform.id=metal"

GOLDEN = {
    ("flatcar", "pxelinux"): MENU.format(
        label="flatcar",
        kernel=f"{F}/flatcar_production_pxe.vmlinuz",
        initrd=f"{F}/flatcar_production_pxe_image.cpio.gz,{F}/oem.cpio.gz",
        append=f"flatcar.first_boot=1 {ON_CONSOLES} flatcar.autologin",
    ),
    ("flatcar", "lpxelinux"): MENU.format(
        label="flatcar",
        kernel=f"{H}/{F}/flatcar_production_pxe.vmlinuz",
        initrd=f"{H}/{F}/flatcar_production_pxe_image.cpio.gz,{H}/{F}/oem.cpio.gz",
        append=f"flatcar.first_boot=1 {ON_CONSOLES} flatcar.autologin",
    ),
    ("flatcar", "ipxe"): SCRIPT.format(
        kernel=f"{F}/flatcar_production_pxe.vmlinuz",
        names="initrd=flatcar_production_pxe_image.cpio.gz initrd=oem.cpio.gz",
        append=f"flatcar.first_boot=1 {ON_CONSOLES} flatcar.autologin",
        initrds="initrd --name flatcar_production_pxe_image.cpio.gz "
        f"${{root}}/{F}/flatcar_production_pxe_image.cpio.gz || goto failed\n"
        f"initrd --name oem.cpio.gz ${{root}}/{F}/oem.cpio.gz || goto failed",
    ),
    ("fedora-coreos", "pxelinux"): MENU.format(
        label="fedora-coreos",
        kernel=f"{LIVE}-kernel.x86_64",
        initrd=f"{LIVE}-initramfs.x86_64.img,{LIVE}-rootfs.x86_64.img,{C}/oem.cpio.gz",
        append=f"{FIRST} {ON_CONSOLES}",
    ),
    ("fedora-coreos", "lpxelinux"): MENU.format(
        label="fedora-coreos",
        kernel=f"{H}/{LIVE}-kernel.x86_64",
        initrd=f"{H}/{LIVE}-initramfs.x86_64.img,{H}/{C}/oem.cpio.gz",
        append=f"coreos.live.rootfs_url={H}/{LIVE}-rootfs.x86_64.img {FIRST} {ON_CONSOLES}",
    ),
    ("fedora-coreos", "ipxe"): SCRIPT.format(
        kernel=f"{LIVE}-kernel.x86_64",
        names="initrd=fedora-coreos-43.20260714.3.1-live-initramfs.x86_64.img initrd=oem.cpio.gz",
        append=f"coreos.live.rootfs_url={H}/{LIVE}-rootfs.x86_64.img {FIRST} {ON_CONSOLES}",
        initrds="initrd --name fedora-coreos-43.20260714.3.1-live-initramfs.x86_64.img "
        f"${{root}}/{LIVE}-initramfs.x86_64.img || goto failed\n"
        f"initrd --name oem.cpio.gz ${{root}}/{C}/oem.cpio.gz || goto failed",
    ),
    ("labos", "pxelinux"): MENU.format(
        label="labos",
        kernel="labos/vmlinuz",
        initrd="labos/labos.cpio,labos/oem.cpio.gz",
        append=f"coreos.first_boot=1 coreos.config.url=oem:///raw.ign apparmor=0 panic=20 {ON_CONSOLES} "
        "coreos.autologin",
    ),
    ("container-linux", "lpxelinux"): MENU.format(
        label="coreos",
        kernel=f"{H}/coreos/coreos_production_pxe.vmlinuz",
        initrd=f"{H}/coreos/coreos_production_pxe_image.cpio.gz,{H}/coreos/oem.cpio.gz",
        append=f"coreos.first_boot=1 coreos.config.url=oem:///raw.ign {ON_CONSOLES} coreos.autologin",
    ),
    ("container-linux", "ipxe"): SCRIPT.format(
        kernel="coreos/coreos_production_pxe.vmlinuz",
        names="initrd=coreos_production_pxe_image.cpio.gz initrd=oem.cpio.gz",
        append=f"coreos.first_boot=1 coreos.config.url=oem:///raw.ign {ON_CONSOLES} coreos.autologin",
        initrds="initrd --name coreos_production_pxe_image.cpio.gz "
        "${root}/coreos/coreos_production_pxe_image.cpio.gz || goto failed\n"
        "initrd --name oem.cpio.gz ${root}/coreos/oem.cpio.gz || goto failed",
    ),
    ("labos", "grub"): GRUB.format(
        kernel="labos/vmlinuz",
        append="coreos.first_boot=1 coreos.config.url=oem:///raw.ign apparmor=0 panic=20 "
        f"{ON_CONSOLES} coreos.autologin",
        initrds="/labos/labos.cpio /labos/oem.cpio.gz",
    ),
    ("flatcar", "grub"): GRUB.format(
        kernel=f"{F}/flatcar_production_pxe.vmlinuz",
        append=f"flatcar.first_boot=1 {ON_CONSOLES} flatcar.autologin",
        initrds=f"/{F}/flatcar_production_pxe_image.cpio.gz /{F}/oem.cpio.gz",
    ),
    ("fedora-coreos", "grub"): GRUB.format(
        kernel=f"{LIVE}-kernel.x86_64",
        append=f"coreos.live.rootfs_url={H}/{LIVE}-rootfs.x86_64.img {FIRST} {ON_CONSOLES}",
        initrds=f"/{LIVE}-initramfs.x86_64.img /{C}/oem.cpio.gz",
    ),
    ("container-linux", "grub"): GRUB.format(
        kernel="coreos/coreos_production_pxe.vmlinuz",
        append=f"coreos.first_boot=1 coreos.config.url=oem:///raw.ign {ON_CONSOLES} coreos.autologin",
        initrds="/coreos/coreos_production_pxe_image.cpio.gz /coreos/oem.cpio.gz",
    ),
}
READ = {"ipxe": "boot.ipxe", "grub": "grub/grub.cfg"}


def booted(os: str, method: str) -> tuple[Lab, Blade, BootPlan]:
    lab = lab_yaml.parse(f"blades: [{{name: blade1, os: {os}, boot: {method}}}]\n", Path("lab.yaml"))
    made = plan(lab, lab.blades[0], "b1", BootSecrets(Secret("opened sesame")), release=RELEASES[os])
    return lab, lab.blades[0], made


@pytest.mark.parametrize(("os", "method"), GOLDEN)
def test_what_the_loader_reads(os: str, method: str) -> None:
    lab, blade, made = booted(os, method)
    one = resources(lab, blade, made)[READ.get(method, "pxelinux.cfg/default")]
    assert isinstance(one, Rendered) and not one.secret
    assert one.content.decode() == GOLDEN[os, method]


TREES: dict[tuple[str, str], set[str]] = {
    ("flatcar", "pxelinux"): {
        "flatcar/4593.2.5/flatcar_production_pxe.vmlinuz",
        "flatcar/4593.2.5/flatcar_production_pxe_image.cpio.gz",
        "flatcar/4593.2.5/oem.cpio.gz",
    },
    ("fedora-coreos", "pxelinux"): {
        f"{LIVE}-kernel.x86_64", f"{LIVE}-initramfs.x86_64.img", f"{LIVE}-rootfs.x86_64.img", f"{C}/oem.cpio.gz",
    },
    ("fedora-coreos", "ipxe"): {
        f"{LIVE}-kernel.x86_64", f"{LIVE}-initramfs.x86_64.img", f"{LIVE}-rootfs.x86_64.img", f"{C}/oem.cpio.gz",
    },
    ("fedora-coreos", "grub"): {
        f"{LIVE}-kernel.x86_64", f"{LIVE}-initramfs.x86_64.img", f"{LIVE}-rootfs.x86_64.img", f"{C}/oem.cpio.gz",
    },
}  # fmt: skip


@pytest.mark.parametrize(("os", "method"), TREES)
def test_what_a_blade_may_fetch(os: str, method: str) -> None:
    """No signature, and the rootfs also where no loader names it: the system fetches it by itself."""
    lab, blade, made = booted(os, method)

    def of_system(files: dict[str, Resource]) -> set[str]:
        return {name for name in files if name.startswith(f"{os}/")}

    files = dict(resources(lab, blade, made))
    assert of_system(files) == of_system(dict(tree(lab, blade, made))) == TREES[os, method]
    assert [name for name in TREES[os, method] if not isinstance(files[name], ImageFile)] == [made.initrds[-1]]
    assert made.release == (RELEASES[os] or COREOS).version


CONFIGS = {
    "labos": ("usr/share/oem/raw.ign", "3.3.0"),
    "flatcar": ("usr/share/oem/config.ign", "3.3.0"),
    "fedora-coreos": ("config.ign", "3.3.0"),
    "container-linux": ("usr/share/oem/raw.ign", "2.3.0"),
}


@pytest.mark.parametrize("os", CONFIGS)
def test_the_config_lies_where_its_ignition_looks(os: str) -> None:
    lab, blade, made = booted(os, "ipxe")
    archive = resources(lab, blade, made)[made.initrds[-1]]
    assert isinstance(archive, Rendered) and archive.secret
    [config] = (entry for entry in cpio.unpack(archive.content) if not entry.is_folder)
    assert (config.name, json.loads(config.data)["ignition"]["version"], config.mode & 0o777) == (*CONFIGS[os], 0o600)


@pytest.mark.parametrize(
    ("os", "method", "arguments", "initrds"),
    [
        ("flatcar", "pxelinux", ("flatcar.first_boot=1",), (f"{F}/flatcar_production_pxe_image.cpio.gz",)),
        ("fedora-coreos", "pxelinux", tuple(FIRST.split()),
         (f"{LIVE}-initramfs.x86_64.img", f"{LIVE}-rootfs.x86_64.img")),
        ("fedora-coreos", "ipxe", (f"coreos.live.rootfs_url={H}/{LIVE}-rootfs.x86_64.img", *FIRST.split()),
         (f"{LIVE}-initramfs.x86_64.img",)),
    ],
)  # fmt: skip
def test_a_boot_without_a_config(os: str, method: str, arguments: tuple[str, ...], initrds: tuple[str, ...]) -> None:
    lab, blade, _ = booted(os, method)
    bare = plan_bare(lab, blade, RELEASES[os])
    assert (bare.arguments, bare.initrds, bare.ignition) == (arguments, initrds, None)
    assert not [name for name, one in resources(lab, blade, bare).items() if isinstance(one, Rendered) and one.secret]


def test_consoles_that_nobody_chose_get_a_hint() -> None:
    """The line to try stands in the menu; VGA's logins are on tty1 in Flatcar's words."""
    text = "blades: [{name: blade1, os: flatcar, boot: pxelinux, console: [], autologin: false}]\n"
    lab = lab_yaml.parse(text, Path("lab.yaml"))
    made = plan(lab, lab.blades[0], "b1", BootSecrets(Secret("opened sesame")), release=FLATCAR)
    menu = resources(lab, lab.blades[0], made)["pxelinux.cfg/default"]
    assert isinstance(menu, Rendered)
    assert menu.content.decode().splitlines()[-2:] == [
        "# append console=tty0 console=ttyS1 flatcar.autologin=tty1", "append flatcar.first_boot=1",
    ]  # fmt: skip
