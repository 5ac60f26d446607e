"""Programs of a tree with the libraries they need, and nothing else: a root a few megabytes large."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from labkit.errors import ImageError
from labkit.images.build.debian import in_tree
from labkit.images.rootfs import inside, leads_somewhere

LOADER = "lib64/ld-linux-x86-64.so.2"


def libraries(listed: str) -> list[str]:
    """The files in what the dynamic loader lists, without their leading slash; the loader itself with them.

    Raises ImageError for a library that is missing.
    """
    missing = re.findall(r"(\S+) => not found", listed)
    if missing:
        raise ImageError(f"Debian's packages lack {', '.join(missing)}", fix="add its package to the image's recipe")
    return [LOADER, *re.findall(r"=> /(\S+)", listed)]


def copy_closure(tree: Path, root: Path, lock: int, *, programs: Iterable[str], files: Iterable[str]) -> None:
    """Copy programs and modules with all libraries they ask for, and further files, from a tree to a root."""
    wanted = [*programs, *files]
    for program in programs:
        wanted += libraries(in_tree(tree, lock, f"/{LOADER}", "--list", f"/{program}"))
    for name in dict.fromkeys(wanted):
        if not leads_somewhere(tree, name):
            raise ImageError(f"Debian's packages lack /{name}", fix="adapt the image's recipe in labkit/images")
        source, target = inside(tree, name), inside(root, name, follow=False)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)  # one file under the name that is asked for, whatever links led to it
