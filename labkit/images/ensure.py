"""Having every image a lab needs, whole and unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from labkit.boot.loaders import FILES
from labkit.errors import ImageError, MachineError
from labkit.images import ganesha, labos, nginx, store
from labkit.images.build.recipe import Recipe
from labkit.images.build.tools import check_tools
from labkit.images.served import catalogue, container_linux_folder
from labkit.images.store import Progress
from labkit.lab import Flavour, Lab

ALL: tuple[ModuleType, ...] = (labos, nginx, ganesha)


def ensure_images(lab: Lab, *, progress: Progress) -> list[str]:
    """Build what is missing and look over what is there; returns a line per image, saying which it was.

    Building needs root and takes one to two minutes. Raises MachineError when this machine lacks something for it, and
    ImageError when building fails, the disk is full, or a file is missing or not what it was.
    """
    done = [*_loaders(lab)]
    if any(blade.os is Flavour.CONTAINER_LINUX for blade in lab.blades):
        done.append(_container_linux(lab))
    return done + [build(builder, progress) for builder in builders(lab)]


def builders(lab: Lab) -> tuple[ModuleType, ...]:
    """What builds the images that a lab needs."""
    return (labos, nginx, ganesha) if lab.storage.share else (labos, nginx)


def build(builder: ModuleType, progress: Progress) -> str:
    """Have one image; a line that says whether it was there."""
    recipe: Recipe = builder.recipe()
    cache = store.cache_folder()
    folder = store.folder_of(cache, recipe)
    if not store.is_built(cache, recipe):
        check_tools()

        def make(building: Path, lock: int) -> dict[str, Any]:
            made: dict[str, Any] = builder.make(recipe, building, lock, progress)
            return made

        if store.build_image(cache, recipe, make, need_mib=builder.NEED_MIB, progress=progress):
            return f"{recipe.name}: built in {folder}"
    store.check_sizes(folder)
    return f"{recipe.name}: found in {folder}"


def _loaders(lab: Lab) -> Iterator[str]:
    missing = {name: package for name, (path, package) in FILES.items() if not Path(path).is_file()}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise MachineError(
            f"the boot loaders {', '.join(missing)} are missing", fix=f"./lab setup, or apt-get install {packages}"
        )
    yield f"boot loaders: found {', '.join(FILES)}"


def _container_linux(lab: Lab) -> str:
    folder = container_linux_folder()
    missing = [path for name, path in catalogue(lab).items() if name.startswith("coreos/") and not path.is_file()]
    if missing:
        raise ImageError(
            f"not there: {' and '.join(path.name for path in missing)}; Container Linux is no longer published, so its "
            "files must come from you",
            where=str(folder),
            fix="copy both files of a release there, and check them against its DIGESTS file (sha512sum) and the "
            "signature of that (gpg --verify), as the release was published",
        )
    return f"container-linux: found in {folder}"


def verify_images(*, progress: Progress) -> list[str]:
    """Compare all that is built with what was recorded when it was. Raises ImageError at the first difference."""
    done = []
    for builder in ALL:
        recipe = builder.recipe()
        folder = store.folder_of(store.cache_folder(), recipe)
        if builder is ganesha and not store.is_built(store.cache_folder(), recipe):
            continue  # only some labs need it
        progress(f"{recipe.name}: reading {folder}")
        store.verify(folder)
        done.append(f"{recipe.name}: as built, {folder}")
    return done


def prune_images(*, progress: Progress) -> list[Path]:
    """Remove images of recipes that are no longer current, and what dead builds left. Not while a lab runs from one."""
    cache = store.cache_folder()
    current = {store.folder_of(cache, builder.recipe()) for builder in ALL}
    removed = []
    with store.locked(cache, progress):
        store.remove_dead_builds(cache)
        for builder in ALL:
            for folder in sorted((cache / builder.recipe().name).glob("*")):
                if folder not in current:
                    progress(f"removing {folder}")
                    shutil.rmtree(folder)
                    removed.append(folder)
    return removed
