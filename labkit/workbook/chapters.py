"""Which notebooks there are, what each does to the world and how to undo it, and the sections of each."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import MachineError, ParameterError


@dataclass(frozen=True)
class Chapter:
    """One notebook: what a person does in it, what it changes, and how that is undone."""

    name: str
    title: str
    does: str
    changes: str
    undo: str

    @property
    def file(self) -> str:
        return f"{self.name}.ipynb"


START = Chapter(
    "00-start",
    "Start",
    "Checks whether this machine is ready, and shows the lab.",
    "Nothing.",
    "There is nothing to undo.",
)
HELP = Chapter(
    "99-help", "Help", "What can go wrong and what to do about it; a glossary.", "Nothing.",
    "There is nothing to undo.",
)  # fmt: skip
WORK = (
    Chapter(
        "01-pxe-setup", "PXE", "Switches blades on and watches how a machine without a disk finds its system.",
        "The lab comes up and the chosen blades are switched on; lab.yaml gets the machines that you adopt.",
        "./lab power off switches the blades off; ./lab down ends the lab; ./lab forget takes a blade out of lab.yaml.",
    ),
    Chapter(
        "02-ignition-authoring", "Ignition", "Writes the config that tells a bare machine who it is.",
        "The lab comes up and the chosen blades boot with their configs; lab.yaml names the one that you save.",
        "Undo, the button, takes a save back; ./lab power off switches the blades off; ./lab down ends the lab.",
    ),
    Chapter(
        "03-swarm-bootstrap", "The swarm", "Makes a swarm and lets the blades join it by themselves.",
        "The controller's engine becomes a manager; the chosen blades become nodes.",
        "./lab power shutdown makes the blades leave in order; ./lab down ends the lab and its swarm.",
    ),
    Chapter(
        "04-nginx-service", "nginx", "Runs nginx on the blades, asks each of them for its page, and opens it.",
        "The swarm runs a service named web, and a port is open on every blade.",
        "./lab docker service rm web; ./lab down ends everything.",
    ),
    Chapter(
        "05-day-two", "Day two", "Reboots a blade, pulls the plug on another, drains, updates and rolls back.",
        "Blades go down and come back; the service's page changes, and changes back.",
        "There is nothing to undo: it ends as it began.",
    ),
)  # fmt: skip

CHAPTERS = tuple(chapter.name for chapter in WORK)
"""Those that do something, in order."""
BRING_UP = CHAPTERS[:4]
"""What ``./lab run`` goes through, unless it is to reboot blades and pull plugs as well."""
BOOK = (START, *WORK, HELP)
"""Every notebook, in the order a person reads them."""


def chapter(name: str) -> Chapter:
    """The chapter of that name. Raises ParameterError naming those there are."""
    for one in BOOK:
        if one.name == name:
            return one
    raise ParameterError(f"no chapter '{name}'", fix=f"one of {', '.join(one.name for one in BOOK)}")


def choose_chapters(words: Sequence[str], among: Sequence[str] = CHAPTERS) -> tuple[str, ...]:
    """The chapters that these words name, in the book's order: each a number (``4``, ``04``), a name or its file.

    Raises ParameterError naming those there are.
    """
    chosen = set()
    for word in words:
        name = Path(word).name.removesuffix(".ipynb")
        found = [one for one in among if name == one or (name.isdecimal() and int(name) == int(one[:2]))]
        if not found:
            near = difflib.get_close_matches(name, among, n=1)
            fix = f"did you mean {near[0]}?" if near else f"one of {', '.join(among)}; its number is enough"
            raise ParameterError(f"no chapter '{word}'{' to run' if among is CHAPTERS else ''}", fix=fix)
        chosen.update(found)
    return tuple(one for one in among if one in chosen)


def notebooks_folder(lab_path: Path) -> Path:
    """``notebooks/`` beside the lab file where the chapters are in it, else the one beside the package.

    Raises MachineError without either.
    """
    for folder in (lab_path.parent / "notebooks", Path(__file__).parents[2] / "notebooks"):
        if all((folder / one.file).is_file() for one in WORK):
            return folder
    raise MachineError("the notebooks are not there", fix="run this in a clone of labkit")


def folder_of(name: str, lab_path: Path) -> Path:
    """The folder with the notebook of a chapter: the working folder, else `notebooks_folder`.

    Nobody tells a kernel where its notebook lies: JupyterLab starts it there, papermill where papermill was started.
    """
    here = Path.cwd()
    return here if (here / chapter(name).file).is_file() else notebooks_folder(lab_path)


def find_file(path: str | Path, *beside: Path) -> Path:
    """The file that a parameter names: from the working folder, else from those ``beside``, the notebook's and the lab
    file's; absolute.

    Raises ParameterError that names every place looked at.
    """
    with contextlib.suppress(RuntimeError):  # ~nobody: then it is a name like another
        path = Path(path).expanduser()
    places = list(dict.fromkeys((Path.cwd() / path, *(folder.absolute() / path for folder in beside))))
    for place in places:
        with contextlib.suppress(OSError, ValueError):  # a name too long, or with a null in it, is no file's
            if place.exists() and not place.is_dir():
                return place
    looked = " and ".join(map(str, places))
    raise ParameterError(f"there is no file {str(path)!r}: looked for {looked}", fix="name a file that is there")


def plain(path: Path) -> str:
    """A path for papermill, which takes braces in it for the places of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True)
class Section:
    """A second-level heading and the code cells under it: their ids and sources, in order."""

    name: str
    ids: tuple[str, ...]
    sources: tuple[str, ...]


def sections_of(book: Mapping[str, Any]) -> tuple[Section, ...]:
    """The sections of a notebook that hold code, without the parameters. What is above the first is "Prepare"."""
    found: list[tuple[str, list[Mapping[str, Any]]]] = [("Prepare", [])]
    for cell in book["cells"]:
        source = source_of(cell)
        if cell["cell_type"] == "code" and "parameters" not in cell.get("metadata", {}).get("tags", ()):
            found[-1][1].append(cell)
        headings = [line[3:].strip() for line in source.splitlines() if line.startswith("## ")]
        if cell["cell_type"] == "markdown" and headings:
            found.append((headings[-1], []))
    return tuple(
        Section(name, tuple(str(cell.get("id", "")) for cell in cells), tuple(source_of(cell) for cell in cells))
        for name, cells in found
        if cells
    )


def read_sections(folder: Path, name: str) -> tuple[Section, ...]:
    """`sections_of` a chapter's file."""
    return sections_of(json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8")))


def source_of(cell: Mapping[str, Any]) -> str:
    """A cell's text, which nbformat keeps as one string or as lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)
