"""What a chapter may be given, read from its own parameters cell, and checked before anything happens.

A parameter is one line, which papermill lists with ``--help-notebook``::

    port: int = 8080  # the published port (1 to 65535, none of the lab's own)

The annotation is its type. The comment's last parentheses may say which values are allowed::

    (1 to 65535)                       and ", none of the lab's own" for a port that a service publishes
    (one of flatcar, fcos)             and ", or empty" at the end where no word is one too
    (blades of the lab)                for a list of their names; maybe ", at least 2", or ", among blades"
                                       where another parameter says which take part
    (a release of os)                  of the system that the parameter os names, else of the first blade's
    (a file, here or beside this)      from the working folder, else the notebook's or the lab file's
    (MAC addresses)                    for a list of them

``./lab run`` checks all chapters with `check_parameters` before it starts, each notebook itself with `check_given`.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError, ParameterError
from labkit.lab import Lab
from labkit.lab.lab_yaml.adopt import mac_address
from labkit.servers import client
from labkit.swarm.services.ports import check_port, taken_ports
from labkit.workbook.chapters import CHAPTERS, find_file, folder_of, source_of
from labkit.workbook.systems import check_version

TYPES: Mapping[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list[str]": list, "dict": dict}
CALLED = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "list[str]": "a list",
    "dict": "a mapping",
}  # fmt: skip
"""What each is called where a person reads it."""
_RANGE = re.compile(r"\((-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)(?:, none of the lab's own)?\)$")
_CHOICES = re.compile(r"\(one of ([^()]+)\)$")
_BLADES = re.compile(r"\(blades of the lab(?:, at least (\d+))?(?:, among (\w+))?\)$")
_RELEASE = re.compile(r"\(a release of (\w+)\)$")
_PORT = "none of the lab's own)"
_FILE = "(a file, here or beside this)"
_MACS = "(MAC addresses)"
_INJECTED = "# Parameters"
"""The first line of the cell that papermill adds (``papermill.parameterize.parameterize_notebook``)."""
MOST_CHARACTERS = 80


@dataclass(frozen=True)
class Parameter:
    """One parameter: ``kind`` is a key of `TYPES`, ``words`` its description with the allowed values at the end."""

    name: str
    kind: str
    default: Any
    words: str

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the greatest value, where the description says so."""
        found = _RANGE.search(self.words)
        return (float(found[1]), float(found[2])) if found else None

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that may be given, where the description lists them."""
        found = _CHOICES.search(self.words)
        words = [word.strip() for word in found[1].split(",")] if found else []
        return tuple("" if word == "or empty" else word for word in words)

    def check(self, value: Any, chapter: str, lab: Lab | None, beside: Path | None = None) -> Any:
        """The value as the notebook works with it: a list that came as JSON text is one, and a file's path is whole.

        ``beside`` is the notebook's folder; without it, as without a lab, what only it could tell is not asked.
        Raises ParameterError when this value may not be given.
        """
        value = self._typed(value, chapter, lab)
        if self.bounds is not None and not self.bounds[0] <= value <= self.bounds[1]:
            least, most = self.bounds
            raise ParameterError(
                f"{self.name} of {chapter} is {_brief(str(value))}", fix=f"a number from {least:g} to {most:g}"
            )
        if self.choices and value not in self.choices:
            what = f"{self.name} of {chapter} is {_shown(value)}"
            raise ParameterError(what, fix=f"one of {', '.join(word or 'or empty' for word in self.choices)}")
        if lab is not None and self.words.endswith(_PORT):
            check_port(value, taken_ports(lab), what=f"{self.name} of {chapter}")
        if lab is not None and _BLADES.search(self.words):
            self._check_blades(value, chapter, lab)
        if self.words.endswith(_MACS):
            return [self._mac(text, chapter) for text in value]
        if beside is not None and self.words.endswith(_FILE):
            return str(find_file(value, beside, *([lab.path.parent] if lab is not None else [])))
        return value

    def _typed(self, value: Any, chapter: str, lab: Lab | None) -> Any:
        """The value, of the right type. Papermill's ``-p`` passes lists on as text, and ``nan`` as a number."""
        wanted = TYPES[self.kind]
        if wanted in (list, dict) and isinstance(value, str):
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(value)
        right = type(value) is wanted or (wanted is float and type(value) is int)
        if not right or (self.kind == "list[str]" and not all(isinstance(one, str) for one in value)):
            what = f"{self.name} of {chapter} is {CALLED[self.kind]}, not {_shown(value)}"
            fix = f"for example {_shown(self.default)}"
            if lab is not None and lab.blades and _BLADES.search(self.words):
                known = [blade.name for blade in lab.blades]
                fix = f"a list, for example {json.dumps(known[:1])}; the lab's blades are {', '.join(known)}"
            raise ParameterError(what, fix=fix)
        if wanted is float and not math.isfinite(value):
            raise ParameterError(
                f"{self.name} of {chapter} is {value}", fix=f"a number, for example {_shown(self.default)}"
            )
        return value

    def _mac(self, text: str, chapter: str) -> str:
        try:
            return mac_address(text)
        except ParameterError as error:
            raise ParameterError(f"{self.name} of {chapter}: {error.what}", fix=error.fix) from None

    def _check_blades(self, names: Sequence[str], chapter: str, lab: Lab) -> None:
        if not lab.blades and not names:
            return  # chapter 1 can adopt the first ones; who chooses among none is told so
        chosen = [blade for blade in client.choose_blades(lab, names) if names or blade.is_node]
        found = _BLADES.search(self.words)
        least = int(found[1] or 0) if found else 0
        if len(chosen) < least:
            every = ", ".join(blade.name for blade in lab.blades)
            raise ParameterError(
                f"{self.name} of {chapter} is {', '.join(blade.name for blade in chosen)}",
                fix=f"at least {least} of {every}" if len(lab.blades) >= least else f"a lab with {least} blades",
            )


def _shown(value: Any) -> str:
    """A value as a person would write it, on a command line or in a file: true, null, ["blade1"]."""
    return _brief(json.dumps(value, ensure_ascii=False, default=repr))


def _brief(words: str) -> str:
    return words if len(words) <= MOST_CHARACTERS else f"{words[: MOST_CHARACTERS - 1]}…"


def read_parameters(folder: Path, chapter: str) -> dict[str, Parameter]:
    """A chapter's parameters, as papermill lists them; importing papermill for it would cost each notebook seconds.

    Raises LabkitError for a notebook that cannot be read, and for a line that is not as described above.
    """
    where = f"{chapter}.ipynb"
    try:
        book = json.loads((folder / where).read_text(encoding="utf-8"))
        cells = [cell for cell in book["cells"] if "parameters" in cell["metadata"].get("tags", ())]
        source = source_of(cells[0]) if cells else ""
        lines = source.encode().splitlines()
        found = [_parameter(node, lines[(node.end_lineno or 1) - 1], where) for node in ast.parse(source).body]
    except (OSError, ValueError, LookupError, TypeError, SyntaxError) as error:
        raise LabkitError(f"its parameters cannot be read: {error}", where=str(folder / where)) from None
    return {one.name: one for one in found}


def _parameter(node: ast.stmt, line: bytes, where: str) -> Parameter:
    """A statement of the parameters cell, with the line that it ends on."""
    words = line[node.end_col_offset :].decode().strip().removeprefix("#").strip()
    match node:
        case ast.AnnAssign(ast.Name(name), kind, ast.expr() as value) if ast.unparse(kind) in TYPES and words:
            return Parameter(name, ast.unparse(kind), ast.literal_eval(value), words)
    name = ast.unparse(node).partition(" ")[0].removesuffix(":")
    fix = f"write it so: {name}: int = 1  # what it is"
    raise LabkitError(f"the parameter {name} has no type or no description", where=where, fix=fix)


def check_parameters(
    folder: Path, given: Mapping[str, Any], lab: Lab | None = None, chapters: Sequence[str] = CHAPTERS
) -> dict[str, dict[str, Any]]:
    """The given parameters by chapter: each of ``chapters`` gets those it has, as `Parameter.check` returns them.

    Raises ParameterError for a name that no chapter has, and for a value, also a default, of another type, out of
    range, not among the choices, naming a blade that is not in ``lab``, a port that the lab needs or no file.
    """
    known = {chapter: read_parameters(folder, chapter) for chapter in CHAPTERS}
    checked: dict[str, dict[str, Any]] = {}
    for chapter in chapters:
        values = {name: given.get(name, one.default) for name, one in known[chapter].items()}
        values = _check_all(known[chapter], values, chapter, lab, folder)
        checked[chapter] = {name: value for name, value in values.items() if name in given}
    _refuse_unknown(given, {name for own in known.values() for name in own}, "no chapter has a", "they have")
    return checked


def check_given(chapter: str, namespace: MutableMapping[str, Any], lab: Lab) -> None:
    """Check the parameters of a notebook from inside it: ``namespace`` is its ``globals()``, where they stand.

    Each is put back as `Parameter.check` returns it. Raises ParameterError with the same words as `check_parameters`;
    also for a name that papermill was given and this chapter does not have, about which papermill only warns.
    """
    folder = folder_of(chapter, lab.path)
    known = read_parameters(folder, chapter)
    missing = ", ".join(name for name in known if name not in namespace)
    if missing:
        raise ParameterError(f"{chapter} does not know its {missing}", fix="run the cell above, with the parameters")
    _refuse_unknown(_injected(namespace.get("In", ())), known, f"{chapter} has no", "it has")
    namespace.update(_check_all(known, namespace, chapter, lab, folder))


def _check_all(
    known: Mapping[str, Parameter], values: Mapping[str, Any], chapter: str, lab: Lab | None, folder: Path
) -> dict[str, Any]:
    """Every parameter of a chapter as `Parameter.check` returns it; then those that depend on another."""
    checked = {name: one.check(values[name], chapter, lab, folder) for name, one in known.items()}
    for name, one in known.items():
        found = _BLADES.search(one.words)
        if lab is not None and found and found[2]:
            there = [blade.name for blade in client.choose_blades(lab, checked[found[2]])]
            outside = [blade for blade in checked[name] if blade not in there]
            if outside:
                what = f"{name} of {chapter} has {', '.join(outside)}, and {found[2]} has not"
                raise ParameterError(what, fix=f"some of {', '.join(there)}")
        if system := _RELEASE.search(one.words):
            what = f"{name} of {chapter} is {_shown(checked[name])}"
            check_version(lab, checked.get("blades", ()), checked[system[1]], checked[name], what=what)
    return checked


def _injected(cells: Sequence[str]) -> list[str]:
    """The names that papermill has set, from the sources of the cells that have run (IPython's ``In``)."""
    cell = next((source for source in reversed(cells) if source.startswith(_INJECTED)), "")
    nodes = [node for node in ast.parse(cell).body if isinstance(node, ast.Assign)]
    return [target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)]


def _refuse_unknown(given: Iterable[str], known: Iterable[str], head: str, they_have: str) -> None:
    names = sorted(known)
    unknown = sorted(set(given) - set(names))
    if unknown:
        near = [name for word in unknown for name in difflib.get_close_matches(word, names, n=1)]
        fix = (f"did you mean {' and '.join(near)}? " if near else "") + f"{they_have} {', '.join(names)}"
        raise ParameterError(f"{head} parameter {', '.join(unknown)}", fix=fix)


def effective(folder: Path, chapter: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All of a chapter's parameters as they hold: what was given, else the default."""
    return {name: given.get(name, one.default) for name, one in read_parameters(folder, chapter).items()}
