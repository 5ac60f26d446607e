"""Which file lies behind each name the boot server serves. Reads nothing but the manifests of the image cache."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from labkit.boot.loaders import FILES, SIGNED, is_signed
from labkit.boot.systems import SYSTEMS, Files, custom_files, files_of
from labkit.errors import ImageError
from labkit.images import ganesha, labos, nginx, secure_boot
from labkit.images.releases import where
from labkit.images.releases.layout import place_of, version_in_use
from labkit.images.store import TREE, cache_folder, folder_of, read_manifest
from labkit.lab import Blade, Flavour, Lab

KERNEL = "vmlinuz"
CONTAINER_LINUX = (SYSTEMS[Flavour.CONTAINER_LINUX].kernel, SYSTEMS[Flavour.CONTAINER_LINUX].image)
"""Container Linux is no longer published: a person who has its files puts them into the cache under these names."""


def container_linux_folder() -> Path:
    """Where the files of Container Linux are: in the release that was imported, else where a person puts them."""
    cache, name = cache_folder(), Flavour.CONTAINER_LINUX.value
    version = version_in_use(name, cache)
    return place_of(name, cache) / version if version else cache / name


class Catalogue(dict[str, Path]):
    """Served names and their files.

    A file of a release is found in any that is here, also in one that came after the catalogue was made: a lab that is
    up boots its blades from the release that was chosen last.
    """

    def __missing__(self, name: str) -> Path:
        os, _, rest = name.partition("/")
        version, _, file = rest.partition("/")
        if os not in RELEASED or not where.VERSION.fullmatch(version) or file in ("", ".", "..") or "/" in file:
            raise KeyError(name)
        return where.release_folder(os, version) / file


RELEASED = {SYSTEMS[os].folder: os for os in Flavour if os.has_releases}
"""The systems with releases, by the folder that their files are served from."""


def catalogue(lab: Lab) -> Catalogue:
    """Served names and their files, whether they are there or not (`labkit.images.ensure_images` sees to that)."""
    found = Catalogue({name: Path(path) for name, (path, _) in FILES.items()})
    if is_signed(lab):
        folder = folder_of(cache_folder(), secure_boot.recipe())
        found |= {name: folder / name for name in SIGNED}
    flavours = {blade.os for blade in lab.blades}
    # Whoever is adopted first boots it, unless another is named; and so does who is only looked at.
    if Flavour.LABOS in flavours or not flavours or lab.network.discover:
        folder = folder_of(cache_folder(), labos.recipe())
        found |= {f"labos/{name}": folder / name for name in (KERNEL, "labos.cpio")}
    if Flavour.CONTAINER_LINUX in flavours:
        found |= {f"coreos/{name}": container_linux_folder() / name for name in CONTAINER_LINUX}
    for blade in lab.blades:
        found |= custom_files(blade)
        try:
            release = where.release_of(blade)
        except ImageError:
            continue  # what is not here has no names yet
        if release is not None:
            folder = where.release_folder(blade.os, release.version)
            found |= {f"{SYSTEMS[blade.os].folder}/{release.version}/{name}": folder / name for name in release.files}
    return found


def kernel() -> Path:
    """The blade OS's kernel, by which this machine is asked how it runs one."""
    return folder_of(cache_folder(), labos.recipe()) / KERNEL


def release_files(blade: Blade) -> tuple[Path, Files]:
    """The folder of the release that a blade boots, and its files. Raises ImageError and PlanError where they are not
    there or not whole."""
    release = where.release_of(blade)
    files = files_of(blade, release)
    assert release is not None, "a blade of a system with releases"
    return where.release_folder(blade.os, release.version), files


def shown_to_servers(lab: Lab) -> tuple[Path, ...]:
    """What the boot server must be able to reach for a lab's images: the cache, and files of a person's own."""
    return (cache_folder(), *(path for blade in lab.blades for path in custom_files(blade).values()))


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


def identities(catalogue: Mapping[str, Path]) -> dict[str, str]:
    """What tells one version of the files that run on a blade from another, by their served names.

    That is the SHA-256 with which one was built; of what a person put there, its size and time. Loaders are not told
    of, and neither is a file that is missing.
    """
    found = {}
    for name, path in catalogue.items():
        if name in FILES or name in SIGNED:
            continue
        try:
            found[name] = str(read_manifest(path.parent)["files"][path.name]["sha256"])
        except (ImageError, KeyError, TypeError):
            with contextlib.suppress(OSError):
                status = path.stat()
                found[name] = f"{status.st_size:x}-{status.st_mtime_ns:x}"
    return found


def image_digests(lab: Lab) -> dict[str, str]:
    """The SHA-256 of each built image file by its name, for records. Raises ImageError where one is not built."""
    found = {}
    for name, path in catalogue(lab).items():
        if name.startswith("labos/"):
            found[name] = str(read_manifest(path.parent)["files"][path.name]["sha256"])
    found[nginx.ROOTFS] = str(read_manifest(nginx_rootfs().parent)["files"][nginx.ROOTFS]["sha256"])
    return found
