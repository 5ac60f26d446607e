"""Which of a kernel's modules an image keeps: those asked for and what they depend on (modules.dep(5))."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath


def read_dependencies(modules_dep: str) -> dict[str, tuple[str, ...]]:
    """``modules.dep``: each module's path and the paths of what must be loaded before it."""
    found = {}
    for line in modules_dep.splitlines():
        module, colon, needs = line.partition(":")
        if colon:
            found[module] = tuple(needs.split())
    return found


def match_modules(dependencies: Mapping[str, object], patterns: Iterable[str]) -> list[str]:
    """The modules that match one of the patterns (``net/netfilter/*``; ``*`` stays within a folder), sorted.

    Raises KeyError with a pattern that matches none: the kernel has changed, and the image would lack something.
    """
    found: set[str] = set()
    for pattern in patterns:
        hits = {module for module in dependencies if PurePosixPath(module).match(f"kernel/{pattern}.ko")}
        if not hits:
            raise KeyError(pattern)
        found |= hits
    return sorted(found)


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
