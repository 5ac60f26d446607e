"""The copies of the notebooks that ``./lab workbook`` opens, so that what JupyterLab saves changes no original.

They lie in ``workbook/`` of the state folder, with all that lies beside the originals. What each was made from is kept
in ``.originals/`` there: a notebook whose cells are no longer those is a person's own, and is not touched unasked. Its
outputs do not count, since they come with every run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import on_file
from labkit.lab.state import State, owner_of, write_whole
from labkit.workbook.chapters import BOOK, choose_chapters, notebooks_folder, source_of

FOLDER, ORIGINALS = "workbook", ".originals"
ALL = "all"


@dataclass(frozen=True)
class Copies:
    """The folder of the copies, and by name in it: ``kept`` are a person's own whose original has changed meanwhile,
    ``renewed`` took such a change, and ``aside`` is where a reset has left what was there.
    """

    folder: Path
    kept: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    aside: tuple[tuple[str, str], ...] = ()

    def told(self) -> str:
        """What is worth a word, a line each."""
        lines = [f"renewed, since its original has changed: {name}" for name in self.renewed]
        for name in self.kept:
            lines.append(f"{name} is as you left it, and its original has changed: {_reset(name)} takes the new one")
        lines += [f"{name} is as it came; yours is kept as {old}" for name, old in self.aside]
        return "\n".join(lines)


def make_copies(lab_path: Path, state: State, *, reset: Sequence[str] = ()) -> Copies:
    """Make the copies that are missing, and renew those whose original has changed and that nobody has edited.

    ``reset`` names chapters (``02``) to be made anew whatever is in them, or `ALL`; what was there is kept beside them.
    Raises ParameterError for a name that is no chapter, FileError where a file cannot be read or written.
    """
    originals, folder = notebooks_folder(lab_path), state.path / FOLDER
    wanted = () if ALL in reset else choose_chapters(reset, [one.name for one in BOOK])
    with on_file(state.path):
        state.make()
    kept, renewed, aside = [], [], []
    for path in _files(originals):
        name = path.relative_to(originals)
        copy, base = folder / name, folder / ORIGINALS / name
        new, now, before = _bytes(path), _bytes(copy), _bytes(base)
        if now not in (None, new) and (ALL in reset or name.stem in wanted):
            aside.append((str(name), _put_aside(copy).name))
        elif now not in (None, new) and _is_edited(copy, now, before):
            kept += [str(name)] if before != new else []
            continue
        elif now not in (None, new) and before == new:
            continue  # it has run, and has its outputs
        elif now not in (None, new):
            renewed.append(str(name))
        for target in (copy, base):  # in this order: a copy that is its original was not edited, whatever base says
            _write(target, new)
    return Copies(folder, tuple(kept), tuple(renewed), tuple(aside))


def own_notebooks(state: State) -> tuple[str, ...]:
    """The names of the files among the copies that a person has written or edited. Raises FileError."""
    folder = state.path / FOLDER
    found = []
    for path in _files(folder):
        name = path.relative_to(folder)
        if _is_edited(path, _bytes(path), _bytes(folder / ORIGINALS / name)):
            found.append(str(name))
    return tuple(found)


def _reset(name: str) -> str:
    return f"./lab workbook --reset {name.split('-')[0] if name.endswith('.ipynb') else ALL}"


def _files(folder: Path) -> list[Path]:
    """What belongs to the notebooks: every file, but what is hidden or a cache."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in found if not any(_is_hidden(part) for part in path.relative_to(folder).parts)]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _bytes(path: Path) -> bytes | None:
    with on_file(path):
        return path.read_bytes() if path.is_file() else None


def _is_edited(path: Path, now: bytes | None, before: bytes | None) -> bool:
    if now == before or before is None:
        return now != before
    mine = _cells(now) if path.suffix == ".ipynb" else None
    return mine is None or mine != _cells(before)


def _cells(data: bytes | None) -> list[tuple[str, str]] | None:
    """What a person writes in a notebook: each cell's kind and source; None where it is no notebook."""
    try:
        return [(cell["cell_type"], source_of(cell)) for cell in json.loads(data or b"")["cells"]]
    except (ValueError, LookupError, TypeError):
        return None


def _put_aside(copy: Path) -> Path:
    """Rename a copy to a name beside it that is free."""
    number = 1
    while (old := copy.with_name(f"{copy.stem}.old{number}{copy.suffix}")).exists():
        number += 1
    with on_file(copy):
        return copy.rename(old)


def _write(target: Path, data: bytes | None) -> None:
    with on_file(target):
        for missing in [place for place in reversed(target.parents) if not place.exists()]:
            missing.mkdir()
            os.chown(missing, *owner_of(missing.parent))
        write_whole(target, data or b"")
