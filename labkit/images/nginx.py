"""The nginx image: Debian's nginx with the libraries it needs and a busybox for a shell, and nothing else.

It is a root file system in a tar file, for ``docker import``; `CHANGES` says how it is run. Sites go to
``/etc/nginx/sites-enabled/`` or ``/etc/nginx/conf.d/``, pages to ``/var/www/html/``.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from importlib import resources
from pathlib import Path
from typing import Any

from labkit.errors import ImageError
from labkit.images.debian import in_tree, lay_files, make_tree
from labkit.images.recipe import EPOCH_S, Recipe, read_files, read_sources
from labkit.images.store import TREE, Progress

NEED_MIB = 200
ROOTFS = "rootfs.tar"

CHANGES = (
    'CMD ["/usr/sbin/nginx", "-g", "daemon off;"]',
    "EXPOSE 80",
)
"""Dockerfile lines for ``docker import --change``."""

KEPT = ("usr/sbin/nginx", "etc/nginx/mime.types", "bin/busybox", "usr/lib/os-release")
FOLDERS = ("dev", "proc", "sys", "run", "root", "etc/nginx/conf.d", "var/lib/nginx", "var/log/nginx")
LOADER = "lib64/ld-linux-x86-64.so.2"
LINKS = {"bin/sh": "busybox", "bin/ls": "busybox", "bin/cat": "busybox", "bin/ps": "busybox", "bin/wget": "busybox"}


def recipe() -> Recipe:
    """The image as a value."""
    return Recipe(
        name="nginx",
        variant="extract",
        packages=("nginx-light", "busybox-static", "base-files"),
        files=read_files(resources.files("labkit.images") / "files/nginx"),
        builder=read_sources("nginx", "debian"),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Build ``rootfs.tar`` into a folder; returns nginx's version."""
    tree, root = folder / TREE, folder / "root"
    make_tree(recipe, tree, lock, progress)
    (tree / "proc").mkdir(exist_ok=True)
    for name in (*KEPT, *libraries(in_tree(tree, lock, f"/{LOADER}", "--list", "/usr/sbin/nginx"))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / name, root / name)  # follows links: one file under the name that is asked for
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").mkdir(mode=0o1777)
    (root / "tmp").chmod(0o1777)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    lay_files(root, recipe.files)
    version = in_tree(tree, lock, "/usr/sbin/nginx", "-v").rpartition("/")[2]
    write_tar(root, folder / ROOTFS)
    shutil.rmtree(tree)
    shutil.rmtree(root)
    return {"packages": {"nginx-light": version}}


def libraries(listed: str) -> list[str]:
    """The files in what the dynamic loader lists, without their leading slash; the loader itself with them.

    Raises ImageError for a library that is missing.
    """
    missing = re.findall(r"(\S+) => not found", listed)
    if missing:
        raise ImageError(f"Debian's nginx lacks {', '.join(missing)}", fix="add its package in labkit/images/nginx.py")
    return [LOADER, *re.findall(r"=> /(\S+)", listed)]


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
