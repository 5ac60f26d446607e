"""The blade OS: Debian with Docker and Ignition as a kernel and one initramfs, which boots as Container Linux would.

The initramfs is a static busybox, three kernel modules and the whole system as a squashfs;
``files/labos/initramfs/init`` assembles the root from it. The tree the squashfs is made of is kept: the controller's
engine and registry run from it, so that the host needs no Docker package.
"""

from __future__ import annotations

import os
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from labkit.artifacts import cpio
from labkit.images.debian import drop, in_tree, lay_files, make_tree, package_versions
from labkit.images.modules import match_modules, order_modules, read_dependencies
from labkit.images.recipe import EPOCH_S, Recipe, read_files, read_sources
from labkit.images.store import TREE, Progress
from labkit.images.tools import run_tool

NEED_MIB = 1600
"""Free space a build wants: the packages, the tree, the squashfs and the initramfs at the same time, and some air."""

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "systemd-resolved", "libnss-myhostname", "kmod", "iproute2"),
    *("docker.io", "docker-registry", "iptables", "ca-certificates", "curl"),
    *("ignition", "openssh-server", "sudo", "procps", "busybox-static"),
    *("linux-image-cloud-amd64", "tiny-initramfs"),  # the kernel's package wants some builder of initramfs
    "usr-is-merged",
)

EXCLUDED = (
    *(f"/usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "i18n", "bash-completion", "lintian", "bug")),
    *("/usr/bin/ctr", "/usr/bin/dnet", "/usr/sbin/ovrouter", "/usr/bin/ignition-validate"),
    *("/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v1"),  # Docker runs containers through -runc-v2
    *("/usr/lib/udev/hwdb.d/*", "/lib/udev/hwdb.d/*", "/usr/lib/x86_64-linux-gnu/gconv/*"),
    "/etc/ssh/moduli",
)

# What setting the packages up needed: package management, and the kernel's files outside the modules' folder.
_SET_UP = (
    *("boot/*", "usr/bin/apt*", "usr/bin/dpkg*", "usr/bin/debconf*", "usr/sbin/dpkg*", "usr/bin/deb-system*"),
    *("usr/bin/perl*", "usr/lib/x86_64-linux-gnu/perl-base", "usr/share/perl5", "usr/share/debconf", "usr/share/dpkg"),
    *("usr/lib/dpkg", "usr/lib/apt", "var/lib/dpkg", "var/lib/apt", "var/cache/*", "var/log/*", "etc/ssh/ssh_host_*"),
    *("etc/init.d", "etc/rc?.d", "etc/apt", "etc/dpkg", "etc/cron.daily", "etc/motd", "etc/hostname", "etc/fstab"),
    *("usr/lib/udev/hwdb.bin", "usr/share/bash-completion", "usr/share/ca-certificates"),
)

# Programs no blade runs.
_PROGRAMS = (
    *("usr/bin/ssh-add", "usr/bin/ssh-agent", "usr/bin/ssh-keyscan", "usr/lib/openssh/ssh-*"),
    *("usr/bin/openssl", "usr/bin/localedef", "usr/bin/cvtsudoers", "usr/bin/sudoreplay", "usr/sbin/sudo_*"),
    *("usr/sbin/arpd", "usr/sbin/tipc", "usr/sbin/vdpa", "usr/sbin/dcb", "usr/sbin/devlink", "usr/bin/rdma"),
    *("usr/bin/cpio", "usr/sbin/*tirfs", "usr/bin/ucf*", "usr/sbin/fsck.*", "usr/sbin/mkfs*", "usr/bin/iconv"),
    *(
        "usr/lib/x86_64-linux-gnu/libmvec.so*",
        "usr/lib/x86_64-linux-gnu/libdb-5.3.so",
        "usr/lib/x86_64-linux-gnu/sasl2",
    ),
    *("usr/lib/x86_64-linux-gnu/security/pam_userdb.so", "usr/share/zsh", "usr/share/common-licenses"),
)

# Parts of systemd for machines with disks, keyboards, swap, encryption and a package manager.
_SYSTEMD = (
    *(f"usr/lib/systemd/system-generators/systemd-{name}-generator" for name in ("cryptsetup", "gpt-auto")),
    *(f"usr/lib/systemd/system-generators/systemd-{name}-generator" for name in ("hibernate-resume", "integritysetup")),
    *(f"usr/lib/systemd/system-generators/systemd-{name}-generator" for name in ("rc-local", "system-update", "sysv")),
    "usr/lib/systemd/system-generators/systemd-veritysetup-generator",
    *(f"usr/lib/systemd/system/systemd-{name}.service" for name in ("binfmt", "firstboot", "journal-flush", "repart")),
    *(f"usr/lib/systemd/system/systemd-{name}.service" for name in ("machine-id-commit", "pstore", "random-seed")),
    *(f"usr/lib/systemd/system/systemd-{name}.service" for name in ("sysusers", "update-utmp", "update-utmp-runlevel")),
    *("usr/lib/systemd/system/systemd-pcrphase*", "usr/lib/systemd/system/systemd-ask-password-*"),
    *("usr/lib/systemd/system/systemd-initctl.*", "usr/lib/systemd/system/systemd-journald-audit.socket"),
    *("usr/lib/systemd/system/systemd-remount-fs.service", "usr/lib/systemd/system/systemd-tmpfiles-clean.timer"),
    *("usr/lib/systemd/system/proc-sys-fs-binfmt_misc.*", "usr/lib/systemd/system/getty-static.service"),
    *("usr/lib/systemd/system/dev-hugepages.mount", "usr/lib/systemd/system/dev-mqueue.mount"),
    *("usr/lib/systemd/system/sys-*.mount", "usr/lib/systemd/system/kmod-static-nodes.service"),
    *("usr/lib/systemd/system/initrd*", "usr/lib/systemd/system/*crypt*", "usr/lib/systemd/system/*veritysetup*"),
    *("usr/lib/systemd/system/integritysetup*", "usr/lib/systemd/system/docker-registry.service"),
    *("usr/lib/systemd/system/systemd-network-generator.service", "usr/lib/systemd/system/modprobe@.service"),
    "usr/lib/systemd/system/systemd-tmpfiles-setup-dev.service",
    *("usr/lib/systemd/system/fstrim.*", "usr/lib/systemd/system/dpkg-db-backup.*"),
    *(
        "etc/systemd/system/*",
        "usr/lib/systemd/network/*.network",
        "usr/lib/systemd/catalog",
        "var/lib/systemd/catalog",
    ),
    *("usr/bin/systemd-repart", "usr/bin/systemd-cryptenroll", "usr/bin/systemd-sysext", "usr/bin/systemd-firstboot"),
    *("usr/bin/systemd-hwdb", "usr/lib/systemd/systemd-cryptsetup", "usr/lib/systemd/systemd-measure"),
    *(
        f"usr/lib/udev/rules.d/{name}.rules"
        for name in ("55-dm", "60-autosuspend", "60-cdrom_id", "60-drm", "60-fido-id")
    ),
    *(f"usr/lib/udev/rules.d/{name}.rules" for name in ("60-infiniband", "60-persistent-*", "60-sensor", "64-btrfs")),
    *(f"usr/lib/udev/rules.d/{name}.rules" for name in ("70-camera", "70-joystick", "70-memory", "70-mouse")),
    *(f"usr/lib/udev/rules.d/{name}.rules" for name in ("70-touchpad", "70-uaccess", "71-seat", "73-seat-late")),
    *(f"usr/lib/udev/rules.d/{name}.rules" for name in ("75-probe_mtd", "78-sound-card", "80-docker", "81-net-dhcp")),
    *(f"usr/lib/udev/rules.d/{name}.rules" for name in ("85-hwclock", "95-dm-notify")),
)

# Kernel modules, by their paths below ``kernel/`` without ``.ko``; what they depend on comes along.
ROOT_MODULES = ("drivers/block/loop", "fs/squashfs/squashfs", "fs/overlayfs/overlay")
MODULES = (
    *ROOT_MODULES,
    # machines: virtio, the power button, a source of randomness
    *(
        "drivers/virtio/virtio_pci",
        "drivers/virtio/virtio_balloon",
        "drivers/net/virtio_net",
        "drivers/char/hw_random/*",
    ),
    *("drivers/acpi/button", "drivers/input/evdev"),
    # Docker: bridges, overlay networks (encrypted ones too), published ports, the other network drivers
    *("net/bridge/bridge", "net/bridge/br_netfilter", "net/8021q/8021q", "net/netfilter/*", "net/netfilter/ipvs/*"),
    *("net/ipv4/netfilter/*", "net/ipv6/netfilter/*", "net/ipv4/esp4", "net/xfrm/*", "net/key/af_key"),
    *("crypto/authenc", "crypto/seqiv", "crypto/gcm", "crypto/ghash-generic", "crypto/ctr", "crypto/echainiv"),
    *(
        "drivers/net/veth",
        "drivers/net/vxlan/vxlan",
        "drivers/net/dummy",
        "drivers/net/tun",
        "drivers/net/bonding/bonding",
    ),
    *("drivers/net/macvlan", "drivers/net/ipvlan/ipvlan"),
    # NFS volumes
    *("fs/nfs/nfs", "fs/nfs/nfsv3", "fs/nfs/nfsv4"),
    # ss(8)
    *("net/ipv4/tcp_diag", "net/ipv4/udp_diag", "net/unix/unix_diag"),
)

CONTROLLER_ONLY = ("usr/bin/docker-registry", "usr/bin/busybox")
"""In the tree, and not in the squashfs."""

SQUASH = ("-comp", "zstd", "-Xcompression-level", "15", "-b", "256K")

LINKS = {
    "usr/bin/ignition": "../lib/dracut/modules.d/30ignition/ignition",
    "etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
    "etc/systemd/system/dbus-org.freedesktop.resolve1.service": "/usr/lib/systemd/system/systemd-resolved.service",
    "etc/systemd/system/dbus-org.freedesktop.network1.service": "/usr/lib/systemd/system/systemd-networkd.service",
}


def recipe() -> Recipe:
    """The blade OS as a value."""
    return Recipe(
        name="labos",
        variant="essential",
        packages=PACKAGES,
        excluded=EXCLUDED,
        dropped=(*_SET_UP, *_PROGRAMS, *_SYSTEMD),
        files=read_files(resources.files("labkit.images") / "files/labos"),
        settings=(*MODULES, *CONTROLLER_ONLY, *SQUASH),
        builder=read_sources("labos", "debian", "modules"),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Build ``vmlinuz``, ``labos.cpio`` and ``tree/`` into a folder; returns the packages' versions."""
    tree = folder / TREE
    make_tree(recipe, tree, lock, progress)
    progress("labos: finishing the system")
    versions = package_versions(tree, lock)
    kernel = next((tree / "boot").glob("vmlinuz-*"))
    shutil.copyfile(kernel, folder / "vmlinuz")
    modules = _prune_modules(tree, kernel.name.removeprefix("vmlinuz-"), lock)
    _finish_tree(recipe, tree, lock)
    progress("labos: packing")
    squashfs = folder / "labos.squashfs"
    run_tool(
        ["mksquashfs", str(tree), str(squashfs), *SQUASH, "-no-progress", "-no-exports", "-e", *CONTROLLER_ONLY],
        environment={"SOURCE_DATE_EPOCH": str(EPOCH_S)},
        keep_open=[lock],
    )
    (folder / "labos.cpio").write_bytes(initramfs(recipe, tree, modules, squashfs))
    squashfs.unlink()
    return {"packages": versions}


def _prune_modules(tree: Path, version: str, lock: int) -> list[Path]:
    """Leave only the kernel modules a blade uses; returns those the root is assembled with, in their order."""
    folder = tree / "usr/lib/modules" / version
    dependencies = read_dependencies((folder / "modules.dep").read_text())
    builtin = (folder / "modules.builtin").read_text().split()
    kept = set(order_modules(dependencies, match_modules(dependencies, builtin, MODULES)))
    for module in dependencies.keys() - kept:
        (folder / module).unlink()
    for path, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)
    in_tree(tree, lock, "depmod", version)
    return [
        folder / module for module in order_modules(dependencies, match_modules(dependencies, builtin, ROOT_MODULES))
    ]


def _finish_tree(recipe: Recipe, tree: Path, lock: int) -> None:
    """Make the set-up tree into a system for a machine without disk: user, files, enabled units."""
    in_tree(tree, lock, "groupadd", "--gid", "500", "core")
    in_tree(
        *(tree, lock, "useradd", "--uid", "500", "--gid", "500", "--groups", "sudo,docker"),
        *("--create-home", "--shell", "/bin/bash", "--password", "*", "core"),
    )
    drop(tree, recipe.dropped)
    lay_files(tree, {n.removeprefix("root/"): c for n, c in recipe.files.items() if n.startswith("root/")})
    for name, target in LINKS.items():
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to(target)
    (tree / "etc/sudoers.d/core").chmod(0o440)
    in_tree(tree, lock, "systemctl", "preset-all")
    for folder in tree.glob("usr/lib/systemd/system/*.wants"):
        for link in folder.iterdir():
            if not link.exists():
                link.unlink()
    (tree / "etc/machine-id").write_text("uninitialized\n")  # so that the units of Ignition are enabled at each boot


def initramfs(recipe: Recipe, tree: Path, modules: list[Path], squashfs: Path) -> bytes:
    """The archive the kernel unpacks: the recipe's ``initramfs/`` files, busybox, modules in their order, the squashfs.

    Not compressed: the squashfs is, and the kernel would take long over doing it twice.
    """
    files = {n.removeprefix("initramfs/"): c for n, c in recipe.files.items() if n.startswith("initramfs/")}
    files["bin/busybox"] = (tree / "usr/bin/busybox").read_bytes()
    files["modules/order"] = "".join(f"{module.name}\n" for module in modules).encode()
    files |= {f"modules/{module.name}": module.read_bytes() for module in modules}
    files[squashfs.name] = squashfs.read_bytes()
    return cpio.pack(files, mode=0o755)
