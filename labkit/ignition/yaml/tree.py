"""YAML text to a tree that knows where everything stands: the dialect of go-yaml 3, which Butane and ct read.

libyaml does the parsing, as events, so that depth costs no stack. On top of it comes what go-yaml decides itself:
which plain scalars are null, bool, int, float or timestamp, what may be an alias, and the wording of errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import yaml

MAX_SOURCE_B = 8 << 20
MAX_DEPTH = 10_000
KEPT_B = 256 << 10

NodeKind = Literal["map", "seq", "scalar", "alias"]


class YamlError(Exception):
    """The text cannot be read as YAML, or not as what it should be. Worded as go-yaml words it."""


class Node:
    """One node: ``items`` holds a sequence's items, or a mapping's keys and values by turns.

    A tree is not changed once it is read, since it may be remembered: `copy` what must be otherwise.
    """

    __slots__ = ("_index", "column", "end_b", "items", "kind", "line", "plain", "tag", "target", "value")

    def __init__(self, kind: NodeKind, tag: str, value: str, plain: bool, line: int, column: int) -> None:
        self.kind = kind
        self.tag = tag  # as written, short (!!int); empty when the text has none
        self.value = value
        self.plain = plain
        self.line = line
        self.column = column
        self.items: list[Node] = []
        self.target: Node | None = None
        self._index: dict[str, tuple[Node, Node]] = {}
        self.end_b = 0  # in JSON: the offset one past a scalar, or past an opening bracket

    def copy(self, *, value: str | None = None, items: list[Node] | None = None) -> Node:
        """The same node with another value or other items."""
        node = Node(self.kind, self.tag, self.value if value is None else value, self.plain, self.line, self.column)
        node.items = self.items if items is None else items
        node.target, node.end_b = self.target, self.end_b
        return node

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        return zip(self.items[::2], self.items[1::2], strict=True)

    def get(self, key: str) -> Node | None:
        """The value at a key of a mapping; the last one if the key is there twice."""
        found = self._pair(key)
        return found[1] if found else None

    def key(self, name: str) -> Node | None:
        """The key itself; the first one if it is there twice."""
        found = self._pair(name)
        return found[0] if found else None

    def _pair(self, key: str) -> tuple[Node, Node] | None:
        """Found by an index, made once the mapping is complete: a mapping may have very many keys."""
        if not self._index and self.items:
            for name, value in self.pairs():
                first = self._index.get(name.value)
                self._index[name.value] = first[0] if first else name, value
        return self._index.get(key)


def parse(source: bytes | str) -> Node | None:
    """The root of the first document, None if there is none.

    Raises `YamlError` for text that is not YAML, is nested more than 10,000 deep or longer than 8 MiB.
    """
    data = source.encode("utf-8", "surrogateescape") if isinstance(source, str) else source
    if len(data) > MAX_SOURCE_B:
        raise YamlError(f"document of {len(data)} bytes is larger than the limit of {MAX_SOURCE_B} bytes")
    found = _parse_again(data) if len(data) <= KEPT_B else _parse(data)
    if isinstance(found, YamlError):
        raise YamlError(*found.args)
    return found


@lru_cache(maxsize=2)
def _parse_again(data: bytes) -> Node | YamlError | None:
    """One look at a config reads its text more than once: to recognise, to translate, to point into it.

    What is wrong with it is remembered too: it is the texts that cannot be read that take longest.
    """
    try:
        return _parse(data)
    except YamlError as error:
        return YamlError(*error.args)  # a new one, which holds on to no frames


def _parse(data: bytes) -> Node | None:
    import yaml

    try:
        return _compose(_events(data), data)
    except yaml.reader.ReaderError as error:
        raise YamlError(_reader_text(error, data)) from None
    except yaml.MarkedYAMLError as error:
        raise YamlError(_parser_text(error)) from None


def _parser(data: bytes) -> Any:
    import yaml

    try:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]
    except ImportError:  # PyYAML built without libyaml
        return yaml.Loader(data)
    return CParser(data)


def _events(data: bytes) -> Iterator[Any]:
    import yaml

    parser = _parser(data)
    try:
        while True:
            event = parser.get_event()
            yield event
            if isinstance(event, yaml.StreamEndEvent):
                return
            if isinstance(event, yaml.DocumentEndEvent):
                break
        end = event.end_mark.index if event.end_mark is not None else 0
        if data[end:].strip():
            _look_ahead(data, end)
    except yaml.parser.ParserError as error:
        if error.problem_mark is not None:
            _look_ahead(data, error.problem_mark.index)
        raise
    finally:
        parser.dispose()


def _look_ahead(data: bytes, index: int) -> None:
    """go-yaml scans two tokens further than it parses, so what cannot be scanned there is what it reports."""
    import yaml

    parser, ahead = _parser(data), 0
    try:
        while ahead < 3:
            token = parser.get_token()
            if token is None or isinstance(token, yaml.StreamEndToken):
                return
            closes = isinstance(token, yaml.BlockEndToken)  # these went before the token at which parsing stopped
            ahead += token.start_mark.index >= index and not (closes and ahead == 0)
    finally:
        parser.dispose()


def _compose(events: Iterator[Any], data: bytes) -> Node | None:
    import yaml

    anchors: dict[str, Node] = {}
    open_nodes: list[Node] = []
    root: Node | None = None
    for event in events:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            node = Node("scalar", _short(event.tag), event.value, event.style in (None, ""), *_place(event))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            shape: NodeKind = "map" if kind is yaml.MappingStartEvent else "seq"
            node = Node(shape, _short(event.tag), "", False, *_place(event))
        elif kind is yaml.AliasEvent:
            node = Node("alias", "", event.anchor, False, *_place(event))
            node.target = anchors.get(event.anchor)
            if node.target is None:
                _look_ahead(data, event.end_mark.index)
                raise YamlError(f"unknown anchor '{event.anchor}' referenced")
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            open_nodes.pop()
            continue
        else:
            continue
        if node.kind != "alias" and event.anchor:
            anchors[event.anchor] = node
        if open_nodes:
            open_nodes[-1].items.append(node)
        else:
            root = node
        if node.kind in ("map", "seq"):
            open_nodes.append(node)
            if len(open_nodes) > MAX_DEPTH:
                raise YamlError(f"exceeded max depth of {MAX_DEPTH}")
    return root


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _short(tag: str | None) -> str:
    prefix = "tag:yaml.org,2002:"
    return "" if tag is None else "!!" + tag[len(prefix) :] if tag.startswith(prefix) else tag


def _parser_text(error: yaml.MarkedYAMLError) -> str:
    """go-yaml names one line: the context's, else the problem's, one less where the parser (not the scanner) failed."""
    import yaml

    line = next((mark.line for mark in (error.context_mark, error.problem_mark) if mark and mark.line), 0)
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    return (f"line {line}: " if line else "") + (error.problem or "unknown problem parsing YAML content")


def _reader_text(error: yaml.reader.ReaderError, data: bytes) -> str:
    reason = str(error.reason)
    if "special characters" in reason:
        return "control characters are not allowed"
    return reason


_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_FLOATS = {
    sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")
} | dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan"))
_INT = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DATE = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d+)?(?:Z|[+-]\d\d:\d\d)| (\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d+)?)?"
)
_RESOLVABLE = frozenset(("", "!!str", "!!bool", "!!int", "!!float", "!!null", "!!timestamp"))


def is_null(node: Node) -> bool:
    if node.kind != "scalar":
        return node.tag == "!!null"
    if node.tag and node.tag != "!":
        return node.tag == "!!null"
    return node.plain and node.value in _NULLS


def resolve(tag: str, text: str) -> tuple[str, Any]:
    """The short tag and value of a scalar with this explicit tag ("" for none). Raises `YamlError` on a clash."""
    if tag not in _RESOLVABLE:
        return tag, text
    found, value = ("!!str", text) if tag == "!!str" else _implicit(text, tag in ("", "!!timestamp"))
    if tag in ("", found, "!!str"):
        return found, value
    if tag == "!!float" and found == "!!int":
        return tag, float(value)
    raise YamlError(f"cannot decode {found} `{text}` as a {tag}")


def _implicit(text: str, dates: bool) -> tuple[str, Any]:
    if text in _NULLS:
        return "!!null", None
    if text in _BOOLS:
        return "!!bool", _BOOLS[text]
    if text[0] not in "0123456789+-.":
        return "!!str", text
    if text in _FLOATS:
        return "!!float", _FLOATS[text]
    if text[0] == ".":
        return _as_float(text) or ("!!str", text)
    if dates and _is_date(text):
        return "!!timestamp", text
    digits = text.replace("_", "")
    if (match := _INT.fullmatch(digits)) and len(digits) < 80:
        value = _integer(*match.groups())
        if -(1 << 63) <= value < (1 << 64) and not (text[0] == "+" and value >= 1 << 63):
            return "!!int", value
    return _as_float(digits) or ("!!str", text)


def _integer(sign: str, hexa: str | None, binary: str | None, octal: str | None, decimal: str | None) -> int:
    value = int(hexa, 16) if hexa else int(binary, 2) if binary else int(octal, 8) if octal else int(decimal or "0")
    return -value if sign == "-" else value


def _as_float(text: str) -> tuple[str, Any] | None:
    if not _FLOAT.fullmatch(text) or abs(value := float(text)) == float("inf"):
        return None
    return "!!float", value


def _is_date(text: str) -> bool:
    match = _DATE.fullmatch(text)
    if not match:
        return False
    clock = [int(part or 0) for part in (match[4] or match[8], match[5] or match[9], match[6] or match[10])]
    try:
        date(int(match[1]) or 4, int(match[2]), int(match[3]))  # Go has a year 0, a leap year
    except ValueError:
        return False
    return clock[0] < 24 and clock[1] < 60 and clock[2] < 60
