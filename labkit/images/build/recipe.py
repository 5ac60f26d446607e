"""What an image is made from, as one value with a digest: it is rebuilt when, and only when, that changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable

SUITE = "trixie"
SHARED = ("images/rootfs", "images/build/debian", "images/build/trial")
EPOCH_S = 1_700_000_000
"""The time every file of an image is stamped with, at most: building twice gives the same bytes."""


@dataclass(frozen=True)
class Recipe:
    """An image built from Debian packages.

    ``variant`` is mmdebstrap's; ``excluded`` are globs of paths that are never unpacked (``*`` matches slashes, see
    dpkg(1) ``--path-exclude``), ``included`` those of them that are unpacked all the same (``--path-include``),
    ``dropped`` globs below the root of what the set-up needed and the image does not; ``components`` are the archive's;
    ``files`` are laid over the tree, by name; ``settings`` are other choices that decide the result; ``builder`` is
    the source of the code that builds it.
    """

    name: str
    variant: str
    packages: tuple[str, ...]
    files: Mapping[str, bytes]
    builder: bytes
    excluded: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    suite: str = SUITE
    components: tuple[str, ...] = ("main",)

    @property
    def digest(self) -> str:
        """SHA-256 over everything above, in hexadecimal."""
        plain = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return value


def read_files(folder: Traversable, under: str = "") -> dict[str, bytes]:
    """Every file below a folder of this package, by its path relative to it."""
    found: dict[str, bytes] = {}
    for child in sorted(folder.iterdir(), key=lambda child: child.name):
        if child.is_dir():
            found |= read_files(child, f"{under}{child.name}/")
        else:
            found[under + child.name] = child.read_bytes()
    return found


def read_list(text: bytes) -> tuple[str, ...]:
    """The lines of a list, without blank ones and comments (``#``)."""
    lines = (line.partition("#")[0].strip() for line in text.decode().splitlines())
    return tuple(line for line in lines if line)


def read_sources(*modules: str) -> bytes:
    """The source code of modules of this package, which decides what an image becomes as much as its data does.

    What every builder uses is read as well.
    """
    package = resources.files("labkit")
    paths = [*SHARED, *(f"images/{module}" for module in modules)]
    return b"".join(package.joinpath(f"{path}.py").read_bytes() for path in paths)


def mode_of(content: bytes) -> int:
    """The permission bits of a file of a recipe: scripts can be run. Kept nowhere else, as wheels lose such bits."""
    return 0o755 if content.startswith(b"#!") else 0o644
