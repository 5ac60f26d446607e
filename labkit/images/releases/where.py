"""Which release a blade boots, of those that lie in the cache (`labkit.images.releases.layout`)."""

from __future__ import annotations

import re
from pathlib import Path

from labkit.boot.systems import Release, fetch_words
from labkit.errors import ImageError
from labkit.images.releases.layout import CURRENT, age, place_of
from labkit.images.releases.publishers import PUBLISHERS, names_of
from labkit.images.store import cache_folder
from labkit.lab import Blade, Flavour

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""What a version looks like: ``4593.2.5``, ``43.20260714.3.1``. It is a folder's name and a part of a URL."""
LONGEST_B = 1024


def releases_folder(os: str) -> Path:
    """Where all releases of a system are."""
    return place_of(os, cache_folder())


def release_folder(os: str, version: str | None) -> Path:
    """Where a release is or will be; the current one where ``version`` is None. Raises ImageError as `current` does."""
    return releases_folder(os) / (current(os) if version is None else version)


def current(os: str) -> str:
    """The version that blades boot which name none. Raises ImageError where none was chosen or it cannot be read."""
    path = releases_folder(os) / CURRENT
    try:
        with path.open("rb") as file:
            version = file.read(LONGEST_B).decode("ascii").strip()
    except FileNotFoundError:
        what = f"no release of {os} is here, so blades with os: {os} have nothing to boot"
        raise ImageError(what, where=str(path), fix=fetch_words(Flavour(os))) from None
    except OSError as error:
        what = f"the current release of {os} cannot be read: {error.strerror}"
        raise ImageError(what, where=str(path), fix=f"sudo chmod a+rX {path.parent} {path}") from None
    except UnicodeDecodeError:
        version = ""
    if not VERSION.fullmatch(version):
        fix = f"choose one again with ./lab images use, or {fetch_words(Flavour(os))}"
        raise ImageError(f"this names no release of {os}", where=str(path), fix=fix)
    return version


def release_of(blade: Blade) -> Release | None:
    """What is here of the release a blade boots; None for a system without releases. Raises ImageError."""
    return find(blade.os, blade.version) if blade.os.has_releases else None


ANY_VERSION = "‹version›"
"""Stands in a plan for a version that nobody has named and that is not here."""


def release_to_plan(blade: Blade) -> Release | None:
    """As `release_of`, for a plan to look at: of a release that is not here, what its files would be called."""
    try:
        return release_of(blade)
    except ImageError:
        version = blade.version or ANY_VERSION
        return Release(version, names_of(PUBLISHERS[blade.os], version))


def find(os: Flavour, version: str | None) -> Release:
    """A release that is here; the current one where ``version`` is None. Raises ImageError."""
    folder = release_folder(os, version)
    fix = f"{fetch_words(os)} --version {folder.name}"
    try:
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
    except (FileNotFoundError, NotADirectoryError):
        others = ", ".join(versions(os)) or "none"
        what = f"release {folder.name} of {os} is not here; those that are: {others}"
        raise ImageError(what, where=str(folder), fix=fix) from None
    except OSError as error:
        what = f"release {folder.name} of {os} cannot be read: {error.strerror}"
        raise ImageError(what, where=str(folder), fix=f"sudo chmod -R a+rX {folder}") from None
    return Release(folder.name, tuple(files))


def versions(os: str) -> list[str]:
    """The releases of a system that are here, the oldest first."""
    folder = releases_folder(os)
    there = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted((name for name in there if VERSION.fullmatch(name)), key=age)
