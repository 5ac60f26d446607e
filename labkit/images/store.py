"""The image cache: one folder per image, named by its recipe's digest, whole or not there.

::

    <cache>/labos/<digest>/      vmlinuz  labos.cpio  tree/  manifest.json
    <cache>/nginx/<digest>/      rootfs.tar  manifest.json
    <cache>/ganesha/<digest>/    tree/  manifest.json
    <cache>/secure-boot/<digest>/  shimx64.efi  grubx64.efi  manifest.json
    <cache>/container-linux/     what a person put there
    <cache>/releases/            what was fetched (`labkit.images.releases`)

An image is built in a folder beside its place and renamed when it is whole. Whoever builds holds the cache's lock, and
so does every program that helps: a folder of a build that is found under the lock is a dead one's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labkit.errors import ImageError, MachineError
from labkit.images.build.recipe import Recipe
from labkit.images.build.tools import free_mib, full_disk, full_disk_named

MANIFEST = "manifest.json"
TREE = "tree"
BUILDING = ".building-"
DIGEST_LENGTH = 16

REBUILD = "./lab images build"

Progress = Callable[[str], None]


def cache_folder() -> Path:
    """Where images are kept: ``$LABKIT_CACHE``, else ``/var/cache/labkit``."""
    return Path(os.environ.get("LABKIT_CACHE") or "/var/cache/labkit").absolute()


def folder_of(cache: Path, recipe: Recipe) -> Path:
    """Where the image of a recipe lies, whether it does or not."""
    return cache / recipe.name / recipe.digest[:DIGEST_LENGTH]


def is_built(cache: Path, recipe: Recipe) -> bool:
    """Whether the image is there; it was renamed into place, so then it is whole."""
    return (folder_of(cache, recipe) / MANIFEST).is_file()


@contextlib.contextmanager
def locked(cache: Path, progress: Progress, *, busy: str = "another build is at work; waiting for it") -> Iterator[int]:
    """Hold the cache for building; waits for another build to end. Yields the lock's descriptor, for helpers to keep.

    ``busy`` is what is said while another one has it. Raises MachineError when the cache cannot be written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MachineError(
            f"the image cache cannot be written ({error.strerror})",
            where=str(cache),
            fix="run it as root, or set LABKIT_CACHE to a folder you can write",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(busy)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def build_image(
    cache: Path, recipe: Recipe, make: Callable[[Path, int], dict[str, Any]], *, need_mib: int, progress: Progress
) -> bool:
    """Have the image of a recipe in the cache; False when it was there.

    ``make(folder, lock)`` fills a folder and returns facts for the manifest. When it fails, and on Ctrl-C, the folder
    is removed. Raises ImageError (``make``'s own, or for a full disk) and MachineError.
    """
    with full_disk_named(cache, need_mib), locked(cache, progress) as lock:
        remove_dead_builds(cache)
        target = folder_of(cache, recipe)
        if is_built(cache, recipe):
            return False
        if free_mib(cache) < need_mib:
            raise full_disk(cache, need_mib)
        target.parent.mkdir(exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=BUILDING, dir=target.parent))
        try:
            building.chmod(0o755)
            facts = make(building, lock)
            write_manifest(building, recipe, facts)
            if target.exists():  # a folder without a manifest: not of our making
                shutil.rmtree(target)
            building.rename(target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return True


def remove_dead_builds(cache: Path) -> None:
    """Remove the folders of builds that were killed. To be called under the lock."""
    for folder in cache.glob(f"*/{BUILDING}*"):
        shutil.rmtree(folder, ignore_errors=True)


def write_manifest(folder: Path, recipe: Recipe, facts: dict[str, Any]) -> None:
    """Record what an image is made of and what it must look like."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": digest_file(path)}
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    manifest: dict[str, Any] = {"image": recipe.name, "recipe": recipe.digest, "files": files, **facts}
    if (folder / TREE).is_dir():
        manifest["tree"] = digest_tree(folder / TREE)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an image. Raises ImageError when it is missing or broken."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
            return manifest
    except FileNotFoundError:
        raise ImageError("this image has not been built", where=str(folder), fix=REBUILD) from None
    except PermissionError:
        raise UnseenError(folder, MANIFEST) from None
    except (OSError, ValueError):
        pass
    raise broken(folder, f"its {MANIFEST} cannot be read")


def check_sizes(folder: Path) -> None:
    """The quick check: every file of the manifest is there in its size. Raises ImageError."""
    manifest = read_manifest(folder)
    for name, wanted in manifest["files"].items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise broken(folder, f"{name}: {error.strerror}") from None
        if size != wanted["size"]:
            raise broken(folder, f"{name} has {size} bytes, and had {wanted['size']} when it was built")
    if "tree" in manifest and not (folder / TREE).is_dir():
        raise broken(folder, f"{TREE}/ is missing")


def verify(folder: Path) -> None:
    """The full check: every file has the content it was built with, in the tree as well.

    Raises ImageError; UnseenError when all that may be read is as it was built.
    """
    check_sizes(folder)
    manifest = read_manifest(folder)
    for name, wanted in manifest["files"].items():
        try:
            digest = digest_file(folder / name)
        except PermissionError:
            raise UnseenError(folder, name) from None
        if digest != wanted["sha256"]:
            raise broken(folder, f"{name} is not what was built: its SHA-256 has changed")
    if "tree" not in manifest:
        return
    try:
        digest = digest_tree(folder / TREE)
    except PermissionError:
        raise UnseenError(folder, f"{TREE}/") from None
    if digest != manifest["tree"]:
        raise broken(folder, f"{TREE}/ is not what was built: files were changed, added or removed")


class UnseenError(ImageError):
    """A part of an image may be read by root only, and we are not root."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(f"its {name} may be read by root only", where=str(folder), fix="sudo ./lab doctor looks at it")


def broken(folder: Path, what: str) -> ImageError:
    """The error for an image that is not what was built."""
    return ImageError(what, where=str(folder), fix=f"rm -rf {folder}, then {REBUILD}")


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """The sum of a file, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_tree(tree: Path) -> str:
    """SHA-256 over the paths, modes, owners and contents below a folder; times do not count. Raises OSError."""

    def fail(error: OSError) -> None:
        raise error

    whole = hashlib.sha256()
    for folder, folders, files in os.walk(tree, onerror=fail):
        folders.sort()
        for name in sorted(files + [name for name in folders if (Path(folder) / name).is_symlink()]):
            path = Path(folder) / name
            info = path.lstat()
            if stat.S_ISREG(info.st_mode):
                content = digest_file(path)
            else:
                content = str(path.readlink()) if stat.S_ISLNK(info.st_mode) else ""
            line = f"{path.relative_to(tree)}\0{info.st_mode:o}\0{info.st_uid}:{info.st_gid}\0{content}\n"
            whole.update(line.encode(errors="surrogateescape"))
    return whole.hexdigest()
