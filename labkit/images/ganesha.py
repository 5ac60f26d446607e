"""The NFS server: Debian's nfs-ganesha with the libraries it needs, as a tree that it runs from.

It is an image of its own and no part of the blade OS: with its packages come rpcbind, nfs-common and Python, none of
which it uses for NFSv4 alone. So it costs the blades nothing, and is built only where ``lab.yaml`` asks for a share.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from labkit.images.closure import copy_closure
from labkit.images.debian import in_tree, make_tree
from labkit.images.recipe import Recipe, read_sources
from labkit.images.store import TREE, Progress

NEED_MIB = 200
PROGRAM = "usr/bin/ganesha.nfsd"
MODULES = "usr/lib/x86_64-linux-gnu/ganesha"
PROGRAMS = (PROGRAM, f"{MODULES}/libfsalvfs.so")
FILES = ("etc/netconfig", "bin/busybox")
FOLDERS = ("dev", "proc", "sys", "run", "tmp", "var/lib/nfs/ganesha", "share")
# The last two are for in_tree.sh; the first is where Ganesha looks for file systems (setmntent(3)).
LINKS = {"etc/mtab": "/proc/self/mounts", "bin/umount": "busybox", "bin/rmdir": "busybox"}


def recipe() -> Recipe:
    """The image as a value."""
    return Recipe(
        name="ganesha",
        variant="extract",
        packages=("nfs-ganesha-vfs", "busybox-static"),
        files={},
        builder=read_sources("ganesha", "closure", "debian"),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Build ``tree/`` into a folder; returns the server's version."""
    packages, root = folder / "packages", folder / TREE
    make_tree(recipe, packages, lock, progress)
    (packages / "proc").mkdir(exist_ok=True)
    copy_closure(packages, root, lock, programs=PROGRAMS, files=FILES)
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    version = in_tree(packages, lock, f"/{PROGRAM}", "-v").partition("\n")[0].rpartition(" ")[2]
    shutil.rmtree(packages)
    return {"packages": {"nfs-ganesha": version}}
