"""The blade OS: Debian with Docker and Ignition as a kernel and one initramfs, which boots as Container Linux would.

It boots virtual machines and real ones: its kernel is Debian's standard one, with the drivers of ``lists/modules`` and
the firmware of ``lists/included``.

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

from labkit.boot.artifacts import cpio
from labkit.errors import ImageError
from labkit.images.build import licences
from labkit.images.build.debian import drop, in_tree, lay_files, lay_links, make_tree, package_versions
from labkit.images.build.kernel_modules import keep_module, match_modules, order_modules, read_dependencies
from labkit.images.build.recipe import EPOCH_S, Recipe, read_files, read_list, read_sources
from labkit.images.build.tools import run_tool
from labkit.images.build.trial import try_programs
from labkit.images.rootfs import inside, leads_somewhere, matching
from labkit.images.store import TREE, Progress

NEED_MIB = 1600
"""Free space a build wants: the packages, the tree, the squashfs and the initramfs at the same time, and some air."""

CONTROLLER_ONLY = ("usr/bin/docker-registry", "usr/bin/busybox", "usr/bin/zstd")
"""In the tree, and not in the squashfs."""

SEAL = ("--quiet", "--fast=10", "--check", "--rm")
"""How the initramfs is wrapped: hardly compressed, as the squashfs in it is, but with a checksum that the kernel
compares. Boot loaders compare nothing, and one wrong bit in ninety million bytes makes a blade that fails oddly."""

SQUASH = ("-comp", "zstd", "-Xcompression-level", "15", "-b", "256K")

LINKS = {
    "usr/bin/ignition": "../lib/dracut/modules.d/30ignition/ignition",
    "etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf",
    "etc/systemd/system/dbus-org.freedesktop.resolve1.service": "/usr/lib/systemd/system/systemd-resolved.service",
    "etc/systemd/system/dbus-org.freedesktop.network1.service": "/usr/lib/systemd/system/systemd-networkd.service",
}

VERSIONED = (
    *("lib/systemd/systemd", "sbin/dockerd", "bin/docker", "bin/containerd", "sbin/runc", "bin/docker-registry"),
    *("bin/ignition", "bin/curl", "bin/sudo", "bin/zstd", "sbin/iptables"),
)
TRIED = (
    *((f"/usr/{program}", "--version") for program in VERSIONED),
    ("/usr/sbin/ip", "-Version"),
    ("/usr/bin/ssh", "-V"),
    ("/usr/bin/busybox", "true"),
    ("/usr/sbin/mke2fs", "-V"),
    ("/usr/sbin/e2fsck", "-V"),
    ("/usr/bin/ipmitool", "-V"),
)
"""What has to answer before the image is kept."""


def recipe() -> Recipe:
    """The blade OS as a value."""
    files = read_files(resources.files("labkit.images") / "files/labos")
    return Recipe(
        name="labos",
        variant="essential",
        packages=read_list(files["lists/packages"]),
        excluded=read_list(files["lists/excluded"]),
        included=read_list(files["lists/included"]),
        dropped=read_list(files["lists/dropped"]),
        files=files,
        builder=read_sources("labos", "build/kernel_modules", "build/licences"),
        components=("main", "non-free-firmware"),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Build ``vmlinuz``, ``labos.cpio`` and ``tree/`` into a folder; returns the packages' versions and the licences of
    what is not free in it."""
    tree = folder / TREE
    make_tree(recipe, tree, lock, progress)
    progress("labos: finishing the system")
    facts = {"packages": package_versions(tree, lock), "licences": licences.licences(tree)}
    kernel = _kernel(tree)
    shutil.copyfile(inside(tree, kernel), folder / "vmlinuz")
    modules = _prune_modules(recipe, tree, kernel.rpartition("vmlinuz-")[2], lock)
    _finish_tree(recipe, tree, lock)
    progress("labos: trying its programs")
    try_programs("labos", tree, lock, TRIED)
    progress("labos: packing")
    squashfs = folder / "labos.squashfs"
    run_tool(
        ["mksquashfs", str(tree), str(squashfs), *SQUASH, "-no-progress", "-no-exports", "-e", *CONTROLLER_ONLY],
        environment={"SOURCE_DATE_EPOCH": str(EPOCH_S)},
        keep_open=[lock],
    )
    archive = tree / "labos.cpio"
    archive.write_bytes(initramfs(recipe, tree, modules, squashfs))
    in_tree(tree, lock, "zstd", *SEAL, archive.name, "-o", f"{archive.name}.zst")
    (tree / f"{archive.name}.zst").rename(folder / archive.name)
    squashfs.unlink()
    return facts


def _kernel(tree: Path) -> str:
    kernels = matching(tree, "boot/vmlinuz-*")
    if not kernels:
        raise ImageError("Debian's kernel package holds no /boot/vmlinuz-…", fix="adapt labkit/images/labos.py")
    return kernels[0]


def _prune_modules(recipe: Recipe, tree: Path, version: str, lock: int) -> list[Path]:
    """Leave only the kernel modules a blade uses; returns those the root is assembled with, in their order."""
    name = f"usr/lib/modules/{version}"
    folder = inside(tree, name)
    dependencies = read_dependencies(inside(tree, f"{name}/modules.dep").read_text())
    builtin = inside(tree, f"{name}/modules.builtin").read_text().split()

    def find(name: str) -> list[str]:
        wanted = read_list(recipe.files[f"lists/{name}"])
        return order_modules(dependencies, match_modules(dependencies, builtin, wanted))

    root = find("root-modules")
    kept = {*find("modules"), *root}
    for module in dependencies:
        keep_module(inside(tree, f"{name}/{module}", follow=False), kept=module in kept)
    for path, _, _ in os.walk(folder, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)
    in_tree(tree, lock, "depmod", version)
    return [inside(tree, f"{name}/{module}") for module in root]


def _finish_tree(recipe: Recipe, tree: Path, lock: int) -> None:
    """Make the set-up tree into a system for a machine without disk: user, files, enabled units."""
    in_tree(tree, lock, "groupadd", "--gid", "500", "core")
    in_tree(
        *(tree, lock, "useradd", "--uid", "500", "--gid", "500", "--groups", "sudo,docker"),
        *("--create-home", "--shell", "/bin/bash", "--password", "*", "core"),
    )
    drop(tree, recipe.dropped)
    lay_files(tree, {n.removeprefix("root/"): c for n, c in recipe.files.items() if n.startswith("root/")})
    lay_links(tree, LINKS)
    inside(tree, "etc/sudoers.d/core").chmod(0o440)
    in_tree(tree, lock, "systemctl", "preset-all")
    for wanted in matching(tree, "usr/lib/systemd/system/*.wants/*"):
        if not leads_somewhere(tree, wanted):
            inside(tree, wanted, follow=False).unlink()
    lay_files(tree, {"etc/machine-id": b"uninitialized\n"})  # so that the units of Ignition are enabled at each boot


def initramfs(recipe: Recipe, tree: Path, modules: list[Path], squashfs: Path) -> bytes:
    """The archive the kernel unpacks: the recipe's ``initramfs/``, busybox, modules in their order, the squashfs."""
    files = {n.removeprefix("initramfs/"): c for n, c in recipe.files.items() if n.startswith("initramfs/")}
    files["bin/busybox"] = inside(tree, "usr/bin/busybox").read_bytes()
    files["modules/order"] = "".join(f"{module.name}\n" for module in modules).encode()
    files |= {f"modules/{module.name}": module.read_bytes() for module in modules}
    files[squashfs.name] = squashfs.read_bytes()
    return cpio.pack(files, mode=0o755)
