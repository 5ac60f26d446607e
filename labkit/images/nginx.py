"""The nginx image: a root file system of a dozen Debian packages, for the engine to import."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from labkit.images.debian import make_tree
from labkit.images.recipe import EPOCH_S, Recipe
from labkit.images.store import TREE, Progress
from labkit.images.tools import run_tool

NEED_MIB = 400
ROOTFS = "rootfs.tar"

CHANGES = (
    'CMD ["/usr/sbin/nginx", "-g", "daemon off; error_log /dev/stderr info;"]',
    "EXPOSE 80",
)

PACKAGES = ("nginx-light", "base-files", "libc-bin")
EXCLUDED = (
    *("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/i18n/*"),
    *("/usr/share/perl*", "/usr/lib/*/perl*", "/usr/bin/perl*", "/usr/lib/*/gconv/*", "/usr/share/zoneinfo/*"),
)

# Packages are unpacked, not set up: what nginx's set-up would have made is laid over the tree.
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n",
    "etc/group": b"root:x:0:\nadm:x:4:\nwww-data:x:33:\n",
}
FOLDERS = ("var/lib/nginx", "var/log/nginx", "var/www/html", "run", "tmp")
LINKS = {"etc/nginx/sites-enabled/default": "/etc/nginx/sites-available/default"}


def recipe() -> Recipe:
    """The nginx image as a value."""
    return Recipe(
        name="nginx",
        variant="extract",
        packages=PACKAGES,
        excluded=EXCLUDED,
        files=FILES,
        settings=(*FOLDERS, *LINKS, *CHANGES),
        builder=Path(__file__).read_bytes(),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Build ``rootfs.tar`` into a folder."""
    tree = folder / TREE
    make_tree(recipe, tree, lock, progress)
    for name in FOLDERS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, content in recipe.files.items():
        (tree / name).write_bytes(content)
    for name, target in LINKS.items():
        link = tree / name
        link.unlink(missing_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    shutil.rmtree(tree / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(tree / "var/lib/apt", ignore_errors=True)
    run_tool(
        ["tar", "--create", f"--file={folder / ROOTFS}", f"--directory={tree}", "--sort=name", "--numeric-owner",
         f"--mtime=@{EPOCH_S}", "--exclude=./dev/*", "."],
        keep_open=[lock],
    )  # fmt: skip
    shutil.rmtree(tree)
    return {}
