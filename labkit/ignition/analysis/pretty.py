"""A report with the lines it is about, as Butane 0.29 lays it out, and the fix under each.

Source: internal/report of Butane.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..report import Entry, Report

_RESET = "\x1b[0m"
_COLORS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "info": "\x1b[1;36m", "place": "\x1b[1;34m"}


def render(report: Report, source: bytes | str, name: str, *, color: bool = False, fixes: bool = True) -> str:
    """The whole report. ``name`` is what the source is called (``<stdin>``)."""
    text = source.decode("utf-8", "surrogateescape") if isinstance(source, bytes) else source
    lines = text.split("\n")
    if color:  # the colours are ours alone; a letter for a letter, since places are counted
        lines, name = [line.replace("\x1b", "?") for line in lines], name.replace("\x1b", "?")
        report = Report(tuple(replace(entry, message=entry.message.replace("\x1b", "?")) for entry in report))
    return "\n".join(_entry(entry, lines, name, color, fixes) for entry in report)


def _paint(text: str, what: str, color: bool) -> str:
    return f"{_COLORS[what]}{text}{_RESET}" if color else text


def _entry(entry: Entry, lines: list[str], name: str, color: bool, fixes: bool) -> str:
    fix = f"  fix: {entry.fix}\n" if fixes and entry.fix else ""
    line, column = entry.line, entry.column
    if not 1 <= line <= len(lines) or not 1 <= column <= len(lines[line - 1].encode("utf-8", "surrogateescape")):
        return entry.raw() + "\n" + fix
    where = f"[{entry.where}]" if entry.path else ""
    first, last = max(1, line - 2), min(len(lines), line + 2)
    width = len(str(last))
    blank = " " * width
    out = [
        f"{_paint(entry.kind, entry.kind, color)}{where}:",
        f"  {_paint('-->', 'place', color)} {name}:{line}:{column}",
    ]
    out.append(f" {blank} |")
    for number in range(first, last + 1):
        out.append(f" {_paint(str(number).rjust(width), 'place', color)} | {lines[number - 1]}")
        if number == line:
            marks = _paint("^" * _underlined(lines[line - 1], column), "place", color)
            out.append(f" {blank} | {' ' * (column - 1)}{marks} {entry.message}")
    out.append(f" {blank} |")
    return "\n".join(out) + "\n" + fix


def _underlined(line: str, column: int) -> int:
    """How far the underline goes: to the next white space, in bytes from a column in characters, as Butane counts."""
    rest = line.encode("utf-8", "surrogateescape")[column - 1 :].decode("utf-8", "replace")
    space = re.search(r"\s", rest)
    part = rest[: space.start()] if space else rest
    return len(part.encode("utf-8", "surrogateescape"))
