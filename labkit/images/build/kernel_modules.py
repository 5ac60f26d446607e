"""Which of a kernel's modules an image keeps: those asked for and what they depend on (modules.dep(5)).

Debian packs each module by itself, as ``.ko.xz``. An image keeps them unpacked: it is packed as a whole, better, and a
blade is spared the work at each boot. Here a module is named without its packing.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from labkit.errors import ImageError

PACKED = ".xz"


def read_dependencies(modules_dep: str) -> dict[str, tuple[str, ...]]:
    """``modules.dep``: each module's path and the paths of what must be loaded before it."""
    found = {}
    for line in modules_dep.splitlines():
        module, colon, needs = line.partition(":")
        if colon:
            found[module.removesuffix(PACKED)] = tuple(need.removesuffix(PACKED) for need in needs.split())
    return found


def keep_module(module: Path, *, kept: bool) -> None:
    """Have a module's file unpacked, or none of it."""
    packed = module.with_name(module.name + PACKED)
    if kept and packed.exists():
        module.write_bytes(lzma.decompress(packed.read_bytes()))
    elif not kept:
        module.unlink(missing_ok=True)
    packed.unlink(missing_ok=True)


def match_modules(dependencies: Mapping[str, object], builtin: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The modules that match one of the patterns (``net/netfilter/*``; ``*`` stays within a folder), sorted.

    What is built into the kernel (``modules.builtin``) needs no module. Raises ImageError for a pattern that matches
    neither: the kernel is another one than the recipe was written for, and the image would lack something.
    """
    found: set[str] = set()
    inside = list(builtin)
    for pattern in patterns:
        hits = _matching(dependencies, pattern)
        if not hits and not _matching(inside, pattern):
            raise ImageError(
                f"Debian's kernel has no module {pattern}.ko", fix="adapt labkit/images/files/labos/lists/modules"
            )
        found |= hits
    return sorted(found)


def _matching(modules: Iterable[str], pattern: str) -> set[str]:
    return {module for module in modules if PurePosixPath(module).match(f"kernel/{pattern}.ko")}


def order_modules(dependencies: Mapping[str, Sequence[str]], wanted: Iterable[str]) -> list[str]:
    """The wanted modules and all they need, each behind what it needs."""
    ordered: dict[str, None] = {}

    def add(module: str) -> None:
        if module not in ordered:
            for need in dependencies[module]:
                add(need)
            ordered[module] = None

    for module in wanted:
        add(module)
    return list(ordered)
