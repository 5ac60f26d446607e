"""The releases that are kept: each whole or not there, never changed, and proved before a byte of it is served.

A release is put together in ``.fetching-<version>`` beside its place (`labkit.images.releases.layout`) and renamed when
all of it is proved. That folder stays when a fetch is cut off, for the next one to go on; whoever works in it holds the
lock of its system. The manifest has a SHA-512 of each file as it was when its signature was checked.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import FileError, ImageError, ParameterError
from labkit.images.releases.layout import CURRENT, PREVIOUS, age, place_of, version_in_use
from labkit.images.releases.metadata import PARTS, Release
from labkit.images.releases.publishers import PUBLISHERS
from labkit.images.releases.signature import Signer
from labkit.images.store import MANIFEST, Progress, digest_file, locked
from labkit.lab.state import write_whole

FETCHING, REMOVING = ".fetching-", ".removing-"
SIGNATURES = "signatures"
BUSY = "another labkit is at work on these releases; waiting for it"


@dataclass(frozen=True)
class Kept:
    """A release in the cache. ``signed`` is the fingerprint of the primary key; sizes are in bytes."""

    os: str
    version: str
    folder: Path
    channel: str
    size_b: int
    signed: str
    fetched: str
    in_use: bool
    is_previous: bool


def is_kept(folder: Path) -> bool:
    """Whether a release is there; it was renamed into place, so then it is whole."""
    return (folder / MANIFEST).is_file()


@contextlib.contextmanager
def working(os_name: str, cache: Path, progress: Progress) -> Iterator[Path]:
    """The folder of a system's releases, held alone. Raises MachineError when it cannot be written."""
    place = place_of(os_name, cache)
    with locked(place, progress, busy=BUSY):
        yield place


def keep(
    building: Path, target: Path, release: Release, facts: Mapping[str, Any], signers: Mapping[str, Signer]
) -> None:
    """Write a release's manifest and give it its place. All in ``building`` must have been proved. Raises FileError."""
    files = {}
    try:
        for part, file in zip(PARTS, release.files, strict=False):
            path = building / file.name
            files[file.name] = {
                "part": part,
                "size": path.stat().st_size,
                "sha512": digest_file(path, "sha512"),
                "url": file.url,
                "signed": vars(signers[file.name]),
            }
            path.chmod(0o444)
        _tidy(building, set(files))
        head = {"os": release.system.name, "version": release.version, "channel": release.channel, "arch": release.arch}
        (building / MANIFEST).write_text(json.dumps({**head, **facts, "files": files}, indent=1) + "\n")
        building.chmod(0o755)
        if target.exists():  # a folder without a manifest: not of our making
            shutil.rmtree(target)
        building.rename(target)
    except OSError as error:
        raise FileError.of(error, building) from None


def _tidy(folder: Path, files: set[str]) -> None:
    """Leave nothing beside a release's files that could be taken for one; signatures get a folder of their own."""
    aside = folder / SIGNATURES
    aside.mkdir(exist_ok=True)
    for path in list(folder.iterdir()):
        if path.name.removesuffix(".sig") in files and path.name not in files:
            path.rename(aside / path.name)
        elif path.is_file() and path.name not in files:
            path.unlink()


def remove_begun(place: Path) -> None:
    """Remove what was begun, or half removed, of a system's releases. Under the lock: so nobody is at it."""
    for folder in (*place.glob(f"{FETCHING}*"), *place.glob(f"{REMOVING}*")):
        shutil.rmtree(folder, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """What is known of a release. Raises ImageError when it is not there, or its manifest is broken."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict):
            return manifest
    except FileNotFoundError:
        fix = f"./lab images list shows which there are; ./lab images fetch {folder.parent.name} gets the latest"
        raise ImageError("this release is not in the cache", where=str(folder), fix=fix) from None
    except (OSError, ValueError):
        pass
    raise _broken(folder, f"its {MANIFEST} cannot be read")


def files_of(folder: Path) -> tuple[Path, ...]:
    """The files of a release: kernel, initramfs and, where it has one, the root. Raises ImageError."""
    files = read_manifest(folder)["files"]
    return tuple(folder / name for name in sorted(files, key=lambda name: PARTS.index(files[name]["part"])))


_seen: dict[tuple[int, int, int, int], str] = {}
"""The SHA-512 of files that this process has read, by device, inode, size and time of change (ns)."""


def prove_kept(folder: Path) -> None:
    """`prove` a release that was fetched or imported; of one that a person laid there nothing is known."""
    if is_kept(folder):
        prove(folder)


def prove(folder: Path) -> None:
    """Compare a release with its manifest before it is served: every byte once a process, and again what has changed.

    Raises ImageError that names the file.
    """
    _compare(folder, known=_seen)


def verify(folder: Path) -> None:
    """Compare every byte of a release with its manifest, now. Raises ImageError that names the file."""
    _compare(folder, known={})


def _compare(folder: Path, known: dict[tuple[int, int, int, int], str]) -> None:
    for name, wanted in read_manifest(folder)["files"].items():
        path = folder / name
        try:
            found = path.stat()
            if found.st_size != wanted["size"]:
                raise _broken(folder, f"{name} has {found.st_size} bytes, and had {wanted['size']} when it was proved")
            key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if key not in known:
                known[key] = digest_file(path, "sha512")
        except OSError as error:
            raise _broken(folder, f"{name}: {error.strerror}") from None
        if known[key] != wanted["sha512"]:
            raise _broken(folder, f"{name} is not what was proved: its SHA-512 has changed")


def _broken(folder: Path, what: str) -> ImageError:
    version = folder.name
    fix = f"rm -rf {folder}, then ./lab images fetch {folder.parent.name} --version {version}"
    return ImageError(what, where=str(folder), fix=fix)


def kept(cache: Path) -> list[Kept]:
    """All releases that are there, by system and version. Raises ImageError for a broken manifest."""
    return [_kept(system, folder, cache) for system in PUBLISHERS for folder in _folders(system, cache)]


def _folders(system: str, cache: Path) -> list[Path]:
    place = place_of(system, cache)
    return sorted((path for path in place.glob("[!.]*") if is_kept(path)), key=lambda path: age(path.name))


def _kept(system: str, folder: Path, cache: Path) -> Kept:
    manifest = read_manifest(folder)
    files = manifest["files"].values()
    return Kept(
        os=system,
        version=folder.name,
        folder=folder,
        channel=str(manifest.get("channel", "")),
        size_b=sum(int(file["size"]) for file in files),
        signed=next((str(file["signed"]["primary"]) for file in files), ""),
        fetched=str(manifest.get("fetched", "")),
        in_use=version_in_use(system, cache) == folder.name,
        is_previous=version_in_use(system, cache, which=PREVIOUS) == folder.name,
    )


def find(version: str, cache: Path, system: str = "") -> Kept:
    """The release of that version, of whichever system. Raises ParameterError where there is none, or more than one."""
    there = kept(cache)
    found = [one for one in there if one.version == version and system in ("", one.os)]
    if not found:
        listed = ", ".join(f"{one.os} {one.version}" for one in there) or "none"
        what = f"there is no release {version!r} in the cache"
        raise ParameterError(what, where=str(cache), fix=f"there are: {listed}; ./lab images fetch gets more")
    if len(found) > 1:
        raise ParameterError(f"{version!r} is a release of {' and of '.join(one.os for one in found)}", fix="add --os")
    return found[0]


def use_first(system: str, version: str, cache: Path) -> bool:
    """Use a release where none is in use yet, under the lock; whether it is the one in use."""
    if not version_in_use(system, cache):
        set_current(system, version, cache)
    return version_in_use(system, cache) == version


def use(release: Kept, cache: Path, progress: Progress) -> bool:
    """Let a release be the one that blades without a version boot; False when it was already. Raises ImageError."""
    with working(release.os, cache, progress):
        prove(release.folder)
        return set_current(release.os, release.version, cache)


def set_current(system: str, version: str, cache: Path) -> bool:
    """Write down which release is in use, and which was before; under the lock. False when it was so already."""
    before = version_in_use(system, cache)
    if before == version:
        return False
    if before:
        _write(place_of(system, cache) / PREVIOUS, before)
    _write(place_of(system, cache) / CURRENT, version)
    return True


def roll_back(system: str, cache: Path, progress: Progress) -> tuple[str, str]:
    """Use the release again that was in use before; the version from, and to. Once more goes forward again.

    Raises ImageError where there was none, or it is no longer there.
    """
    with working(system, cache, progress) as place:
        now, before = version_in_use(system, cache), version_in_use(system, cache, which=PREVIOUS)
        if not before:
            fix = f"./lab images list shows which there are, ./lab images use VERSION takes one: {place}"
            raise ImageError(f"no release of {system} was in use before this one", where=str(place), fix=fix)
        prove(place / before)
        set_current(system, before, cache)
        return now, before


def remove(release: Kept, cache: Path, progress: Progress) -> None:
    """Remove a release that is not in use. Raises ParameterError when it is, and FileError."""
    with working(release.os, cache, progress) as place:
        if version_in_use(release.os, cache) == release.version:
            fix = "use another one first: ./lab images use VERSION, or ./lab images roll-back"
            raise ParameterError(f"{release.os} {release.version} is in use", where=str(release.folder), fix=fix)
        dying = place / f"{REMOVING}{release.version}"
        try:
            release.folder.rename(dying)  # gone at once, and not half
            shutil.rmtree(dying)
            if version_in_use(release.os, cache, which=PREVIOUS) == release.version:
                (place / PREVIOUS).unlink()
        except OSError as error:
            raise FileError.of(error, release.folder) from None


def _write(path: Path, version: str) -> None:
    try:
        write_whole(path, version + "\n")
    except OSError as error:
        raise FileError.of(error, path) from None
