"""What a chapter may be given, read from its own parameters cell, and checked before anything happens.

A parameter is one line, which papermill lists with ``--help-notebook``::

    port: int = 8080  # the published port (1 to 65535)

The annotation is its type. The comment's last parentheses may say which values are allowed: ``(1 to 65535)``,
``(one of flatcar, fcos)``, or ``(blades of the lab)`` for a list of their names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import client
from labkit.errors import LabkitError, ParameterError
from labkit.lab import Lab
from labkit.workbook.chapters import CHAPTERS, plain

TYPES: Mapping[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list[str]": list, "dict": dict}
_RANGE = re.compile(r"\((-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)\)$")
_CHOICES = re.compile(r"\(one of ([^()]+)\)$")
_BLADES = "(blades of the lab)"


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
        return tuple(word.strip() for word in found[1].split(",")) if found else ()

    def check(self, value: Any, chapter: str, lab: Lab | None) -> None:
        """Raise ParameterError when this value may not be given."""
        wanted = TYPES[self.kind]
        right = type(value) is wanted or (wanted is float and type(value) is int)
        if not right or (self.kind == "list[str]" and not all(isinstance(one, str) for one in value)):
            raise ParameterError(
                f"{self.name} of {chapter} is a {self.kind}, not {value!r}", fix=f"for example {self.default!r}"
            )
        if self.bounds is not None and not self.bounds[0] <= value <= self.bounds[1]:
            least, most = self.bounds
            raise ParameterError(f"{self.name} of {chapter} is {value}", fix=f"a number from {least:g} to {most:g}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"{self.name} of {chapter} is {value!r}", fix=f"one of {', '.join(self.choices)}")
        if lab is not None and self.words.endswith(_BLADES):
            client.choose_blades(lab, value)


def read_parameters(folder: Path, chapter: str) -> dict[str, Parameter]:
    """A chapter's parameters, as papermill reads them. Raises LabkitError for a line that is not as described above."""
    import papermill

    found = {}
    for name, raw in papermill.inspect_notebook(plain(folder / f"{chapter}.ipynb")).items():
        kind, words = raw["inferred_type_name"], raw["help"]
        if kind not in TYPES or not words:
            raise LabkitError(
                f"the parameter {name} has no type or no description",
                where=f"{chapter}.ipynb",
                fix=f"write it so: {name}: int = 1  # what it is",
            )
        found[name] = Parameter(name, kind, ast.literal_eval(raw["default"]), words)
    return found


def check_parameters(folder: Path, given: Mapping[str, Any], lab: Lab | None = None) -> dict[str, dict[str, Any]]:
    """The given parameters by chapter: each chapter gets those it has.

    Raises ParameterError for a name that no chapter has, and for a value of another type, out of range, not among the
    choices, or naming a blade that is not in ``lab``.
    """
    chapters: dict[str, dict[str, Any]] = {}
    known: dict[str, Parameter] = {}
    for chapter in CHAPTERS:
        parameters = read_parameters(folder, chapter)
        known |= parameters
        chapters[chapter] = {name: value for name, value in given.items() if name in parameters}
        for name, value in chapters[chapter].items():
            parameters[name].check(value, chapter, lab)
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ParameterError(
            f"no chapter has a parameter {', '.join(unknown)}", fix=f"they have {', '.join(sorted(known))}"
        )
    return chapters


def effective(folder: Path, chapter: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All of a chapter's parameters as they hold: what was given, else the default."""
    return {name: given.get(name, one.default) for name, one in read_parameters(folder, chapter).items()}
