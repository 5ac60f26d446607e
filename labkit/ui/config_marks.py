"""A config's text with its mistakes marked: as HTML that lies under a text area, and the same in plain text.

Pure: a `Review` in, text out. The HTML repeats the source line by line, so that each mark lies exactly under what the
person typed; the words of the remarks stand below it, with the line, what kind it is and what to do about it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from labkit.ignition import Entry
from labkit.ignition.analysis.editing import NOTATIONS, Review
from labkit.pictures.svg import esc

#: what stands before a remark, so that colour is never all there is
SIGNS = {"error": "✖", "warning": "▲", "info": "●"}


def place(entry: Entry, lines: Sequence[str]) -> tuple[int, int, int]:
    """The line (from 1) that an entry is about, and the columns (from 0) where its mark begins and ends."""
    number = min(max(entry.line, 1), max(len(lines), 1))
    line = lines[number - 1] if lines else ""
    indent = len(line) - len(line.lstrip())
    start = entry.column - 1 if 0 < entry.column <= len(line) else indent
    return number, start, max(start + 1, _end(line, start, entry))


def _end(line: str, start: int, entry: Entry) -> int:
    if re.match("unused key|Config has unrecognized key", entry.message):
        return start + len(re.split("[:=]", line[start:])[0])
    if "{" in line[:start] and (found := re.match(r"\"[^\"]*\"|[^,}\]]+", line[start:])):
        return start + len(found[0].rstrip())
    if start > len(line) - len(line.lstrip()) and line[start - 2 : start] not in (": ", "- "):
        return start + len(line[start:].split(None, 1)[0])  # a word within a line
    return len(re.split(r"\s#", line)[0].rstrip())


def marks(review: Review) -> dict[int, list[tuple[int, int, Entry]]]:
    """The marks of each line that has any, from left to right."""
    lines = review.source.split("\n")
    found: dict[int, list[tuple[int, int, Entry]]] = {}
    for entry in review.entries:
        number, start, end = place(entry, lines)
        found.setdefault(number, []).append((start, end, entry))
    return {number: sorted(each, key=lambda mark: mark[:2]) for number, each in found.items()}


def headline(review: Review) -> str:
    """What the text is and what there is to say of it: ``Butane, makes Ignition 3.4.0, 2 warnings``."""
    parts = [NOTATIONS[review.notation]]
    if review.config is None:
        parts.append("is refused")
    elif review.notation != "ignition":
        parts.append(f"makes Ignition {review.version}")
    else:
        parts.append(f"version {review.version}")
    for kind in SIGNS:
        count = sum(entry.kind == kind for entry in review.entries)
        if count:
            parts.append(f"{count} {kind}{'s' if count > 1 else ''}")
    return ", ".join(parts if review.entries else [*parts, "nothing to complain about"])


def draw_marks(review: Review) -> str:
    """The layer under the text area: the same text, invisible, with wavy lines where the remarks are."""
    found = marks(review)
    lines = []
    for number, line in enumerate(review.source.split("\n"), 1):
        kinds = {entry.kind for _, _, entry in found.get(number, ())}
        worst = next((kind for kind in SIGNS if kind in kinds), "")
        sign = SIGNS.get(worst, "")
        content = "".join(_pieces(line, found.get(number, ())))
        lines.append(
            f'<span class="lk-line{" lk-has-" + worst if worst else ""}" data-line="{number}" data-sign="{sign}">'
            f"{content or '&#8203;'}</span>"
        )
    return f'<pre class="lk-marks" aria-hidden="true">{"".join(lines)}</pre>'


def _pieces(line: str, found: Sequence[tuple[int, int, Entry]]) -> Iterator[str]:
    """A line's text cut at the marks; where two lie over each other, the first keeps the place."""
    at = 0
    for start, end, entry in found:
        start, end = max(start, at), min(end, len(line))
        if end <= start:
            continue
        yield html.escape(line[at:start])
        yield f'<span class="lk-mark lk-mark-{entry.kind}">{html.escape(line[start:end])}</span>'
        at = end
    yield html.escape(line[at:])


def draw_remarks(review: Review) -> str:
    """The remarks in words, one below the other, for eyes and for screen readers."""
    items = []
    for entry in review.entries:
        where = f"line {entry.line}" if entry.line else "the whole text"
        kind, message = f"{SIGNS[entry.kind]} {entry.kind}", esc(entry.message)
        fix = f'<span class="lk-fix">{esc(entry.fix)}</span>' if entry.fix else ""
        items.append(
            f'<li class="lk-remark lk-remark-{entry.kind}"><span class="lk-kind">{kind}</span> '
            f'<span class="lk-where">{where}</span> <span class="lk-message">{message}</span>{fix}</li>'
        )
    state = "refused" if review.config is None else "remarks" if review.entries else "clean"
    return (
        f'<div class="lk-report lk-is-{state}" role="status"><p class="lk-headline">{esc(headline(review))}</p>'
        f'<ul class="lk-remarks">{"".join(items)}</ul></div>'
    )


def marked_text(review: Review) -> str:
    """The same in plain text: every line with its number, and under a marked one its remarks."""
    found = marks(review)
    lines = review.source.removesuffix("\n").split("\n")
    width = len(str(len(lines)))
    out = [headline(review)]
    for number, line in enumerate(lines, 1):
        out.append(f"{number:>{width}} | {line}")
        drawn = None
        for start, end, entry in found.get(number, ()):
            if drawn != (start, end):
                out.append(f"{'':>{width}} | {' ' * start}{'~' * (end - start)}")
            drawn = start, end
            out.append(f"{'':>{width}}   {SIGNS[entry.kind]} {entry.kind}: {entry.message}")
            if entry.fix:
                out.append(f"{'':>{width}}     fix: {entry.fix}")
    return "\n".join(out)
