"""The systems a blade can boot, one value each. PURE.

A new system is a row of `SYSTEMS`, a member of `labkit.lab.Flavour`, and its golden files. The rows are from the
systems' own documents: Flatcar's "Booting via PXE" and its bootengine (dracut/53ignition), Fedora CoreOS's "Live ISO
and PXE image reference" and its fedora-coreos-config (35coreos-live, 35coreos-ignition), and coreos-installer, whose
``pxe ignition wrap`` makes an archive with ``config.ign`` at its root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from labkit.boot.artifacts.units import FOLDER, NETWORKD, DropIn
from labkit.errors import PlanError
from labkit.lab import Blade, BootMethod, ChassisKind, ConfigBy, FirmwareKind, Flavour, Lab

ARCHIVE = "oem.cpio.gz"
"""What a blade's own archive is served as, beside the files of its system."""


@dataclass(frozen=True)
class Release:
    """A release of a system that has several: its version, and the names of the files that are there of it."""

    version: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class System:
    """How an operating system wants to be booted, and what has to be done to it to make it a node.

    ``about`` says to a person what it is, ``label`` is what a loader's menu calls it, ``folder`` where its files lie
    below the server's root, for each release in a folder of its own. ``kernel``, ``image`` and ``rootfs`` are its
    files' names, as patterns (fnmatch(3)) where a name holds the version: the archive a loader takes to memory, and the
    part that the system fetches by itself over HTTP, named by ``rootfs_argument``, or else wants as one more archive.

    ``config`` is where its Ignition looks for a config in the blade's own archive. ``reads`` are the first and the last
    spec that the Ignition of today's releases understands, ``writes`` the one that a config of ours alone is written
    in, which their predecessors understand too. ``first_boot`` are the arguments that let Ignition run, and
    ``arguments`` what else goes with a config.

    ``memory_mib`` is the least it boots with, ``loaded_mib`` that with its rootfs as an archive, ``on_disk_mib`` that
    with Docker on a disk, 0 where nobody has tried less. ``autologin`` is the argument for a shell on the consoles; a
    system without such an argument gets it by drop-ins. ``consoles`` are those it uses where no argument names one,
    ``hint`` a line for who looks for others.

    Docker is there in each. ``enables`` are the units to enable where it is not on by itself, with ``drop_ins`` that it
    needs for a swarm. ``scripts`` is the folder for what units run, ``network`` the units that a unit must be stopped
    before to have the network when it stops. ``ended`` warns of a system that is no longer made.

    ``signer`` is who signed its kernel for Secure Boot, empty for nobody, and None where only a person knows.
    """

    about: str
    label: str
    folder: str
    kernel: str
    image: str
    config: str
    reads: tuple[str, str]
    writes: str
    first_boot: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    autologin: str = ""
    hint: str = ""
    memory_mib: int = 0
    on_disk_mib: int = 0
    rootfs: str = ""
    rootfs_argument: str = ""
    loaded_mib: int = 0
    consoles: tuple[str, ...] = ("tty0",)
    enables: tuple[str, ...] = ()
    drop_ins: tuple[DropIn, ...] = ()
    scripts: str = FOLDER
    network: tuple[str, ...] = NETWORKD
    ended: str = ""
    signer: str | None = ""


DEBIAN = "Debian"
"""Who signs the kernel of labos, and made the shim that is served. A shim trusts its maker."""

OEM_RAW = ("coreos.config.url=oem:///raw.ign",)

SYSTEMS: Mapping[Flavour, System] = {
    # AppArmor is in Debian's kernel but its parser is not in the image: containers would fail to start. A kernel whose
    # system came broken starts the blade again, seconds later: PXELINUX takes what it has for the whole of a file when
    # an HTTP server dies under it.
    Flavour.LABOS: System(
        about="the small system that labkit builds from Debian packages",
        label="labos",
        folder="labos",
        kernel="vmlinuz",
        image="labos.cpio",
        config="usr/share/oem/raw.ign",
        reads=("3.0.0", "3.3.0"),
        writes="3.3.0",
        first_boot=("coreos.first_boot=1",),
        arguments=(*OEM_RAW, "apparmor=0", "panic=20"),
        autologin="coreos.autologin",
        hint="append console=tty0 console=ttyS1 coreos.autologin=tty0",
        memory_mib=1536,
        on_disk_mib=1024,
        signer=DEBIAN,
    ),
    # Ignition 3.3.0 from release 3185.0.0 on; 3.4.0 is what Butane's newest Flatcar config becomes. Of the consoles its
    # document says that the logins of VGA are on tty1 and on, not on tty0. Docker comes with its socket.
    Flavour.FLATCAR: System(
        about="the heir of Container Linux, made for such blades",
        label="flatcar",
        folder="flatcar",
        kernel="flatcar_production_pxe.vmlinuz",
        image="flatcar_production_pxe_image.cpio.gz",
        config="usr/share/oem/config.ign",
        reads=("3.0.0", "3.4.0"),
        writes="3.3.0",
        first_boot=("flatcar.first_boot=1",),
        autologin="flatcar.autologin",
        hint="append console=tty0 console=ttyS1 flatcar.autologin=tty1",
        memory_mib=3072,
        signer="Flatcar",
    ),
    # The kernel's name has had a dot before the architecture since Fedora CoreOS 42, and a dash before. SELinux lets
    # systemd run what lies in a folder for programs, and Ignition labels a file by its place. Fedora's Docker is off,
    # and its /etc/sysconfig/docker asks for live-restore, with which no engine joins a swarm: the drop-in takes that
    # one option out, and systemd reads the file again for each command of a service (systemd.exec(5),
    # EnvironmentFile=).
    Flavour.FEDORA_COREOS: System(
        about="the other heir of Container Linux, in its live form",
        label="fedora-coreos",
        folder="fedora-coreos",
        kernel="fedora-coreos-*-live-kernel[-.]*",
        image="fedora-coreos-*-live-initramfs.*.img",
        config="config.ign",
        reads=("3.0.0", "3.6.0"),
        writes="3.3.0",
        first_boot=("ignition.firstboot", "ignition.platform.id=metal"),
        hint="append console=tty0 console=ttyS1",
        memory_mib=2048,
        rootfs="fedora-coreos-*-live-rootfs.*.img",
        rootfs_argument="coreos.live.rootfs_url=",
        loaded_mib=4096,
        enables=("docker.service",),
        drop_ins=(
            DropIn(
                "docker.service",
                "10-labkit-swarm.conf",
                "[Service]\nExecStartPre=-/usr/bin/sed -i s/--live-restore// /etc/sysconfig/docker\n",
            ),
        ),
        scripts="/usr/local/bin/labkit",
        network=("NetworkManager.service", "systemd-resolved.service"),
        signer="Fedora",
    ),
    # The article's names, and the specs of Container Linux's last Ignition (0.33).
    Flavour.CONTAINER_LINUX: System(
        about="the system of the article",
        label="coreos",
        folder="coreos",
        kernel="coreos_production_pxe.vmlinuz",
        image="coreos_production_pxe_image.cpio.gz",
        config="usr/share/oem/raw.ign",
        reads=("2.0.0", "2.3.0"),
        writes="2.3.0",
        first_boot=("coreos.first_boot=1",),
        arguments=OEM_RAW,
        autologin="coreos.autologin",
        hint="append console=tty0 console=ttyS1 coreos.autologin=tty0",
        memory_mib=2048,
        ended="Container Linux ended in May 2020 and has had no security fix since",
    ),
    # A person says what it is; where it takes a config at all, labkit's is in a spec that all of Ignition 2 read.
    Flavour.CUSTOM: System(
        about="a kernel, archives and arguments of your own",
        label="custom",
        folder="custom",
        kernel="",
        image="",
        config="",
        reads=("3.0.0", "3.6.0"),
        writes="3.3.0",
        first_boot=(),
        signer=None,
    ),
}

HEIRS = "os: flatcar, its heir, or os: fedora-coreos"
"""What to write in place of a system that ended."""


@dataclass(frozen=True)
class Files:
    """Where the files of one boot's system lie below the server's root.

    ``initrds`` are what a loader takes to memory, without the blade's own archive, which goes to ``archive`` if at all.
    ``fetched`` is what the system fetches by itself, over HTTP, empty for nothing.
    The blade's config goes to ``config`` where it is fetched too.
    """

    kernel: str
    initrds: tuple[str, ...]
    archive: str
    fetched: str = ""
    config: str = ""


def custom_files(blade: Blade) -> dict[str, Path]:
    """The files of a system of a person's own by their paths below the server's root: the kernel, then its archives.

    Their names keep what URLs, menus and scripts can hold; two that are alike get a number.
    """
    if blade.custom is None:
        return {}
    folder = f"{SYSTEMS[Flavour.CUSTOM].folder}/{blade.name}"
    found = {f"{folder}/kernel/{_plain(blade.custom.kernel)}": blade.custom.kernel}
    names = {ARCHIVE}
    for number, path in enumerate(blade.custom.initrds, 1):
        name = _plain(path)
        name = f"{number}-{name}" if name in names else name
        names.add(name)
        found[f"{folder}/initrd/{name}"] = path
    return found


def _plain(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "-", path.name).lstrip("-.") or "file"


def config_place(blade: Blade) -> str:
    """Where in the blade's own archive its Ignition looks for a config."""
    return blade.custom.place if blade.custom is not None else SYSTEMS[blade.os].config


def files_of(blade: Blade, release: Release | None) -> Files:
    """The files that a blade boots from. Raises PlanError where its release lacks one, or two could be meant."""
    system = SYSTEMS[blade.os]
    if blade.custom is not None:
        kernel, *initrds = custom_files(blade)
        folder, by = f"{system.folder}/{blade.name}", blade.custom.config
        archive = f"{folder}/{ARCHIVE}" if by is ConfigBy.ARCHIVE else ""
        return Files(kernel, tuple(initrds), archive, config=f"{folder}/config.ign" if by is ConfigBy.URL else "")
    if not blade.os.has_releases:
        folder = system.folder
        return Files(f"{folder}/{system.kernel}", (f"{folder}/{system.image}",), f"{folder}/{ARCHIVE}")
    if release is None:
        what = f"nothing says which release of {blade.os} to boot"
        raise PlanError(what, where=blade.name, fix=fetch_words(blade.os))
    folder = f"{system.folder}/{release.version}"
    kernel, image = (_one(name, release, blade, folder) for name in (system.kernel, system.image))
    archive = f"{folder}/{ARCHIVE}"
    if not system.rootfs:
        return Files(kernel, (image,), archive)
    rootfs = _one(system.rootfs, release, blade, folder)
    if has_http(blade):
        return Files(kernel, (image,), archive, rootfs)
    return Files(kernel, (image, rootfs), archive)


def has_http(blade: Blade) -> bool:
    """Whether a blade may be told to fetch over HTTP; ``boot: pxelinux`` keeps all of a boot to TFTP.

    GRUB loads nothing over HTTP, but the system that it started may.
    """
    return blade.boot is not BootMethod.PXELINUX


def fetch_words(os: Flavour) -> str:
    """How to get a release of a system."""
    return f"./lab images fetch {os}"


def _one(pattern: str, release: Release, blade: Blade, folder: str) -> str:
    """The one file of a release that has such a name, below the server's root."""
    found = [name for name in release.files if fnmatchcase(name, pattern)]
    if len(found) == 1:
        return f"{folder}/{found[0]}"
    what = f"the release has {' and '.join(found)}, and one is booted" if found else f"the release has no {pattern}"
    fix = f"remove its folder; then {fetch_words(blade.os)} --version {release.version}"
    raise PlanError(what, where=f"{folder} (for {blade.name})", fix=fix)


# --- Secure Boot ------------------------------------------------------------------------------------------------------


def untrusted(lab: Lab) -> list[tuple[Blade, str, str]]:
    """The blades with Secure Boot whose kernel it does not let run: each with what is wrong and what to do.

    Of a kernel of a person's own nothing is known.
    """
    found = []
    for blade in lab.blades:
        signer = SYSTEMS[blade.os].signer
        if blade.firmware is not FirmwareKind.UEFI_SECURE or signer in (None, DEBIAN):
            continue
        by = f"is signed by {signer}" if signer else "has no signature"
        what = f"{blade.name} has Secure Boot, and the kernel of {blade.os} {by}: {DEBIAN}'s shim refuses it"
        fix = f"os: labos for {blade.name}, or the blade without Secure Boot: firmware: uefi"
        found.append((blade, what, fix))
    return found


# --- memory -----------------------------------------------------------------------------------------------------------


def needed_mib(blade: Blade) -> int:
    """The least memory a blade's system boots and runs Docker with: its image, its root, and room for containers."""
    system = SYSTEMS[blade.os]
    if blade.disk is not None and system.on_disk_mib:
        return system.on_disk_mib
    return system.loaded_mib if system.rootfs and not has_http(blade) else system.memory_mib


NO_MEMORY_TOLD: Mapping[str, int] = {}


def too_small(lab: Lab, told_mib: Mapping[str, int] = NO_MEMORY_TOLD) -> list[tuple[Blade, str, str]]:
    """The blades that cannot boot their system: each with what is wrong and what to do.

    A virtual blade's memory is in ``lab.yaml``. A real one's is in ``told_mib``, by its name, once it has told of it.
    """
    is_real = lab.chassis.kind is not ChassisKind.VIRTUAL
    found = []
    for blade in lab.blades:
        needed, system = needed_mib(blade), SYSTEMS[blade.os]
        has_mib = told_mib.get(blade.name, needed) if is_real else blade.memory_mib
        if has_mib >= needed:
            continue
        what = f"{blade.name} has {has_mib:,} MiB of memory, and {blade.os} needs {needed:,}"
        fix = f"memory: {needed}M for {blade.name} in lab.yaml"
        if is_real:
            fix = (
                f"another system for {blade.name} (os: in lab.yaml), or more memory in it; ./lab inventory {blade.name}"
            )
        if system.rootfs and not has_http(blade):
            what += ", since with boot: pxelinux its root file system comes as an archive too"
            fix += f"; or boot: ipxe, with which {system.memory_mib:,} are enough"
        found.append((blade, what, fix))
    return found
