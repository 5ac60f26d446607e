"""Everything there is to say of a text while a person writes it: the transpiler's remarks and the linter's, in place.

An editor calls `review` after each keystroke. Whatever the text is, the answer is a `Review`, never an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from ..report import Entry, IgnitionError, Report
from ..unit_file import Option
from ..yaml.tree import Node, YamlError, parse
from . import fixes, placeholders, unit_lint

NOTATIONS = {"butane": "Butane", "clc": "Container Linux Config", "ignition": "Ignition"}
_IN_LINE = re.compile(r"line (\d+): (.+)")
_VARIANT = re.compile("^variant[ \t]*:", re.MULTILINE)
_UNIT_AT_LARGE = Option("", "", "")


@dataclass(frozen=True)
class Review:
    """A text, its remarks by line, and what it makes: ``config`` is None where it is refused, for ``summary``."""

    source: str
    notation: str
    entries: tuple[Entry, ...]
    config: dict[str, Any] | None = None
    version: str = ""
    summary: str = ""


def review(source: str | bytes, *, files_dir: FilePath | None = None, platform: str = "") -> Review:
    """Look at a Butane config, a Container Linux Config or Ignition JSON, as the text itself says which it is."""
    text = source.decode("utf-8", "surrogateescape") if isinstance(source, bytes) else source
    if text.lstrip()[:1] == "{" and '"ignition"' in text:
        return _ignition(text)
    from .. import recognise, transpile

    notation = recognise(text) if _is_yaml(text) else "butane" if _VARIANT.search(text) else "clc"
    try:
        made = transpile(text, notation=notation, files_dir=files_dir, platform=platform)
    except IgnitionError as error:
        told = [_at_the_tab(entry, text.split("\n")) for entry in _told(error)]
        return Review(text, notation, _sorted(told), summary=error.summary.partition("\n")[0])
    config = json.loads(made.config)
    return Review(text, notation, _sorted([*made.report, *_linted(config, text, made.report)]), config, made.version)


def _is_yaml(text: str) -> bool:
    try:
        parse(text)
    except YamlError:
        return False
    return True


def _ignition(text: str) -> Review:
    from .. import validate
    from ..spec.check import parse as parse_json

    report = validate(text)
    if report.is_fatal:
        last = text.count("\n") + 1
        entries = [replace(entry, line=last) if entry.past_end else entry for entry in report]
        return Review(text, "ignition", _sorted(entries), summary="config is not valid")
    config, version, _ = parse_json(text)
    return Review(text, "ignition", _sorted([*report, *_linted(config, text, report)]), config, version)


def _told(error: IgnitionError) -> list[Entry]:
    """The entries of a refusal; what stands in its summary alone becomes entries too, each with its line."""
    entries = list(error.report)
    if any(entry.kind == "error" and not entry.message.startswith("yaml: ") for entry in entries):
        return entries
    texts = [error.summary, *(entry.message for entry in entries)]
    for line, message in (found.groups() for text in texts for found in _IN_LINE.finditer(text)):
        entries.append(Entry("error", message, line=int(line), fix=fixes.of(message)))
    if not entries:
        message = error.summary.removeprefix("Error translating config: ")
        entries.append(Entry("error", message, line=1, fix=error.fix or fixes.of(message)))
    return [entry for entry in entries if entry.line or not _IN_LINE.search(entry.message)]


def _at_the_tab(entry: Entry, lines: list[str]) -> Entry:
    """YAML's parser stumbles a line before or behind a tab that indents; a person looks for the tab."""
    if entry.path or entry.column or "cannot unmarshal" in entry.message:
        return entry
    for number in range(max(entry.line - 1, 1), min(entry.line + 3, len(lines) + 1)):
        if re.match(" *\t", lines[number - 1]):
            return replace(entry, line=number, fix="indent with spaces: YAML takes no tabs")
    return entry


def _sorted(entries: list[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: (entry.line, entry.column, entry.kind)))


def _linted(config: dict[str, Any], text: str, report: Report) -> list[Entry]:
    """The linter's remarks, told of the text; what the transpiler has said of a unit already is not said twice."""
    try:
        root = parse(text)
    except YamlError:
        return []
    lines = text.split("\n")
    said = {entry.path for entry in report if "no install section" in entry.message}
    entries = []
    for remark in unit_lint.remarks(config):
        placed = _placed(remark, root, lines)
        if "no [Install]" not in placed.message or placed.path not in said:
            entries.append(placed)
    return [*entries, *_unfilled(config, lines)]


def _unfilled(config: dict[str, Any], lines: list[str]) -> list[Entry]:
    """The remarks about placeholders, each where it stands in the text; those of another file at no place."""
    entries = []
    for name, where in placeholders.unfilled(config):
        word = f"${{{name}}}"
        at = next((number for number, line in enumerate(lines, 1) if word in line), 0)
        column = lines[at - 1].index(word) + 1 if at else 0
        entries.append(replace(placeholders.remark(name, where), line=at, column=column))
    return entries


def _placed(remark: unit_lint.Remark, root: Node | None, lines: list[str]) -> Entry:
    """A remark about a unit of the config, with its place in the text that the unit was written in."""
    place, path = _named(_below(root, "systemd", "units"), remark.unit), ["systemd", "units"]
    if place is None:
        return replace(remark.entry, path=())
    index, node = place
    path = [*path, str(index)]
    if remark.dropin:
        inner = _named(_below(node, "dropins"), remark.dropin)
        if inner is None:
            return replace(remark.entry, path=())
        node, path = inner[1], [*path, "dropins", str(inner[0])]
    contents = node.get("contents") if node.kind == "map" else None
    if contents is None:
        return replace(remark.entry, path=tuple(path), line=node.line, column=node.column)
    line, column = _option_place(remark.option or _UNIT_AT_LARGE, remark.word, contents, lines)
    steps = tuple(int(step) if step.isdigit() else step for step in (*path, "contents"))
    return replace(remark.entry, path=steps, line=line, column=column)


def _below(node: Node | None, *steps: str) -> Node | None:
    for step in steps:
        node = node.get(step) if node is not None and node.kind == "map" else None
    return node


def _named(units: Node | None, name: str) -> tuple[int, Node] | None:
    """The index and node of the entry of a list that has this name."""
    for index, item in enumerate(units.items if units is not None and units.kind == "seq" else ()):
        named = item.get("name") if item.kind == "map" else None
        if named is not None and named.value == name:
            return index, item
    return None


def _option_place(option: Option, word: str, contents: Node, lines: list[str]) -> tuple[int, int]:
    """Where an option, or a word of it, stands in a text block; the block's own place if it is not written there."""
    first = option.value.split("\n")[0].strip()
    height = contents.value.count("\n") + 1
    for number in range(contents.line, min(len(lines), contents.line + height) + 1):
        line = lines[number - 1]
        name, equals, value = line.partition("=")
        if option.name and equals and name.strip() == option.name and value.strip().startswith(first):
            at = line.find(word) if word else -1
            return number, (at if at >= 0 else len(line) - len(line.lstrip())) + 1
    return contents.line, contents.column
