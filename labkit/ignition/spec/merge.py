"""Ignition's merge: a child config laid over its parent.

Scalars of the child win, structs merge field by field, and lists merge by key (files by path, units by name): an entry
of both merges at the parent's place, and what only the child has follows. A file of the child replaces a link of the
parent at that path. Lists without keys (mkfs options, file appends) add up.

Source: config/merge/merge.go of Ignition 2.26.
"""

from __future__ import annotations

from typing import Any

from ..report import Path
from .rules_v3 import ADDING, SHARED, key_of
from .schema import Field, Struct

Value = dict[str, Any]
Origins = dict[Path, Path]


def note_source(value: Any, path: Path, came: Path, origins: Origins) -> None:
    """Say that a value and everything in it came from one place."""
    origins[path] = came
    if isinstance(value, dict):
        for name, item in value.items():
            note_source(item, (*path, name), came, origins)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            note_source(item, (*path, index), came, origins)


class Merger:
    """Merges two typed configs and follows where each value came from.

    ``parent`` and ``child`` map paths of the two configs to wherever their values were written; `origins` does the
    same for the result. Where both contributed, the child's origin counts, since a person wrote that one.
    """

    def __init__(self, parent: Origins | None = None, child: Origins | None = None) -> None:
        self._sides = ({} if parent is None else parent, {} if child is None else child)
        self._follow = parent is not None
        self.origins: Origins = {}

    def merge(self, parent: Value, child: Value, struct: Struct) -> Value:
        return self._struct(parent, (), child, (), (), struct)

    def _struct(self, parent: Value, p_at: Path, child: Value, c_at: Path, at: Path, struct: Struct) -> Value:
        result: Value = {}
        keys = self._child_keys(child, struct)
        for field in struct.fields:
            name = field.json
            old, new = parent.get(name), child.get(name)
            paths = (*p_at, name), (*c_at, name), (*at, name)
            if field.type.item is not None:
                merged: Any = self._list(old or [], new or [], paths, struct, field, keys)
            elif field.type.struct is not None and old and new:
                merged = self._struct(old, paths[0], new, paths[1], paths[2], field.type.struct)
                self._note(0, paths[0], paths[2])
                self._note(1, paths[1], paths[2])
            else:
                keeps_child = bool(new) if field.type.struct and not field.type.optional else new is not None
                if not keeps_child and not field.type.optional and field.type.scalar:
                    continue  # a plain scalar that the child leaves empty is empty
                merged = new if keeps_child else old
                side = 1 if keeps_child else 0
                self._copy(side, paths[side], paths[2], merged)
            if merged is not None and merged != []:
                result[name] = merged
        return result

    def _child_keys(self, child: Value, struct: Struct) -> dict[tuple[str, str], tuple[str, int]]:
        keys: dict[tuple[str, str], tuple[str, int]] = {}
        for field in struct.fields:
            if field.type.item is None or (struct.name, field.json) in ADDING:
                continue
            group = SHARED.get((struct.name, field.json), field.json)
            for index, item in enumerate(child.get(field.json) or ()):
                keys[group, key_of(item, field.type.item.struct)] = (field.json, index)
        return keys

    def _list(
        self,
        old: list[Any],
        new: list[Any],
        paths: tuple[Path, Path, Path],
        struct: Struct,
        field: Field,
        keys: dict[tuple[str, str], tuple[str, int]],
    ) -> list[Any]:
        p_at, c_at, at = paths
        item_type = field.type.item
        assert item_type is not None
        result: list[Any] = []
        adding = (struct.name, field.json) in ADDING
        group = SHARED.get((struct.name, field.json), field.json)
        taken = set()
        from_parent = from_child = False
        for index, item in enumerate(old):
            key = key_of(item, item_type.struct) if not adding else ""
            taken.add(key)
            where = None if adding else keys.get((group, key))
            here = (*at, len(result))
            if where is None:
                self._copy(0, (*p_at, index), here, item)
                result.append(item)
                from_parent = True
            elif where[0] == field.json:
                from_parent = from_child = True
                other = new[where[1]]
                if item_type.struct is None:
                    result.append(other)
                    self._copy(1, (*c_at, where[1]), here, other)
                elif item_type.struct.name != "HTTPHeader" or other.get("value") is not None:
                    result.append(self._struct(item, (*p_at, index), other, (*c_at, where[1]), here, item_type.struct))
                    self._note(0, (*p_at, index), here)
                    self._note(1, (*c_at, where[1]), here)
        for index, item in enumerate(new):
            if adding or key_of(item, item_type.struct) not in taken:
                self._copy(1, (*c_at, index), (*at, len(result)), item)
                result.append(item)
                from_child = True
        if from_parent:
            self._note(0, p_at, at)
        if from_child:
            self._note(1, c_at, at)
        return result

    def _copy(self, side: int, source: Path, target: Path, value: Any) -> bool:
        """Follow a whole value; one that is empty leaves no trace."""
        if not self._follow or value is None:
            return False
        if isinstance(value, dict):
            told = [self._copy(side, (*source, name), (*target, name), item) for name, item in value.items()]
        elif isinstance(value, list):
            told = [self._copy(side, (*source, i), (*target, i), item) for i, item in enumerate(value)]
        else:
            told = [True]
        if any(told):
            self._note(side, source, target)
        return any(told)

    def _note(self, side: int, source: Path, target: Path) -> None:
        origin = self._sides[side].get(source) if self._follow else None
        if origin is not None and (side == 1 or target not in self.origins):
            self.origins[target] = origin
