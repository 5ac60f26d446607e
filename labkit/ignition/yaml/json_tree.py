"""JSON text to a tree that knows where everything stands, with Go's errors and Go's idea of positions.

The tree is made of the nodes of `tree`. As in the parser behind ignition-validate, a scalar stands at its first
byte, an object or array one past its opening bracket, and columns count bytes.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any

from ..spec.schema import Struct, Type
from .tree import MAX_DEPTH, Node

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INSIDE = re.compile("in (numeric|literal|exponent|string escape|.u hexa)|after decimal")
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}


class JsonError(Exception):
    """Not JSON, or not of the right type. ``offset`` is where Go says it is: one byte past."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class Lines:
    """Line and column (from 1, in bytes) of a byte offset."""

    def __init__(self, data: bytes) -> None:
        self._starts = [0, *(match.end() for match in re.finditer(b"\n", data))]

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def parse(data: bytes) -> Node:
    """The tree of a JSON text. Raises `JsonError`."""
    return _Parser(data).parse()


class _Parser:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.lines = Lines(data)

    def parse(self) -> Node:
        """Reads with a stack of its own, so that depth costs no recursion."""
        stack: list[Node] = []
        while True:
            node = self._value()
            if stack:
                stack[-1].items.append(node)
            node.end_b = self.at
            if node.kind != "scalar":
                stack.append(node)
                if len(stack) > MAX_DEPTH:
                    raise JsonError("exceeded max depth", self.at)
                if not self._closes(node, first=True):
                    continue
                stack.pop()
            while stack and self._closes(stack[-1], first=False):
                node = stack.pop()
            if not stack:
                self._skip()
                if self.at < len(self.data):
                    raise self._unexpected("after top-level value")
                return node

    def _skip(self) -> None:
        match = _SPACE.match(self.data, self.at)
        assert match
        self.at = match.end()

    def _unexpected(self, where: str) -> JsonError:
        if self.at >= len(self.data) and not _INSIDE.match(where):
            return JsonError("unexpected end of JSON input", len(self.data))
        byte = self.data[self.at] if self.at < len(self.data) else 32  # Go lets a blank follow the last byte
        shown = {39: "'\\''", 34: "'\"'"}.get(byte) or repr(chr(byte))
        return JsonError(f"invalid character {shown} {where}", self.at + 1)

    def _node(self, kind: Any, tag: str, value: str, offset: int) -> Node:
        return Node(kind, tag, value, tag != "!!str", *self.lines.place(offset))

    def _value(self) -> Node:
        self._skip()
        start, char = self.at, self.data[self.at : self.at + 1]
        if char in (b"{", b"["):
            self.at += 1
            return self._node("map" if char == b"{" else "seq", "", "", start + 1)
        if char == b'"':
            return self._node("scalar", "!!str", self._string(), start)
        if char in _LITERALS:
            word = self._literal(_LITERALS[char])
            return self._node("scalar", "!!null" if word == "null" else "!!bool", word, start)
        if char == b"-" or char.isdigit():
            return self._node("scalar", "!!int", self._number(), start)
        raise self._unexpected("looking for beginning of value")

    def _string(self) -> str:
        match = _STRING.match(self.data, self.at)
        if not match:
            raise self._bad_string()
        self.at = match.end()
        if b"\\" not in match[0]:
            return match[0][1:-1].decode("utf-8", "replace")
        text = json.loads(match[0].decode("utf-8", "replace"))
        return re.sub("[\ud800-\udfff]", "\ufffd", text)

    def _bad_string(self) -> JsonError:
        match = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*').match(self.data, self.at)
        assert match
        self.at = match.end()
        if self.data[self.at : self.at + 1] != b"\\":
            return self._unexpected("in string literal")
        self.at += 1
        if self.data[self.at : self.at + 1] != b"u":
            return self._unexpected("in string escape code")
        digits = re.compile(rb"u[0-9a-fA-F]*").match(self.data, self.at)
        assert digits
        self.at = digits.end()
        return self._unexpected("in \\u hexadecimal character escape")

    def _literal(self, word: bytes) -> str:
        for index in range(1, len(word)):
            if self.data[self.at + index : self.at + index + 1] != word[index : index + 1]:
                self.at += index
                raise self._unexpected(f"in literal {word.decode()} (expecting {chr(word[index])!r})")
        self.at += len(word)
        return word.decode()

    def _number(self) -> str:
        match = _NUMBER.match(self.data, self.at)
        if not match:
            self.at += 1
            raise self._unexpected("in numeric literal")
        self.at = match.end()
        after = self.data[self.at : self.at + 1]
        if after == b"." and not re.search(rb"[.eE]", match[0]):
            self.at += 1
            raise self._unexpected("after decimal point in numeric literal")
        if after in (b"e", b"E") and not re.search(rb"[eE]", match[0]):
            self.at += 1 + (self.data[self.at + 1 : self.at + 2] in (b"+", b"-"))
            raise self._unexpected("in exponent of numeric literal")
        return match[0].decode()

    def _closes(self, node: Node, *, first: bool) -> bool:
        """Reads what follows an opening bracket or an element; True if the bracket closes, else a value follows."""
        self._skip()
        char = self.data[self.at : self.at + 1]
        is_map = node.kind == "map"
        if char == (b"}" if is_map else b"]"):
            self.at += 1
            return True
        if not first:
            if char != b",":
                raise self._unexpected("after object key:value pair" if is_map else "after array element")
            self.at += 1
            self._skip()
        if is_map:
            self._key(node)
        return False

    def _key(self, node: Node) -> None:
        start = self.at
        if self.data[start : start + 1] != b'"':
            raise self._unexpected("looking for beginning of object key string")
        node.items.append(self._node("scalar", "!!str", self._string(), start))
        self._skip()
        if self.data[self.at : self.at + 1] != b":":
            raise self._unexpected("after object key")
        self.at += 1


_KINDS = {"!!str": "string", "!!bool": "bool", "!!int": "number", "!!null": "null"}


class TypedJson:
    """Decodes a tree by a struct, as Go's encoding/json does: keys in any case, null changes nothing.

    ``problem`` is the first value of a wrong type, as (message, node).
    """

    def __init__(self) -> None:
        self.problem: tuple[str, Node] | None = None

    def decode(self, node: Node, struct: Struct) -> dict[str, Any]:
        value = self._value(node, Type(struct=struct, name=struct.title), "", (), None)
        return value if isinstance(value, dict) else {}

    def _value(self, node: Node, kind: Type, inside: str, steps: tuple[str, ...], old: Any) -> Any:
        if node.tag == "!!null":
            return old
        if node.kind == "map" and kind.struct is not None:
            return self._struct(node, kind.struct, steps, old if isinstance(old, dict) else {})
        if node.kind == "seq" and kind.item is not None:
            items = [self._value(item, kind.item, inside, steps, None) for item in node.items]
            return [_zero(kind.item) if item is None else item for item in items]
        if node.tag == "!!str" and kind.scalar == "str":
            return node.value
        if node.tag == "!!bool" and kind.scalar == "bool":
            return node.value == "true"
        shown = {"map": "object", "seq": "array"}.get(node.kind) or _KINDS[node.tag]
        if node.tag == "!!int" and kind.scalar == "int":
            if re.fullmatch("-?[0-9]{1,19}", node.value) and -(1 << 63) <= int(node.value) < 1 << 63:
                return int(node.value)
            shown = f"number {node.value}"
        if self.problem is None:
            field = f"Go struct field {inside}.{'.'.join(steps)} of type" if steps else "Go value of type"
            self.problem = f"json: cannot unmarshal {shown} into {field} {kind.name}", node
        return old

    def _struct(self, node: Node, struct: Struct, steps: tuple[str, ...], into: dict[str, Any]) -> dict[str, Any]:
        name = struct.title.rpartition(".")[2]
        for key, item in node.pairs():
            field = struct.by_json.get(key.value) or struct.by_folded.get(key.value.casefold())
            if field is None:
                continue
            below = (*steps, *EMBEDDED.get((struct.name, field.json), ()), field.json)
            value = self._value(item, field.type, name, below, into.get(field.json))
            if value is not None:
                into[field.json] = value
        return into


def _zero(kind: Type) -> Any:
    if kind.struct is not None:
        return {}
    return [] if kind.is_list else {"str": "", "int": 0, "bool": False}[kind.scalar]


#: Go's structs have parts that JSON does not show, but error messages name
EMBEDDED = {
    (struct, name): ("Node",)
    for struct in ("File", "Directory", "Link")
    for name in ("group", "overwrite", "path", "user", "filesystem")
} | {
    (struct, name): (f"{struct}Embedded1",)
    for struct, names in {
        "File": ("append", "contents", "mode"),
        "Directory": ("mode",),
        "Link": ("hard", "target"),
    }.items()
    for name in names
}
