"""YAML read for people: every value keeps its line and column, and mistakes are collected, not raised one at a time.

`compose` turns text into nodes; a `Section` is one mapping whose values are taken key by key through a parser. A
parser is a function from the text of a value to what it means, and raises `Wrong` for text it cannot take. The text is
what was written: YAML's own guesses (a MAC address read as a number to the base of sixty, ``no`` as false) never apply.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import yaml

from labkit.errors import LabFileError, Mistake

EMPTY = "the file is empty"
LOOK = "docs/lab-yaml.md shows what a lab file looks like"

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)


class Wrong(Exception):
    """A value that a parser cannot take: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


class Notes:
    """The mistakes found so far in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []

    def add(self, node: yaml.Node, what: str, fix: str) -> None:
        """Note a mistake at the place of a node."""
        mark = node.start_mark
        self.mistakes.append(Mistake(mark.line + 1, mark.column + 1, what, fix))

    def check(self) -> None:
        """Raise LabFileError when there is anything to say."""
        if self.mistakes:
            raise LabFileError(self.file, self.mistakes)


@dataclass(frozen=True)
class Kind:
    """What a mapping may hold, by its name in messages, and where keys are found that do not belong here."""

    name: str
    keys: tuple[str, ...]
    elsewhere: Mapping[str, str] = field(default_factory=dict)


class Section:
    """One mapping of the file. Unknown and repeated keys are noted at once, values when they are taken.

    ``anchor`` is where a mistake belongs that no key can take the blame for; ``broken`` says that there is something
    else in the mapping's place, which is noted and then left alone.
    """

    def __init__(self, node: yaml.Node | None, anchor: yaml.Node, kind: Kind, notes: Notes) -> None:
        self.anchor = node if node is not None else anchor
        self.kind = kind
        self._notes = notes
        self._values: dict[str, yaml.Node] = {}
        self._bad: set[str] = set()
        self.broken = not (node is None or is_null(node) or isinstance(node, yaml.MappingNode))
        if not isinstance(node, yaml.MappingNode):
            if self.broken and node is not None:
                what = f"{kind.name} must be a mapping of keys to values, this is {_shape(node)}"
                fix = f"write lines such as '{kind.keys[0]}: …' in its place; it may have: {', '.join(kind.keys)}"
                notes.add(node, what, fix)
            return
        for key, value in node.value:
            self._enter(key, value)

    def _enter(self, key: yaml.Node, value: yaml.Node) -> None:
        if not isinstance(key, yaml.ScalarNode):
            self._notes.add(key, f"a key must be a word, this is {_shape(key)}", "write it as a plain word")
        elif key.value not in self.kind.keys:
            self._notes.add(key, f"{self.kind.name} has no key {key.value!r}", self._advice(key.value))
        elif key.value in self._values:
            line = self._values[key.value].start_mark.line + 1
            self._notes.add(key, f"{key.value!r} is given twice, first on line {line}", "keep one of them")
        else:
            self._values[key.value] = value

    def _advice(self, key: str) -> str:
        if key in self.kind.elsewhere:
            return f"{key!r} belongs {self.kind.elsewhere[key]}"
        if near := difflib.get_close_matches(key.lower(), self.kind.keys, n=1):
            return f"did you mean {near[0]!r}?"
        return f"it may have: {', '.join(self.kind.keys)}"

    @property
    def line(self) -> int:
        """The line the section begins on, counted from 1."""
        return int(self.anchor.start_mark.line) + 1

    def node(self, key: str) -> yaml.Node:
        """Where a mistake about a key belongs: at its value, or at the section when it is not given."""
        return self._values.get(key, self.anchor)

    def value(self, key: str) -> yaml.Node | None:
        """The node of a key, or None when it is not given."""
        return self._values.get(key)

    def has(self, key: str) -> bool:
        """Whether a key is given, right or wrong."""
        return key in self._values

    def bad(self, *keys: str) -> bool:
        """Whether any of these keys was given and could not be taken."""
        return not self._bad.isdisjoint(keys)

    def spoil(self, key: str) -> None:
        """Let a key count as bad from now on."""
        self._bad.add(key)

    def note(self, key: str, what: str, fix: str) -> None:
        """Note a mistake about a key, which counts as bad from now on."""
        self.spoil(key)
        self._notes.add(self.node(key), what, fix)

    def take(self, key: str, parse: Callable[[str], T], default: T) -> T:
        """What a key says, or the default when it is not given or wrong."""
        node = self._values.get(key)
        if node is None:
            return default
        try:
            return parse(_text(node, key))
        except Wrong as wrong:
            self.note(key, wrong.what, wrong.fix)
            return default

    def need(self, key: str, parse: Callable[[str], T], default: T, fix: str) -> T:
        """Like `take`, for a key that must be there. The default only stands in until `Notes.check`."""
        if key not in self._values and not self.broken:
            self.note(key, f"{self.kind.name} has no {key!r}", fix)
        return self.take(key, parse, default)

    def items(self, key: str) -> Sequence[yaml.Node] | None:
        """The items of a list; empty when the key has no value, None when it is not given or is no list."""
        node = self._values.get(key)
        if node is None:
            return None
        if is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.note(key, f"{key!r} must be a list, this is {_shape(node)}",
                      "write each item on a line of its own after '- ', or all in brackets: [a, b]")  # fmt: skip
            return None
        return list(node.value)

    def take_all(self, key: str, parse: Callable[[str], T]) -> list[tuple[yaml.Node, T]] | None:
        """A list whose items are taken one by one, each with its node; None when it is not given or not a list."""
        nodes = self.items(key)
        if nodes is None:
            return None
        taken = []
        for node in nodes:
            value = take_item(node, f"an item of {key!r}", parse, self._notes)
            if value is None:
                self._bad.add(key)
            else:
                taken.append((node, value))
        return taken

    def take_map(self, key: str, parse_name: Callable[[str], str], parse: Callable[[str], T]) -> dict[str, T] | None:
        """A mapping of names that the file makes up; None when it is not given or no mapping."""
        node = self._values.get(key)
        if node is None:
            return None
        if is_null(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.note(key, f"{key!r} must be a mapping of names to values, this is {_shape(node)}",
                      "write each on a line of its own, 'name: value', or all in braces: {a: 1, b: 2}")  # fmt: skip
            return None
        taken: dict[str, T] = {}
        for name_node, value_node in node.value:
            blamed = name_node
            try:
                name = parse_name(_text(name_node, f"a name under {key!r}"))
                if name in taken:
                    raise Wrong(f"{name!r} is given twice under {key!r}", "keep one of them")
                blamed = value_node
                taken[name] = parse(_text(value_node, f"{name!r} under {key!r}"))
            except Wrong as wrong:
                self._bad.add(key)
                self._notes.add(blamed, wrong.what, wrong.fix)
        return taken


def take_item(node: yaml.Node, noun: str, parse: Callable[[str], T], notes: Notes) -> T | None:
    """What one value says, which messages call ``noun``; None when it is wrong, which is noted."""
    try:
        return parse(_text(node, noun))
    except Wrong as wrong:
        notes.add(node, wrong.what, wrong.fix)
        return None


def compose(data: bytes, notes: Notes) -> yaml.Node:
    """The one document of a YAML file as nodes. Raises LabFileError when it is not one."""
    text = decode(data, notes.file)
    if found := _UNSEEN.search(text):
        line, column = _place(text[: found.end() - 1])
        what = f"this looks like nothing, or a blank, and is the character U+{ord(found[0][-1]):04X}"
        raise LabFileError(notes.file, [Mistake(line, column, what, "remove it, or type blanks; it came by copying")])
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise LabFileError(notes.file, [_syntax(error, text)]) from None
    except yaml.reader.ReaderError as error:
        line, column = _place(text[: error.position])
        what = f"the character U+{ord(text[error.position]):04X} cannot stand in a YAML file"
        raise LabFileError(notes.file, [Mistake(line, column, what, "remove it")]) from None
    except RecursionError:
        raise LabFileError(notes.file, [Mistake(1, 1, "this is nested too deeply", LOOK)]) from None
    except (ValueError, OverflowError) as error:  # from a number inside an escape or a directive that is out of range
        raise LabFileError(notes.file, [Mistake(1, 1, f"this is no YAML: {error}", LOOK)]) from None
    if node is None:
        raise LabFileError(notes.file, [Mistake(1, 1, EMPTY, "the least a lab has is a list of blades")])
    return node


_UNSEEN = re.compile("^[^#\"'\n\r]*?[\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff]", re.MULTILINE)
"""Outside of comments and quotes: YAML takes no other blank than the space, and the rest cannot be seen at all."""
_CURLED = re.compile("[\u2018-\u201f\u00ab\u00bb]")


def decode(data: bytes, file: str) -> str:
    """The text of a file, without a byte order mark. Raises LabFileError for one that is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place(data[: error.start].decode("utf-8", "replace"))
        what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise LabFileError(file, [Mistake(line, column, what, "save the file as UTF-8")]) from None


def _place(before: str) -> tuple[int, int]:
    lines = before.split("\n")
    return len(lines), len(lines[-1]) + 1


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    """A mistake of the YAML itself, in words where PyYAML's are only about its parser."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = error.problem or "this is no YAML"
    written = (text.split("\n")[line - 1 : line] or [""])[0]
    if "\\t" in problem or "\t" in written[: len(written) - len(written.lstrip())]:
        return Mistake(line, column, "a tab cannot indent a line of YAML", "use spaces")
    if "but found another document" in problem:
        return Mistake(line, column, "a lab is one document, and a second begins here", "remove the '---'")
    if problem == "mapping values are not allowed here":
        fix = "indent keys that belong together alike, and quote a value with ': ' in it"
        return Mistake(line, column, "a ':' cannot stand here", fix)
    context = f" {error.context}" if error.context else ""
    return Mistake(line, column, f"{problem}{context}", "check the indentation, brackets and quotes up to here")


def is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _text(node: yaml.Node, key: str) -> str:
    if is_null(node):
        raise Wrong(f"{key} has no value", "write one, or remove the line")
    if not isinstance(node, yaml.ScalarNode):
        raise Wrong(f"{key} must be one value, this is {_shape(node)}", "write the value alone on its line")
    text = str(node.value)
    if any(not (char.isprintable() or char == "\t") for char in text.strip("\n")):
        raise Wrong(f"{key} holds a character that cannot be printed", "write it as one line of plain text")
    return text.strip()


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else f"the single value {short(str(node.value))}"


def short(text: str) -> str:
    """A value as a message quotes it."""
    return repr(text if len(text) <= 40 else text[:39] + "…")


# --- parsers that any file can use ---------------------------------------------------------------------------------


def whole(noun: str, low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``low`` to ``high``, which messages call ``noun``."""

    def parse(text: str) -> int:
        if re.fullmatch(r"0[0-9]{1,8}", text):
            raise Wrong(f"{short(text)} is octal to some who read YAML, and decimal to others", f"write {int(text)}")
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise Wrong(f"{short(text)} cannot be {noun}", f"write a whole number from {low} to {high}")
        return int(text)

    return parse


def choice(kind: type[E]) -> Callable[[str], E]:
    """A parser of the values of an enumeration."""

    def parse(text: str) -> E:
        try:
            return kind(text)
        except ValueError:
            raise Wrong(f"{short(text)} is none of {', '.join(kind)}", _nearest(text, list(kind))) from None

    return parse


def _nearest(text: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(text.lower(), known, n=1, cutoff=0.5)
    return f"did you mean {str(near[0])!r}?" if near else f"write one of {', '.join(known)}"


BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def boolean(text: str) -> bool:
    """``true`` or ``false``, and YAML's other words for them."""
    if text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    raise Wrong(f"{short(text)} is neither true nor false", "write true or false")


def name(text: str) -> str:
    """A name that is also a host name: RFC 1123, section 2.1, in lower case."""
    if _CURLED.search(text):
        raise Wrong(f"{short(text)} has typographic quotes, which are letters to YAML", "write ' or \", or none")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise Wrong(f"{short(text)} cannot be a name", "use up to 63 letters a to z, digits and '-'")
    return text
