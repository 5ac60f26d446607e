"""Reads the tables of fields that describe a config, and picks from them what one version of a spec knows.

A table is text that reads like the spec (`v3`, `v2` and `labkit.ignition.clc.fields` hold them)::

    File
      path       str          !
      contents   Resource          3.1+
      mode       int?
      ~inline    str?              3.0+

One line a field: name, type, ``!`` when it is written even if empty, and the versions that have it. Types are ``str``,
``int``, ``bool``, a struct's name, ``[T]`` for a list (``[T]:Name`` for one with a name of its own); ``?`` marks a
value that may be absent, as opposed to one whose absence means zero. ``~`` marks what only the YAML notation has,
``=`` what only the JSON has. A field may have several lines: the last one that fits a version wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

SCALARS = ("str", "int", "bool", "uint")
GO_SCALARS = {"str": "string", "int": "int", "bool": "bool", "uint": "uint"}
_SNAKE = re.compile(r"(MiB|[A-Z])")


def snake(name: str) -> str:
    """``sizeMiB`` becomes ``size_mib``, ``sshAuthorizedKeys`` becomes ``ssh_authorized_keys``."""
    return _SNAKE.sub(r"_\1", name).lower()


@dataclass(frozen=True)
class Type:
    """A field's type: a scalar, a struct or a list of either."""

    scalar: str = ""
    struct: Struct | None = None
    item: Type | None = None
    optional: bool = False
    name: str = ""  # what type errors call it

    @property
    def is_list(self) -> bool:
        return self.item is not None


@dataclass(frozen=True)
class Field:
    """One key of a struct. ``yaml`` and ``json`` are its names in the two notations."""

    json: str
    yaml: str
    type: Type
    always: bool = False


@dataclass
class Struct:
    """The keys that one version knows, in the order in which they are written."""

    name: str
    title: str
    fields: list[Field] = field(default_factory=list)

    @cached_property
    def by_yaml(self) -> dict[str, Field]:
        return {f.yaml: f for f in self.fields}

    @cached_property
    def by_json(self) -> dict[str, Field]:
        return {f.json: f for f in self.fields}

    @cached_property
    def by_folded(self) -> dict[str, Field]:
        """Go matches the keys of JSON whatever their case."""
        return {f.json.casefold(): f for f in reversed(self.fields)}


@dataclass(frozen=True)
class _Line:
    name: str
    type: str
    always: bool
    side: str  # "~" YAML alone, "=" JSON alone, "" both
    versions: str


Table = dict[str, list[_Line]]


def parse(text: str) -> Table:
    """Read a table; a struct's heading may name its family after the name (``BootDevice fcos``)."""
    table: Table = {}
    lines: list[_Line] = []
    for row in text.splitlines():
        words = row.split()
        if not words or words[0].startswith("#"):
            continue
        if not row.startswith(" "):
            lines = table.setdefault(" ".join(words), [])
            continue
        name, kind, *rest = words
        always = "!" in rest
        versions = next((word for word in rest if word != "!"), "")
        side = name[0] if name[0] in "~=" else ""
        lines.append(_Line(name.removeprefix(side), kind, always, side, versions))
    return table


def includes(versions: str, minor: int, variant: str = "", variant_minor: int = 0) -> bool:
    """Whether ``3.1+``, ``3.0-3.2``, ``3.0`` or ``fcos1.3+`` speaks of this version."""
    if not versions:
        return True
    for name in ("fcos", "flatcar"):
        if versions.startswith(name):
            if name != variant:
                return False
            versions, minor = versions.removeprefix(name), variant_minor
    low, _, high = versions.rstrip("+").partition("-")
    first = int(low.split(".")[1])
    last = int(high.split(".")[1]) if high else (99 if versions.endswith("+") else first)
    return first <= minor <= last


def build(
    table: Table, root: str, knows: Callable[[str], bool], *, yaml: bool, title: Callable[[str, str], str]
) -> Struct:
    """The struct ``root`` and all below it, for one version.

    ``knows`` says whether a version mark speaks of this version, ``yaml`` whether the YAML notation is
    wanted or the JSON, and ``title`` gives the name that a type error uses for a struct or a named string.
    """
    heads = {key.split()[0]: key for key in table}
    done: dict[str, Struct] = {}
    foreign = "=" if yaml else "~"

    def named(name: str) -> Struct:
        if name not in done:
            key = heads[name]
            family = key.partition(" ")[2]
            struct = done[name] = Struct(name, title(name, family))
            chosen = {
                line.name: line for line in table[key] if knows(line.versions) and line.side != foreign
            }  # a later line replaces an earlier one, at the earlier one's place
            struct.fields = [
                Field(line.name, snake(line.name), typed(line.type), line.always) for line in chosen.values()
            ]
        return done[name]

    def typed(text: str) -> Type:
        optional = text.endswith("?")
        text = text.removesuffix("?")
        if text.startswith("["):
            inner, _, own = text[1:].rpartition("]")
            item = typed(inner)
            return Type(item=item, name=title(own[1:], "") if own else f"[]{item.name}")
        if text in SCALARS:
            return Type(scalar=text, optional=optional, name=GO_SCALARS[text])
        if text in heads:
            struct = named(text)
            return Type(struct=struct, optional=optional, name=struct.title)
        return Type(scalar="str", name=title(text, ""))  # a named string, such as Device

    return named(root)
