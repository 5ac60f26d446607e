"""The files blades boot: built from Debian packages, kept in a cache, found by the name they are served under."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from labkit.errors import ImageError, MachineError
from labkit.images import labos, nginx
from labkit.images.recipe import Recipe
from labkit.images.store import TREE, Progress, build_image, cache_folder, check_sizes, folder_of, is_built, verify
from labkit.lab import Flavour, Lab

Make = Callable[[Recipe, Path, int, Progress], dict[str, Any]]

NGINX_CHANGES = nginx.CHANGES
LABOS_NEED_MIB = 1800

# Boot loaders: the name they are served under, the file, the Debian package that has it.
LOADERS: Mapping[str, tuple[str, str]] = {
    "pxelinux.0": ("/usr/lib/PXELINUX/pxelinux.0", "pxelinux"),
    "lpxelinux.0": ("/usr/lib/PXELINUX/lpxelinux.0", "pxelinux"),
    "ldlinux.c32": ("/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common"),
    "undionly.kpxe": ("/usr/lib/ipxe/undionly.kpxe", "ipxe"),
    "ipxe.efi": ("/usr/lib/ipxe/ipxe.efi", "ipxe"),
    "snponly.efi": ("/usr/lib/ipxe/snponly.efi", "ipxe"),
}

CONTAINER_LINUX = ("coreos_production_pxe.vmlinuz", "coreos_production_pxe_image.cpio.gz")


def catalogue(lab: Lab) -> dict[str, Path]:
    """Every file that can be served from disk, by the name it is served under."""
    files = {name: Path(path) for name, (path, _) in LOADERS.items()}
    flavours = {blade.os for blade in lab.blades}
    if Flavour.LABOS in flavours:
        folder = folder_of(cache_folder(), labos.recipe())
        files |= {"labos/vmlinuz": folder / "vmlinuz", "labos/labos.cpio": folder / "labos.cpio"}
    if Flavour.CONTAINER_LINUX in flavours:
        files |= {f"coreos/{name}": cache_folder() / "container-linux" / name for name in CONTAINER_LINUX}
    return files


def tree() -> Path:
    """The blade OS's tree, from which the controller's engine and the registry run. Raises ImageError."""
    folder = folder_of(cache_folder(), labos.recipe())
    check_sizes(folder)
    return folder / TREE


def nginx_rootfs() -> Path:
    """The root file system of the nginx image, a tar. Raises ImageError when it has not been built."""
    folder = folder_of(cache_folder(), nginx.recipe())
    check_sizes(folder)
    return folder / nginx.ROOTFS


def ensure_images(lab: Lab, *, progress: Progress) -> list[str]:
    """Have every image a lab needs in the cache; says what was found and what was built.

    Building needs root. Raises ImageError naming a missing file and where it comes from, or for a full disk.
    """
    said = []
    for recipe, make, need_mib in (
        (labos.recipe(), labos.make, LABOS_NEED_MIB),
        (nginx.recipe(), nginx.make, nginx.NEED_MIB),
    ):
        if not is_built(cache_folder(), recipe):
            if os.geteuid() != 0:
                raise MachineError(f"building the {recipe.name} image needs root", fix="sudo labkit images build")
            progress(f"building the {recipe.name} image; it is kept in {cache_folder()}")
        fill = partial(_fill, make, recipe, progress)
        built = build_image(cache_folder(), recipe, fill, need_mib=need_mib, progress=progress)
        check_sizes(folder_of(cache_folder(), recipe))
        said.append(f"{recipe.name}: {'built' if built else 'found'} in {folder_of(cache_folder(), recipe)}")
    _check_files(lab)
    return said


def verify_images() -> None:
    """Read every built image anew and compare it with its manifest. Raises ImageError for one that is broken."""
    for recipe in (labos.recipe(), nginx.recipe()):
        verify(folder_of(cache_folder(), recipe))


def _fill(make: Make, recipe: Recipe, progress: Progress, folder: Path, lock: int) -> dict[str, Any]:
    return make(recipe, folder, lock, progress)


def _check_files(lab: Lab) -> None:
    for name, path in catalogue(lab).items():
        if path.is_file():
            continue
        if name in LOADERS:
            raise ImageError(
                f"the boot loader {name} is not there", where=str(path), fix=f"apt-get install {LOADERS[name][1]}"
            )
        raise ImageError(
            f"{name} is not there", where=str(path),
            fix="Container Linux is no longer published: put your own copy there and check its digests",
        )  # fmt: skip
