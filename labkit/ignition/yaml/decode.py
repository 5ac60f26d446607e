"""A YAML tree to typed values, by a struct of `schema`, as go-yaml decodes into Go structs.

Values are plain: a struct becomes a dict with the YAML names of the keys that were set, a list a list. What cannot
be decoded is left out and said in `Decoder.errors`, one line each, in go-yaml's words.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ..golang.quote import quote
from ..spec.schema import Struct, Type
from .tree import Node, YamlError, is_null, resolve

_YES = frozenset(word for w in ("y", "yes", "on") for word in (w, w.capitalize(), w.upper()))
_NO = frozenset(word for w in ("n", "no", "off") for word in (w, w.capitalize(), w.upper()))
_MISS = object()  # nothing was decoded: null, or a value of the wrong type
MAX_ERRORS = 1000


class Decoder:
    """Decodes one document. Raises `YamlError` where go-yaml gives up at once."""

    def __init__(self, *, merge_keys_last: bool = True) -> None:
        self.errors: list[str] = []
        self._merge_keys_last = merge_keys_last
        self._decoded = 0
        self._from_aliases = 0
        self._open_aliases: set[int] = set()

    def decode(self, root: Node | None, struct: Struct) -> dict[str, Any]:
        """The document as a struct. `errors` tells what did not fit."""
        value = {} if root is None else self._value(root, Type(struct=struct, name=struct.title))
        return value if isinstance(value, dict) else {}

    def _count(self) -> None:
        self._decoded += 1
        if self._open_aliases:
            self._from_aliases += 1
            if self._from_aliases > 100 and self._decoded > 1000:
                share = min(max((self._decoded - 400_000) / 3_600_000, 0.0), 1.0)
                if self._from_aliases / self._decoded > 0.99 - 0.89 * share:
                    raise YamlError("document contains excessive aliasing")

    def _value(self, node: Node, kind: Type, into: dict[str, Any] | None = None) -> Any:
        self._count()
        if node.kind == "scalar":
            return self._scalar(node, kind)
        if node.kind == "alias":
            return self._alias(node, kind, into)
        if node.tag == "!!null":
            return _MISS
        if node.kind == "seq":
            return self._sequence(node, kind)
        return self._mapping(node, kind, into)

    def _alias(self, node: Node, kind: Type, into: dict[str, Any] | None) -> Any:
        if id(node) in self._open_aliases:
            raise YamlError(f"anchor '{node.value}' value contains itself")
        self._open_aliases.add(id(node))
        assert node.target is not None
        value = self._value(node.target, kind, into)
        self._open_aliases.discard(id(node))
        return value

    def _scalar(self, node: Node, kind: Type) -> Any:
        text = node.value
        if kind.scalar == "str" and not node.tag:
            return _MISS if node.plain and is_null(node) else text
        tag, value = self._resolved(node)
        if value is None:
            return _MISS
        if kind.scalar == "str":
            return value if tag == "!!binary" else text
        if kind.scalar in ("int", "uint") and (number := _integer(value, kind.scalar == "uint")) is not None:
            return number
        if kind.scalar == "bool":
            if isinstance(value, bool):
                return value
            if value in _YES or value in _NO:
                return value in _YES
        self._wrong(node, tag, kind)
        return _MISS

    def _resolved(self, node: Node) -> tuple[str, Any]:
        tag = "" if node.tag == "!" else node.tag
        if tag == "!!str" or (not tag and not node.plain):
            return "!!str", node.value
        if not tag and node.value == "<<":
            return "!!merge", node.value
        found, value = resolve(tag, node.value)
        if found == "!!binary":
            try:
                data = base64.b64decode(node.value.replace("\n", ""), validate=True)
                value = data.decode("utf-8", "surrogateescape")
            except (binascii.Error, ValueError):
                raise YamlError("!!binary value contains invalid base64 data") from None
        return found, value

    def _sequence(self, node: Node, kind: Type) -> Any:
        if kind.item is None:
            self._wrong(node, "!!seq", kind)
            return _MISS
        values = (self._value(item, kind.item) for item in node.items)
        return [value for value in values if value is not _MISS]

    def _mapping(self, node: Node, kind: Type, into: dict[str, Any] | None) -> Any:
        if not self._keys_differ(node):
            return _MISS
        if kind.struct is None:
            self._wrong(node, "!!map", kind)
            return _MISS
        value = {} if into is None else into
        self._fill(node, kind.struct, value, None)
        return value

    def _fill(self, node: Node, struct: Struct, value: dict[str, Any], merged: set[str] | None) -> None:
        done: set[str] = set()
        sources: list[Node] = []
        names: list[str] = []
        for key, item in node.pairs():
            if key.kind == "scalar" and key.value == "<<" and key.plain and key.tag in ("", "!", "!!merge"):
                if self._merge_keys_last:
                    sources.append(item)
                else:
                    self._merge(item, struct, value, None)
                continue
            name = self._value(key, _NAME)
            if name is _MISS:
                continue
            names.append(name)
            if merged is not None:
                if name in merged:
                    continue
                merged.add(name)
            found = struct.by_yaml.get(name)
            if found is None:
                continue
            if name in done:
                self._say(f"line {key.line}: field {name} already set in type {struct.title}")
                continue
            done.add(name)
            self._set(value, name, item, found.type)
        if sources:
            self._merge(sources[-1], struct, value, merged if merged is not None else set(names))

    def _set(self, value: dict[str, Any], name: str, item: Node, kind: Type) -> None:
        old = value.get(name) if kind.struct else None
        got = self._value(item, kind, old if isinstance(old, dict) else None)
        if got is not _MISS:
            value[name] = got
        elif kind.struct is None and is_null(item.target or item) and (kind.optional or kind.is_list):
            value.pop(name, None)  # null takes back what a merge key had set

    def _merge(self, source: Node, struct: Struct, value: dict[str, Any], merged: set[str] | None) -> None:
        items = [source] if source.kind != "seq" else source.items if self._merge_keys_last else source.items[::-1]
        for item in items:
            holder = item.target if item.kind == "alias" else item
            if holder is None or holder.kind != "map":
                raise YamlError("map merge requires map or sequence of maps as the value")
            self._count()
            if item.kind == "alias":
                if id(item) in self._open_aliases:
                    raise YamlError(f"anchor '{item.value}' value contains itself")
                self._open_aliases.add(id(item))
            if self._keys_differ(holder):
                self._fill(holder, struct, value, merged)
            self._open_aliases.discard(id(item))

    def _keys_differ(self, node: Node) -> bool:
        seen: dict[tuple[str, str], list[int]] = {}
        twice = []
        for key, _ in node.pairs():
            lines = seen.setdefault((key.kind, key.value), [])
            twice += [(first, key) for first in lines]
            lines.append(key.line)
            if len(twice) > MAX_ERRORS:
                break
        for first, key in sorted(twice, key=lambda pair: pair[0]):
            self._say(f"line {key.line}: mapping key {quote(key.value)} already defined at line {first}")
        return not twice

    def _wrong(self, node: Node, tag: str, kind: Type) -> None:
        tag = node.tag if node.tag not in ("", "!") else tag
        shown = ""
        if tag not in ("!!seq", "!!map"):
            raw = node.value.encode("utf-8", "surrogateescape")
            cut = raw[:7] + b"..." if len(raw) > 10 else raw
            shown = " `" + cut.decode("utf-8", "surrogateescape") + "`"
        self._say(f"line {node.line}: cannot unmarshal {tag}{shown} into {kind.name}")

    def _say(self, text: str) -> None:
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(text)


_NAME = Type(scalar="str", name="string")


def _integer(value: object, unsigned: bool) -> int | None:
    """The number that Go converts a YAML int or float to; None if it does not fit."""
    low, high = (0, 1 << 64) if unsigned else (-(1 << 63), 1 << 63)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if low <= value < high else None
    if isinstance(value, float) and value <= high:  # false for NaN
        return max(int(value), low) if value > low else low
    return None
