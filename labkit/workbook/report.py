"""One HTML page of a run: the table of the blades, timeline and topology, what was given, every executed notebook."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit.diagnosis.stuck import usual_times
from labkit.events import Event
from labkit.events.stages import STAGES
from labkit.lab import Lab
from labkit.lab.plain_text import printable
from labkit.pictures.boot_board import draw_boots
from labkit.pictures.scene import Scene, fold_all
from labkit.pictures.svg import esc
from labkit.pictures.topology import draw_topology
from labkit.workbook.chapters import chapter, source_of
from labkit.workbook.page import figure, render_page, table

FILE = "report.html"


def write_report(folder: Path, lab: Lab, body: Mapping[str, Any], stream: Sequence[Event]) -> Path:
    """Write ``report.html`` of the run in a folder; the page's path."""
    scene = fold_all(stream)
    parts = [_head(lab, body), _pictures(lab, body, scene), _tables(body)]
    for row in sorted(folder.glob("*.ipynb")):
        parts.append(_notebook(row))
    page = folder / FILE
    page.write_text(render_page(f"Run of {lab.name}", "\n".join(parts)), encoding="utf-8")
    return page


def _head(lab: Lab, body: Mapping[str, Any]) -> str:
    when = time.strftime("%d %B %Y, %H:%M", time.localtime(body["began"]))
    words = {"done": "Every chapter ran.", "failed": "A chapter failed.", "interrupted": "It was interrupted."}
    told = words[body["status"]]
    if "answered" in body:
        told += f" nginx {'answered' if body['answered'] else 'did not answer'} through every chosen blade."
    error = f'<pre class="failed">{esc(body["error"])}</pre>' if "error" in body else ""
    pages = body.get("pages", {})
    links = ", ".join(f'<a href="{esc(url)}">{esc(url)}</a> ({esc(name)})' for name, url in pages.items())
    page = f"<p>The page, while the lab is up: {links}</p>" if links else ""
    return f"<h1>Run of '{esc(lab.name)}'</h1><p>{when}, {body['seconds']:.0f} seconds. {told}</p>{page}{error}"


def _pictures(lab: Lab, body: Mapping[str, Any], scene: Scene) -> str:
    boots = draw_boots(body["lab"]["blades"], scene, usual_times(scene.past, lab), scene.now)
    topology = draw_topology(lab, scene)
    return figure(boots.title, boots.svg) + figure(topology.title, topology.svg)


def _tables(body: Mapping[str, Any]) -> str:
    rows = [
        [name, row["mac"], row["address"], row["stage"]]
        + [f"{row['seconds'][stage]:.1f}" if stage in row["seconds"] else "-" for stage in STAGES]
        + [f"{row['total_s']:.1f}" if row["total_s"] else "-"]
        for name, row in body["blades"].items()
    ]
    blades = table(["blade", "MAC", "address", "now", *(f"{stage} s" for stage in STAGES), "total s"], rows)
    ran = [[row["name"], f"{row['seconds']:.1f}", row["status"]] for row in body["chapters"]]
    chapters = table(["chapter", "seconds", ""], ran)
    given = [
        [name, parameter, json.dumps(value)]
        for name, values in body["parameters"].items()
        for parameter, value in values.items()
    ]
    parameters = table(["chapter", "parameter", "value"], given)
    files = [[blade, name, digest[:16]] for blade, those in body["artifacts"].items() for name, digest in those.items()]
    files += [["", name, digest[:16]] for name, digest in body["images"].items()]
    versions = table(["what", "version"], [[name, word] for name, word in body["versions"].items()])
    return (
        f"<h2>Blades</h2>{blades}<h2>Chapters</h2>{chapters}"
        f"<details><summary>Parameters</summary>{parameters}</details>"
        f"<details><summary>What was served</summary>{table(['blade', 'file', 'SHA-256'], files)}</details>"
        f"<details><summary>Versions</summary>{versions}</details>"
    )


def _notebook(path: Path) -> str:
    book = json.loads(path.read_text(encoding="utf-8"))
    name = path.stem
    inside = "\n".join(_cells(book["cells"]))
    return f'<details id="{esc(name)}"><summary>{esc(name)}: {esc(chapter(name).title)}</summary>{inside}</details>'


def _cells(cells: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    from nbconvert.filters import markdown2html

    for cell in cells:
        if cell["cell_type"] == "markdown":
            yield str(markdown2html(source_of(cell)))
        elif cell["cell_type"] == "code" and source_of(cell).strip():
            yield f'<div class="cell-in"><pre>{esc(source_of(cell))}</pre></div>'
            yield from (f'<div class="cell-out">{_output(output)}</div>' for output in cell["outputs"])


def _output(output: Mapping[str, Any]) -> str:
    """An output as HTML where it has that, else in words. Widgets have a picture beside them."""
    if output["output_type"] == "stream":
        return f"<pre>{esc(printable(_joined(output['text'])))}</pre>"
    if output["output_type"] == "error":
        return f'<pre class="failed">{esc(printable(chr(10).join(output["traceback"])))}</pre>'
    data = output.get("data", {})
    if "text/html" in data:
        return _joined(data["text/html"])
    return f"<pre>{esc(_joined(data.get('text/plain', '')))}</pre>"


def _joined(words: str | list[str]) -> str:
    return words if isinstance(words, str) else "".join(words)
