"""The walk of Ignition 0.x over a config: checks of structs and of fields, and where their remarks stand.

A struct's check that fails ends the walk there. A remark without a place of its own takes that of the nearest struct
around it. This is how ct and Container Linux's Ignition report, and differs from what Ignition 2 does (`correlate`).

Source: config/validate/validate.go of flatcar/ignition 0.36.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..report import Entry, Kind, Path
from ..yaml.tree import Node
from .schema import Struct, Type

Value = dict[str, Any]
Remark = tuple[Kind, str]
StructRule = Callable[[Value], list[Remark]]
FieldRule = Callable[[Value], list[Remark]]


#: Go embeds this field's struct, so the walk looks for its keys one level too high and finds none
EMBEDDING = {"Security": "tls"}


class Walk:
    """One walk. ``name`` turns a key of the tree into a field's name in the values (``yaml`` or ``json`` names)."""

    def __init__(
        self,
        struct_rules: dict[str, StructRule],
        field_rules: dict[tuple[str, str], FieldRule],
        *,
        names: str,
        rename: Callable[[str], str] = str,
        unused: bool = False,
    ) -> None:
        self.struct_rules = struct_rules
        self.field_rules = field_rules
        self.names = names
        self.rename = rename
        self.unused = unused

    def struct(self, value: Value, struct: Struct, node: Node | None, path: Path = ()) -> list[Entry]:
        """The remarks about a struct and all below it."""
        place = _place(node)
        entries: list[Entry] = []
        if rule := self.struct_rules.get(struct.name):
            entries = [Entry(kind, text, path, *place) for kind, text in rule(value)]
            if any(entry.kind == "error" for entry in entries):
                return entries
        keys = (
            {self.rename(key.value): (key, item) for key, item in node.pairs()} if node and node.kind == "map" else {}
        )
        part = EMBEDDING.get(struct.name) if self.names == "json" else None
        if part and (inner := struct.by_json[part].type.struct) is not None:
            value, struct, path = value.get(part, {}), inner, (*path, part)
        known = set()
        for field in struct.fields:
            name = field.yaml if self.names == "yaml" else field.json
            known.add(name)
            found = keys.get(name)
            below = found[1] if found else None
            here = place
            where = (*path, name)
            if check := self.field_rules.get((struct.name, field.json)):
                here = _place(below) if below is not None else place
                entries += [Entry(kind, text, where, *here) for kind, text in check(value)]
            item = value.get(name)
            if item is not None:
                entries += [_at(entry, here) for entry in self._value(item, field.type, below, where)]
        if self.unused:
            entries += self._unused(keys, known, path)
        return [_at(entry, place) for entry in entries]

    def _value(self, value: Any, kind: Type, node: Node | None, path: Path) -> list[Entry]:
        if kind.struct is not None:
            return self.struct(value, kind.struct, node, path)
        if kind.item is None or kind.item.struct is None:
            return []
        entries = []
        for index, item in enumerate(value):
            below = node
            if node is not None and node.kind == "seq" and index < len(node.items):
                below = node.items[index]
            found = self.struct(item, kind.item.struct, below, (*path, index))
            entries += [_at(entry, _place(node)) for entry in found]
        return entries

    def _unused(self, keys: dict[str, tuple[Node, Node]], known: set[str], path: Path) -> list[Entry]:
        entries = []
        for name, (key, _) in keys.items():
            if name in known:
                continue
            where, place = (*path, name), (key.line, key.column)
            entries.append(Entry("warning", f"Config has unrecognized key: {name}", where, *place))
            near = next((other for other in known if other.casefold() == name.casefold()), "")
            if near:
                entries.append(Entry("info", f"Did you mean {near} instead of {name}", where, *place))
        return entries


def _place(node: Node | None) -> tuple[int, int]:
    return (node.line, node.column) if node is not None else (0, 0)


def _at(entry: Entry, place: tuple[int, int]) -> Entry:
    return entry if entry.line or not place[0] else replace(entry, line=place[0], column=place[1])
