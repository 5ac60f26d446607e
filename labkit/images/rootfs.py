"""Names inside a tree: looked up as a program would that has the tree as its root, never through this machine.

A tree of Debian packages is full of absolute links, such as ``lib64/ld-linux-x86-64.so.2``. Followed from outside they
lead into this machine, where there often is a file of that name, and a different one. So an absolute link starts again
at the tree's root here, and ``..`` stops there: what openat2(2) calls RESOLVE_IN_ROOT. It is done by hand because what
is wanted is a path, to copy, replace or remove something, and not an open file.

The answer holds as long as nobody changes the tree: for trees that are being built, and data whose program has ended.
"""

from __future__ import annotations

import errno
import os
import stat
from fnmatch import fnmatchcase
from pathlib import Path

MAX_LINKS = 40
"""As many links as the kernel follows on one path, path_resolution(7)."""

NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What says that a name leads to nothing."""


def inside(tree: Path, name: str | Path, *, follow: bool = True) -> Path:
    """Where ``name`` is: a path below ``tree`` that passes no link, whether something is there or not.

    With ``follow`` false a link at the end of ``name`` is left as it is, for what replaces, removes or reads the link
    itself. Raises OSError as open(2) does: ELOOP for links in a circle, ENOTDIR and ENOENT for a name that goes on
    behind a file or climbs out of a folder that is not there.
    """
    here: list[str] = []
    ahead = str(name).split("/")[::-1]
    links = 0
    there = True
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not there:
                raise _error(errno.ENOENT, tree, here)
            del here[-1:]
            continue
        here.append(part)
        mode = _mode(tree.joinpath(*here)) if there else None
        there = mode is not None
        if mode is None or stat.S_ISDIR(mode):
            continue
        if not stat.S_ISLNK(mode):
            if ahead:
                raise _error(errno.ENOTDIR, tree, here)
        elif ahead or follow:
            links += 1
            if links > MAX_LINKS:
                raise _error(errno.ELOOP, tree, here)
            target = os.readlink(tree.joinpath(*here))
            here = [] if target.startswith("/") else here[:-1]
            ahead += target.split("/")[::-1]
    return tree.joinpath(*here)


def leads_somewhere(tree: Path, name: str | Path) -> bool:
    """Whether there is something in the tree that this name leads to, over links as well."""
    try:
        return os.path.lexists(inside(tree, name))
    except OSError as error:
        if error.errno in NOWHERE:
            return False
        raise


def matching(tree: Path, pattern: str) -> list[str]:
    """The names in a tree that a glob matches, sorted: ``*`` stays within a folder and takes hidden names too.

    Links on the way are followed inside the tree; one at the end counts as what it is. A name given in full matches
    when it is there.
    """
    found = [""]
    for part in pattern.split("/"):
        found = [f"{above}/{name}" for above in found for name in _names(tree, above, part)]
    return sorted(name.removeprefix("/") for name in found)


def _names(tree: Path, above: str, pattern: str) -> list[str]:
    try:
        if not any(letter in pattern for letter in "*?["):
            return [pattern] if os.path.lexists(inside(tree, f"{above}/{pattern}", follow=False)) else []
        return [name for name in os.listdir(inside(tree, above)) if fnmatchcase(name, pattern)]
    except OSError as error:
        if error.errno in NOWHERE:
            return []
        raise


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return None


def _error(number: int, tree: Path, here: list[str]) -> OSError:
    return OSError(number, os.strerror(number), str(tree.joinpath(*here)))
