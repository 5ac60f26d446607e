"""Finds the place in the text for every remark, and the keys that a notation does not know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .report import Entry, Findings, Path
from .spec.schema import Struct
from .yaml.tree import Node


class Key(str):
    """A step of a path that means a mapping's key itself, not the value there."""

    __slots__ = ()


def place(entries: Iterable[Entry], root: Node | None) -> list[Entry]:
    """Give each entry the line and column of the deepest node on its path that exists."""
    if root is None:
        return list(entries)
    placed = []
    for entry in entries:
        node = _deepest(root, entry.path)
        placed.append(replace(entry, line=node.line, column=node.column))
    return placed


def _deepest(node: Node, path: Path) -> Node:
    for step in path:
        below = _step(node, step)
        if below is None:
            return node
        node = below
    return node


def _step(node: Node, step: str | int) -> Node | None:
    if node.kind == "map" and isinstance(step, Key):
        return node.key(step)
    if node.kind == "map" and isinstance(step, str):
        return node.get(step)
    if node.kind == "seq" and isinstance(step, int):
        return node.items[step] if step < len(node.items) else None
    return None


def find_unused(node: Node | None, value: dict[str, Any], struct: Struct, names: str, found: Findings) -> None:
    """Warn of keys that ``struct`` does not have. ``names`` is the notation: ``yaml`` or ``json``."""
    if node is not None:
        _find_unused(node, value, struct, (), names, found)


def _find_unused(node: Node, value: dict[str, Any], struct: Struct, path: Path, names: str, found: Findings) -> None:
    if node.kind != "map":
        where = ".".join(("$", *map(str, path)))
        found.warn(
            path,
            f"context tree does not match content tree at {where}. "
            "Line and column reporting may be inconsistent. Unused keys may not be reported",
        )
        return
    below = {}
    known = struct.by_yaml if names == "yaml" else struct.by_json
    for key, item in node.pairs():
        below[key.value] = item
        if key.value not in known:
            found.warn((*path, Key(key.value)), f"unused key {key.value}")
    for name, field in known.items():
        child = below.get(name)
        if child is None:
            continue
        inner = value.get(name)
        if field.type.struct is not None:
            if inner is not None or not field.type.optional:
                _find_unused(child, inner or {}, field.type.struct, (*path, name), names, found)
        elif field.type.item is not None and field.type.item.struct is not None and child.kind == "seq":
            for index, (each, one) in enumerate(zip(child.items, inner or (), strict=False)):
                _find_unused(each, one, field.type.item.struct, (*path, name, index), names, found)
