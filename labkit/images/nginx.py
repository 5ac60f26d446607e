"""The nginx image: Debian's nginx with the libraries it needs and a busybox for a shell, and nothing else.

It is a root file system in a tar file, for ``docker import``; `CHANGES` says how it is run. Sites go to
``/etc/nginx/sites-enabled/`` or ``/etc/nginx/conf.d/``, pages to ``/var/www/html/``.
"""

from __future__ import annotations

import shutil
import tarfile
from importlib import resources
from pathlib import Path
from typing import Any

from labkit.images.build.closure import copy_closure
from labkit.images.build.debian import in_tree, lay_files, lay_folders, lay_links, make_tree
from labkit.images.build.recipe import EPOCH_S, Recipe, read_files, read_sources
from labkit.images.build.trial import try_programs
from labkit.images.rootfs import inside
from labkit.images.store import TREE, Progress

NEED_MIB = 200
ROOTFS = "rootfs.tar"

CHANGES = (
    'CMD ["/usr/sbin/nginx", "-g", "daemon off;"]',
    "EXPOSE 80",
)
"""Dockerfile lines for ``docker import --change``."""

PROGRAMS = ("usr/sbin/nginx",)
KEPT = ("etc/nginx/mime.types", "bin/busybox", "usr/lib/os-release")
FOLDERS = ("dev", "proc", "sys", "run", "root", "etc/nginx/conf.d", "tmp", "var/lib/nginx", "var/log/nginx")
LINKS = {"bin/sh": "busybox", "bin/ls": "busybox", "bin/cat": "busybox", "bin/ps": "busybox", "bin/wget": "busybox"}
TRIED = (("/usr/sbin/nginx", "-v"), ("/usr/sbin/nginx", "-t"), ("/bin/sh", "-c", "ls /; cat /etc/passwd"))


def recipe() -> Recipe:
    """The image as a value."""
    return Recipe(
        name="nginx",
        variant="extract",
        packages=("nginx-light", "busybox-static", "base-files"),
        files=read_files(resources.files("labkit.images") / "files/nginx"),
        builder=read_sources("nginx", "build/closure"),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Build ``rootfs.tar`` into a folder; returns nginx's version."""
    tree, root = folder / TREE, folder / "root"
    make_tree(recipe, tree, lock, progress)
    lay_folders(tree, ["proc"])
    copy_closure(tree, root, lock, programs=PROGRAMS, files=KEPT)
    lay_folders(root, FOLDERS)
    inside(root, "tmp").chmod(0o1777)
    lay_links(root, LINKS)
    lay_files(root, recipe.files)
    version = in_tree(tree, lock, "/usr/sbin/nginx", "-v").rpartition("/")[2]
    progress("nginx: trying its programs")
    try_programs("nginx", root, lock, TRIED)
    write_tar(root, folder / ROOTFS)
    shutil.rmtree(tree)
    shutil.rmtree(root)
    return {"packages": {"nginx-light": version}}


def write_tar(root: Path, target: Path) -> None:
    """A tar of all below a folder: sorted, owned by root, with one time; so the same tree gives the same bytes."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = EPOCH_S
        return member

    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, path.relative_to(root).as_posix(), recursive=False, filter=plain)
