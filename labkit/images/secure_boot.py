"""The boot loaders for Secure Boot: Debian's shim, signed by Microsoft, and its GRUB for networks, which shim trusts.

Their packages are unpacked, never installed: what runs after an installation changes the boot loader of the machine it
happens on. apt proves them by the archive's signature, as it does for every image.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from labkit.boot.loaders import SIGNED
from labkit.errors import ImageError
from labkit.images.build.debian import make_tree
from labkit.images.build.recipe import Recipe, read_sources
from labkit.images.rootfs import inside
from labkit.images.store import TREE, Progress

NEED_MIB = 200


def recipe() -> Recipe:
    """The loaders as a value. mmdebstrap's ``extract`` runs nothing of a package."""
    return Recipe(
        name="secure-boot",
        variant="extract",
        packages=tuple(package for _, package in SIGNED.values()),
        files={},
        settings=tuple(f"{name}={path}" for name, (path, _) in SIGNED.items()),
        builder=read_sources("secure_boot"),
    )


def make(recipe: Recipe, folder: Path, lock: int, progress: Progress) -> dict[str, Any]:
    """Put the loaders into a folder, under the names that the boot server has for them. Raises ImageError."""
    tree = folder / TREE
    make_tree(recipe, tree, lock, progress)
    for name, (path, package) in SIGNED.items():
        found = inside(tree, path)
        if not found.is_file():
            raise ImageError(
                f"Debian's package {package} holds no {path}", fix="adapt SIGNED in labkit/boot/loaders.py"
            )
        shutil.copyfile(found, folder / name)
    shutil.rmtree(tree)
    return {}
