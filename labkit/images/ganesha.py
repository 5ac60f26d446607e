"""The NFS server: Debian's nfs-ganesha with the libraries it needs, as a tree that it runs from.

It is an image of its own and no part of the blade OS: with its packages come rpcbind, nfs-common and Python, none of
which it uses for NFSv4 alone. So it costs the blades nothing, and is built only where ``lab.yaml`` asks for a share.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from labkit.images.build.closure import LOADER, copy_closure
from labkit.images.build.debian import in_tree, lay_folders, lay_links, make_tree
from labkit.images.build.recipe import Recipe, read_sources
from labkit.images.build.trial import try_programs
from labkit.images.store import TREE, Progress

NEED_MIB = 200
PROGRAM = "usr/bin/ganesha.nfsd"
MODULES = "usr/lib/x86_64-linux-gnu/ganesha"
PROGRAMS = (PROGRAM, f"{MODULES}/libfsalvfs.so")
FILES = ("etc/netconfig", "bin/busybox")
FOLDERS = ("dev", "proc", "sys", "run", "tmp", "var/lib/nfs/ganesha", "share")
LINKS = {"etc/mtab": "/proc/self/mounts"}
"""Where Ganesha looks for file systems (setmntent(3))."""
TRIED = ((f"/{PROGRAM}", "-v"), (f"/{LOADER}", "--list", f"/{MODULES}/libfsalvfs.so"), ("/bin/busybox", "true"))


def recipe() -> Recipe:
    """The image as a value."""
    return Recipe(
        name="ganesha",
        variant="extract",
        packages=("nfs-ganesha-vfs", "busybox-static"),
        files={},
        builder=read_sources("ganesha", "build/closure"),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Build ``tree/`` into a folder; returns the server's version."""
    packages, root = folder / "packages", folder / TREE
    make_tree(recipe, packages, lock, progress)
    lay_folders(packages, ["proc"])
    copy_closure(packages, root, lock, programs=PROGRAMS, files=FILES)
    lay_folders(root, FOLDERS)
    lay_links(root, LINKS)
    version = in_tree(packages, lock, f"/{PROGRAM}", "-v").partition("\n")[0].rpartition(" ")[2]
    progress("ganesha: trying its programs")
    try_programs("ganesha", root, lock, TRIED)
    shutil.rmtree(packages)
    return {"packages": {"nfs-ganesha": version}}
