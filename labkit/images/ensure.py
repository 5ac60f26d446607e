"""Having every image a lab needs, whole and unchanged."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from labkit.boot.loaders import FILES, is_signed
from labkit.boot.systems import custom_files
from labkit.errors import ImageError, MachineError
from labkit.events.amounts import size
from labkit.images import ganesha, labos, nginx, secure_boot, store
from labkit.images.build.recipe import Recipe
from labkit.images.build.tools import check_tools
from labkit.images.releases.cache import prove_kept
from labkit.images.served import catalogue, container_linux_folder, release_files
from labkit.images.store import Progress
from labkit.lab import Blade, Flavour, Lab

ALL: tuple[ModuleType, ...] = (labos, nginx, ganesha, secure_boot)
WHAT = {
    "labos": "the blades' system",
    "nginx": "the web server",
    "ganesha": "the NFS server",
    "secure-boot": "signed boot loaders",
}
"""What each image is for, by its recipe's name."""
MINUTES = {1: "a minute or two", 2: "two to four minutes", 3: "three to five minutes", 4: "three to five minutes"}
"""How long so many builds take on two cores, the download from Debian's archive among it."""
STEPS = {
    "running apt-get update": "asking Debian's archive for its packages",
    "downloading packages": "downloading packages",
    "extracting archives": "unpacking packages",
    "installing ": "setting packages up",
    "finishing the system": "finishing the system",
    "trying its programs": "trying its programs",
    "packing": "packing",
}
"""The steps of a build that are told, by how a line of mmdebstrap's or of a builder's own begins."""


def ensure_images(lab: Lab, *, progress: Progress) -> list[str]:
    """Build what is missing and look over what is there; returns a line per image, saying which it was.

    What will be built is said before the first begins. Building needs root. Raises MachineError when this machine lacks
    something for it, and ImageError when building fails, the disk is full, or a file or a release is missing or not
    what it was.
    """
    done = [*_loaders(lab)]
    if any(blade.os is Flavour.CONTAINER_LINUX for blade in lab.blades):
        done.append(_container_linux(lab))
    done += [_release(blade) for blade in releases(lab)]
    done += [_custom(blade) for blade in lab.blades if blade.custom is not None]
    cache = store.cache_folder()
    missing = [builder for builder in builders(lab) if not store.is_built(cache, builder.recipe())]
    if missing:
        progress(_announce([builder.recipe().name for builder in missing]))
    return done + [build(builder, progress) for builder in builders(lab)]


def _announce(names: list[str]) -> str:
    """What is about to be built, from what, and how long that takes about."""
    each = ", ".join(f"{name} ({WHAT[name]})" for name in names)
    many = f"{len(names)} images are" if len(names) > 1 else "an image is"
    return f"{many} built from Debian's packages, this once: {each}; {MINUTES[len(names)]} on two cores"


def builders(lab: Lab) -> tuple[ModuleType, ...]:
    """What builds the images that a lab needs."""
    optional = ((ganesha, lab.storage.share), (secure_boot, is_signed(lab)))
    return (labos, nginx, *(builder for builder, is_needed in optional if is_needed))


def build(builder: ModuleType, progress: Progress) -> str:
    """Have one image; a line that says whether it was there."""
    recipe: Recipe = builder.recipe()
    cache = store.cache_folder()
    folder = store.folder_of(cache, recipe)
    if not store.is_built(cache, recipe):
        check_tools()
        began = time.monotonic()

        def make(building: Path, lock: int) -> dict[str, Any]:
            made: dict[str, Any] = builder.make(recipe, building, lock, _steps(progress))
            return made

        if store.build_image(cache, recipe, make, need_mib=builder.NEED_MIB, progress=progress):
            size_b = sum(file["size"] for file in store.read_manifest(folder)["files"].values())
            weighs = f", {size(size_b)}" if size_b else ""  # the NFS server is a tree, without a file that is served
            progress(f"✓ {recipe.name}: built in {time.monotonic() - began:.0f} s{weighs}")
            return f"{recipe.name}: built in {folder}"
    store.check_sizes(folder)
    return f"{recipe.name}: found in {folder}"


def _steps(progress: Progress) -> Progress:
    """Of a build's lines tell those that begin another of its `STEPS`, in plain words."""
    last = ""

    def tell(line: str) -> None:
        nonlocal last
        name, _, doing = line.partition(": ")
        words = next((words for begin, words in STEPS.items() if doing.startswith(begin)), "")
        if words and words != last:
            last = words
            progress(f"  {name}: {words} …")

    return tell


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
            "signature of that (gpg --verify), as the release was published; ./lab images import does all of it",
        )
    prove_kept(folder)
    return f"container-linux: found in {folder}"


def releases(lab: Lab) -> list[Blade]:
    """A blade for each release that a lab's blades boot."""
    first: dict[tuple[Flavour, str | None], Blade] = {}
    for blade in lab.blades:
        if blade.os.has_releases:
            first.setdefault((blade.os, blade.version), blade)
    return list(first.values())


def _release(blade: Blade) -> str:
    folder, _ = release_files(blade)
    prove_kept(folder)
    return f"{blade.os}: release {folder.name} found in {folder}"


def _custom(blade: Blade) -> str:
    """Look whether the boot server, a user of its own, may read the files of a person's own system."""
    files = custom_files(blade).values()
    for path in files:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            what = f"{path.name}, which {blade.name} boots, is gone: {error.strerror}"
            fix = f"put it back, or correct custom of {blade.name} in lab.yaml"
            raise ImageError(what, where=str(path), fix=fix) from None
        if not mode & stat.S_IROTH:
            what = f"{path.name}, which {blade.name} boots, may not be read by the boot server, a user of its own"
            raise ImageError(what, where=str(path), fix=f"chmod a+r {path}")
    return f"custom: {blade.name} boots {', '.join(str(path) for path in files)}"


def verify_images(*, progress: Progress) -> list[str]:
    """Compare all that is built with what was recorded when it was. Raises ImageError at the first difference."""
    done = []
    for builder in ALL:
        recipe = builder.recipe()
        folder = store.folder_of(store.cache_folder(), recipe)
        if not store.is_built(store.cache_folder(), recipe):
            continue
        progress(f"{recipe.name}: reading {folder}")
        store.verify(folder)
        done.append(f"{recipe.name}: as built, {folder}")
    return done


def old_images() -> list[Path]:
    """The folders of images that this labkit builds otherwise by now; a labkit of another version may use them."""
    cache = store.cache_folder()
    current = {store.folder_of(cache, builder.recipe()) for builder in ALL}
    folders = (folder for builder in ALL for folder in sorted((cache / builder.recipe().name).glob("[0-9a-f]*")))
    return [folder for folder in folders if folder not in current]


def prune_images(*, progress: Progress) -> list[Path]:
    """Remove the old images, and what dead builds left. Not while a lab runs from one. Raises ImageError."""
    with store.locked(store.cache_folder(), progress):
        store.remove_dead_builds(store.cache_folder())
        removed = old_images()
        for folder in removed:
            progress(f"removing {folder}")
            shutil.rmtree(folder)
    return removed
