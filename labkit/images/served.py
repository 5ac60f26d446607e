"""Which file lies behind each name the boot server serves. Reads nothing but the manifests of the image cache."""

from __future__ import annotations

from pathlib import Path

from labkit.boot.loaders import FILES
from labkit.images import ganesha, labos, nginx
from labkit.images.store import TREE, cache_folder, folder_of, read_manifest
from labkit.lab import Flavour, Lab

CONTAINER_LINUX = ("coreos_production_pxe.vmlinuz", "coreos_production_pxe_image.cpio.gz")
"""Container Linux is no longer published: a person who has its files puts them into the cache under these names."""


def container_linux_folder() -> Path:
    """Where a person puts the files of Container Linux."""
    return cache_folder() / "container-linux"


def catalogue(lab: Lab) -> dict[str, Path]:
    """Served names and their files, whether they are there or not (`labkit.images.ensure_images` sees to that)."""
    found = {name: Path(path) for name, (path, _) in FILES.items()}
    flavours = {blade.os for blade in lab.blades}
    if Flavour.LABOS in flavours:
        folder = folder_of(cache_folder(), labos.recipe())
        found |= {f"labos/{name}": folder / name for name in ("vmlinuz", "labos.cpio")}
    if Flavour.CONTAINER_LINUX in flavours:
        found |= {f"coreos/{name}": container_linux_folder() / name for name in CONTAINER_LINUX}
    return found


def missing_loaders() -> tuple[list[str], list[str]]:
    """The boot loaders that are not on this machine, and the Debian packages that have them."""
    missing = sorted(name for name, (path, _) in FILES.items() if not Path(path).is_file())
    return missing, sorted({FILES[name][1] for name in missing})


def tree() -> Path:
    """The blade OS as a folder to run the controller's engine and registry from; programs must not write into it."""
    return folder_of(cache_folder(), labos.recipe()) / TREE


def ganesha_tree() -> Path:
    """The NFS server as a folder to run it from; it must not write into it."""
    return folder_of(cache_folder(), ganesha.recipe()) / TREE


def nginx_rootfs() -> Path:
    """The tar to import as the nginx image, with `labkit.images.NGINX_CHANGES`."""
    return folder_of(cache_folder(), nginx.recipe()) / nginx.ROOTFS


def image_digests(lab: Lab) -> dict[str, str]:
    """The SHA-256 of each built image file by its name, for records. Raises ImageError where one is not built."""
    found = {}
    for name, path in catalogue(lab).items():
        if name.startswith("labos/"):
            found[name] = str(read_manifest(path.parent)["files"][path.name]["sha256"])
    found[nginx.ROOTFS] = str(read_manifest(nginx_rootfs().parent)["files"][nginx.ROOTFS]["sha256"])
    return found
