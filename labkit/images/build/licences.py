"""What licences the firmware in an image has, from the packages' own copyright files (Debian's DEP 5)."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from labkit.errors import ImageError
from labkit.images.rootfs import inside, matching

FOLDER = "usr/lib/firmware"


def licences(tree: Path) -> dict[str, list[str]]:
    """The firmware of a tree by its licence's name. Raises ImageError for a file that no copyright file speaks of."""
    stanzas: list[tuple[tuple[str, ...], str]] = []
    for name in matching(tree, "usr/share/doc/firmware-*/copyright"):
        stanzas += _stanzas(inside(tree, name).read_text())
    found: dict[str, list[str]] = {}
    for file in _files(inside(tree, FOLDER)):
        found.setdefault(_licence(stanzas, file), []).append(file)
    return dict(sorted(found.items()))


def _files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _stanzas(copyright: str) -> list[tuple[tuple[str, ...], str]]:
    """Each ``Files:`` paragraph's patterns and the name after ``License:``."""
    found = []
    for paragraph in copyright.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.splitlines():
            if line[:1] in " \t":
                fields[name] = f"{fields.get(name, '')}\n{line}"
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value
        if "Files" in fields and "License" in fields:
            found.append((tuple(fields["Files"].split()), fields["License"].strip().partition("\n")[0]))
    return found


def _licence(stanzas: Iterable[tuple[tuple[str, ...], str]], file: str) -> str:
    said = [licence for patterns, licence in stanzas if any(fnmatchcase(file, pattern) for pattern in patterns)]
    if not said:
        raise ImageError(
            f"no copyright file says under which licence {file} is", fix="adapt labkit/images/build/licences.py"
        )
    return said[-1]  # the last that matches counts
