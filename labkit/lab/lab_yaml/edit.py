"""A blade's entry put into the text of a lab file, or taken out of it: every other line and every comment stays.

Where an entry begins and ends is what the YAML parser says, and the text is cut and joined there: nothing is written
anew but the entry. It is written as its neighbour is: as lines below a dash, or in braces. What YAML allows and nobody
writes raises `Odd`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import yaml

from labkit.lab.lab_yaml.entry import Entry
from labkit.lab.lab_yaml.positions import is_null

STRUCTURE = (
    yaml.BlockEndToken, yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken, yaml.KeyToken,
    yaml.DocumentStartToken, yaml.DocumentEndToken, yaml.StreamStartToken, yaml.StreamEndToken,
)  # fmt: skip
"""Tokens that stand for no text of a value."""


class Odd(Exception):
    """The text is written in a way that nothing can be put into, or taken out of, without writing other lines anew."""


@dataclass(frozen=True)
class _Cut:
    """Replace the text from ``start`` to ``end`` by ``new``."""

    start: int
    end: int
    new: str = ""


class LabText:
    """A lab file's text, which is a mapping or nothing at all, with its places. Raises yaml.YAMLError for no YAML."""

    def __init__(self, text: str) -> None:
        self.text = text
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise Odd
        self._root: yaml.MappingNode | None = root
        self._break = "\r\n" if "\r\n" in text else "\n"

    @cached_property
    def _tokens(self) -> list[yaml.Token]:
        return list(yaml.scan(self.text, Loader=yaml.SafeLoader))

    def value(self, *keys: str) -> str:
        """The text of a value below these keys; empty where there is none."""
        node: yaml.Node | None = self._root
        for key in keys:
            node = _value(node, key)
        return str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""

    # --- putting in ---

    def added(self, entry: Entry) -> str:
        """The text with one more entry, behind all others. Raises Odd."""
        root, blades = self._root, _value(self._root, "blades")
        if root is None:
            return self._with([self._lines(len(self.text), ["blades:", *self._block(entry, 2, 2)])])
        if blades is None:
            return self._with([self._new_key(root, entry)])
        if is_null(blades) or (self._is_empty(blades) and not root.flow_style):
            return self._with(self._first(root, blades, entry))
        if not isinstance(blades, yaml.SequenceNode):
            raise Odd
        if blades.flow_style:
            return self._with(self._in_brackets(blades, entry, as_json=_is_json(root)))
        return self._with([self._below(blades, entry)])

    def _new_key(self, root: yaml.MappingNode, entry: Entry) -> _Cut:
        if not root.flow_style:
            column = root.value[0][0].start_mark.column
            at = root.end_mark.index
            before = self.text[:at].rstrip(" \t")
            gap = [""] if not before.endswith(("\n\n", "\n\r\n")) else []
            pad = " " * column
            return self._lines(at, [*gap, f"{pad}blades:", *self._block(entry, column + 2, 2)])
        as_json = _is_json(root)
        pair = f"{json.dumps('blades') if as_json else 'blades'}: [{entry.in_braces(as_json=as_json)}]"
        if not root.value:
            at = root.end_mark.index - 1
            return _Cut(at, at, pair)
        at = self._end(root.value[-1][1])
        return _Cut(at, at, f", {pair}")

    def _is_empty(self, blades: yaml.Node) -> bool:
        """Whether it is ``[]``, with nothing inside that somebody wrote."""
        return re.fullmatch(r"\[ *\]", self.text[blades.start_mark.index : blades.end_mark.index]) is not None

    def _first(self, root: yaml.MappingNode, null: yaml.Node, entry: Entry) -> list[_Cut]:
        """The first entry in the place of nothing. In lines of its own: a rack in brackets would be one long line."""
        start, end = null.start_mark.index, null.end_mark.index
        if root.flow_style:
            before = "" if self.text[start - 1].isspace() else " "
            return [_Cut(start, end, f"{before}[{entry.in_braces(as_json=_is_json(root))}]")]
        column = next(key.start_mark.column for key, value in root.value if value is null)
        written = [_Cut(len(self.text[:start].rstrip(" ")), end)] if end > start else []
        return [*written, self._lines(self._after(end, column), self._block(entry, column + 2, 2))]

    def _below(self, blades: yaml.SequenceNode, entry: Entry) -> _Cut:
        last = blades.value[-1]
        dash = self._dash(last)
        place = last.start_mark
        gap = place.column - dash.column if place.line == dash.line else 2
        if isinstance(last, yaml.MappingNode) and not last.flow_style:
            lines = self._block(entry, dash.column, gap)
        else:
            lines = [f"{' ' * dash.column}-{' ' * (gap - 1)}{entry.in_braces(as_json=_is_json(last))}"]
        if len(blades.value) > 1 and self._is_blank_before(self._line(dash.index)):
            lines = ["", *lines]
        return self._lines(self._after(self._end(last), dash.column), lines)

    def _in_brackets(self, blades: yaml.SequenceNode, entry: Entry, *, as_json: bool) -> list[_Cut]:
        if not blades.value:
            at = next(
                token.end_mark.index
                for token in self._tokens
                if isinstance(token, yaml.FlowSequenceStartToken)
                and blades.start_mark.index <= token.start_mark.index < blades.end_mark.index
            )
            return [_Cut(at, at, entry.in_braces(as_json=as_json))]
        last = blades.value[-1]
        new = entry.in_braces(as_json=as_json or _is_json(last))
        start, end = last.start_mark.index, self._end(last)
        pad = self.text[self._line(start) : start]
        if pad.strip() or not self._line(start):
            return [_Cut(end, end, f", {new}")]
        comma = self._comma(end, blades.end_mark.index)
        if self._next(end) >= blades.end_mark.index:
            return [_Cut(end, end, f",{self._break}{pad}{new}")]
        if comma is None:
            return [_Cut(end, end, ","), self._lines(self._next(end), [pad + new])]
        return [self._lines(self._next(comma), [f"{pad}{new},"])]

    def _block(self, entry: Entry, column: int, gap: int) -> list[str]:
        first, *others = entry.pairs()
        return [f"{' ' * column}-{' ' * (gap - 1)}{first}", *(" " * (column + gap) + pair for pair in others)]

    # --- taking out ---

    def removed(self, name: str, *, keeps: int | None = None) -> str:
        """The text without the entry of that name, which is there; without the only one, ``blades: []`` is left.

        ``keeps`` is written as the slot of the entry behind it, if that says none. Comments inside the entry go with
        it. Raises Odd.
        """
        blades = _value(self._root, "blades")
        if not isinstance(blades, yaml.SequenceNode):
            raise Odd
        items = blades.value
        at = next((at for at, item in enumerate(items) if _text(_value(item, "name")) == name), None)
        if at is None:
            raise Odd
        cuts = list(self._out_of_brackets(blades, at) if blades.flow_style else self._out(items, at))
        if len(items) == 1 and not blades.flow_style:
            cuts.append(self._nothing(blades))
        if keeps is not None and at + 1 < len(items) and _value(items[at + 1], "slot") is None:
            cuts.append(self._pair(items[at + 1], "slot", str(keeps)))
        return self._with(cuts)

    def _out(self, items: Sequence[yaml.Node], at: int) -> Iterator[_Cut]:
        dash = self._dash(items[at])
        start, end = self._line(dash.index), self._after(self._end(items[at]), dash.column)
        if self.text[start : dash.index].strip():
            raise Odd
        is_parted = at == len(items) - 1 or not self.text[end : self._next(end)].strip()
        if is_parted and self._is_blank_before(start):  # the blank line that parts it from the one before
            start = self._line(start - 1)
        yield _Cut(start, end)

    def _nothing(self, blades: yaml.SequenceNode) -> _Cut:
        """Brackets behind the key, as there is no entry any more."""
        before = [token for token in self._tokens if token.start_mark.index < blades.start_mark.index]
        at = next(token.end_mark.index for token in reversed(before) if isinstance(token, yaml.ValueToken))
        return _Cut(at, at, " []")

    def _out_of_brackets(self, blades: yaml.SequenceNode, at: int) -> Iterator[_Cut]:
        item, is_last = blades.value[at], at == len(blades.value) - 1
        start, end = item.start_mark.index, self._end(item)
        comma = self._comma(end, blades.end_mark.index)
        before = self._comma(self._end(blades.value[at - 1]), start) if at else None
        stop = comma + 1 if comma is not None else end
        line, rest = self._line(start), self.text[stop : self._next(stop)].strip()
        if is_last and comma is None and before is not None:
            if not self.text[before + 1 : start].strip() and not rest.startswith("#"):
                yield _Cut(before, end)
                return
            yield _Cut(before, before + 1)
        if not self.text[line:start].strip() and (not rest or rest.startswith("#")) and line:
            if comma is not None and self._next(end) < comma:
                raise Odd  # a comma on a later line, and perhaps a comment before it
            yield _Cut(line, self._next(stop))
            return
        if comma is not None and self.text[end:comma].strip():
            raise Odd
        while not is_last and self.text[stop : stop + 1] == " ":
            stop += 1
        while is_last and self.text[start - 1] == " " and start - 1 > (before or 0):
            start -= 1
        yield _Cut(start, stop)

    def _pair(self, item: yaml.Node, name: str, word: str) -> _Cut:
        """One more key and its value, behind the entry's name."""
        if not isinstance(item, yaml.MappingNode):
            raise Odd
        key, value = next((key, value) for key, value in item.value if key.value == "name")
        end = self._end(value)
        if item.flow_style:
            return _Cut(end, end, f", {json.dumps(name) if _is_json(item) else name}: {word}")
        return self._lines(self._next(end), [f"{' ' * key.start_mark.column}{name}: {word}"])

    # --- a blade's config ---

    def config(self, name: str) -> str | None:
        """What is written behind ``config:`` in the entry of that name; None without. Raises Odd for no such entry."""
        old = _value(self._entry(name), "config")
        return None if old is None else self.text[old.start_mark.index : self._end(old)]

    def with_config(self, name: str, word: str | None) -> str:
        """The text with this behind ``config:`` in the entry of that name, or without that key. Raises Odd."""
        item = self._entry(name)
        at = next((at for at, (key, _) in enumerate(item.value) if key.value == "config"), None)
        if at is None:
            return self.text if word is None else self._with([self._pair(item, "config", word)])
        key, old = item.value[at]
        start, end = key.start_mark.index, self._end(old)
        if word is not None:
            return self._with([_Cut(old.start_mark.index, end, word)])
        if not item.flow_style:
            start, end = self._line(start), self._next(end)
            if self.text[start : key.start_mark.index].strip():
                raise Odd  # the key stands behind the dash
        elif at:
            start = self._end(item.value[at - 1][1])
        else:
            end = item.value[1][0].start_mark.index
        return self._with([_Cut(start, end)])

    def _entry(self, name: str) -> yaml.MappingNode:
        blades = _value(self._root, "blades")
        for item in blades.value if isinstance(blades, yaml.SequenceNode) else ():
            if isinstance(item, yaml.MappingNode) and _text(_value(item, "name")) == name:
                return item
        raise Odd

    # --- places ---

    def _with(self, cuts: Sequence[_Cut]) -> str:
        text = self.text
        for cut in sorted(cuts, key=lambda cut: cut.start, reverse=True):
            text = text[: cut.start] + cut.new + text[cut.end :]
        return text

    def _lines(self, at: int, lines: Sequence[str]) -> _Cut:
        """Whole lines at the beginning of one, or at the end of a text whose last line may not end."""
        lead = self._break if at and self.text[at - 1] != "\n" else ""
        return _Cut(at, at, lead + "".join(line + self._break for line in lines))

    def _end(self, node: yaml.Node) -> int:
        """Where a value's own text ends: a block's end is said to be where something else begins."""
        start, end = node.start_mark.index, node.end_mark.index
        ends = [
            token.end_mark.index
            for token in self._tokens
            if start <= token.start_mark.index < end and not isinstance(token, STRUCTURE)
        ]
        return len(self.text[: max(ends, default=end)].rstrip())

    def _dash(self, item: yaml.Node) -> yaml.Mark:
        """The dash of an item of a block."""
        found: yaml.Mark | None = None
        for token in self._tokens:
            if isinstance(token, yaml.BlockEntryToken) and token.start_mark.index < item.start_mark.index:
                found = token.start_mark
        if found is None:
            raise Odd
        return found

    def _comma(self, start: int, end: int) -> int | None:
        """The comma of a list in brackets between two places, or None."""
        for token in self._tokens:
            if isinstance(token, yaml.FlowEntryToken) and start <= token.start_mark.index < end:
                return int(token.start_mark.index)
        return None

    def _line(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _next(self, at: int) -> int:
        return self.text.find("\n", at) + 1 or len(self.text)

    def _is_blank_before(self, line: int) -> bool:
        """Whether the line before the one that begins here is blank."""
        return line > 0 and not self.text[self._line(line - 1) : line].strip()

    def _after(self, end: int, column: int) -> int:
        """The line after one, and after the comments that follow it indented deeper than ``column``."""
        place = at = self._next(end)
        while at < len(self.text):
            line = self.text[at : self._next(at)]
            if re.match(rf" {{{column + 1},}}#", line):
                place = self._next(at)
            elif line.strip():
                break
            at = self._next(at)
        return place


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _text(node: yaml.Node | None) -> str:
    return str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""


def _is_json(node: yaml.Node) -> bool:
    """Whether a mapping in braces has its keys in double quotes."""
    return isinstance(node, yaml.MappingNode) and bool(node.flow_style and node.value and node.value[0][0].style == '"')
