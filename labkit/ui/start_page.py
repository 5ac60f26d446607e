"""The start page: whether this machine is ready, and the chapters with what each does and how long it takes here."""

from __future__ import annotations

import time

from IPython.display import display

from labkit.diagnosis.doctor.checks import examine
from labkit.diagnosis.doctor.examination import look
from labkit.diagnosis.doctor.findings import Finding
from labkit.events.tables import grid
from labkit.lab import Lab
from labkit.pictures.chassis import draw_chassis
from labkit.pictures.svg import AMBER, GREEN, GREY, RED, esc
from labkit.servers.client import find_state
from labkit.servers.controller.seen_swarm import see_swarm
from labkit.ui.chapter_header import takes
from labkit.ui.live_events import present_stages
from labkit.workbook import BOOK

_TABLE = (
    "<style>.labkit-table{border-collapse:collapse;color:var(--jp-ui-font-color1);max-width:830px}"
    "table.labkit-table th,table.labkit-table td{border-bottom:1px solid var(--jp-border-color1);"
    "padding:5px 12px 5px 0;text-align:left!important;vertical-align:top;white-space:normal}"
    ".labkit-table a{color:var(--jp-content-link-color);"
    "text-decoration:underline}</style>"
)
_SHORT = '<td style="white-space:nowrap">'
_SIGNS = {"ok": ("✓", "fine", GREEN), "warning": ("!", "note", AMBER), "bad": ("✕", "fix this", RED)}


def show_machine(lab: Lab) -> tuple[Finding, ...]:
    """Let the doctor look at this machine and show what is found, with what to do about it; nothing is changed."""
    found = examine(lab, look(lab, find_state(lab.path), print, see_swarm))
    rows, lines = [], []
    for one in found:
        sign, word, colour = _SIGNS.get(one.state, ("–", "not checked", GREY))
        mark = f'<b style="color:{colour}">{sign}</b> {word}'
        fix = f"<br>{esc(one.fix)}" if one.fix else ""
        rows.append(f"<tr>{_SHORT}{mark}</td><td>{esc(one.check)}</td><td>{esc(one.what)}{fix}</td></tr>")
        lines.append([sign, one.check, one.what + (f" ({one.fix})" if one.fix else "")])
    head = '<thead><tr><th scope="col">Result</th><th scope="col">Checked</th><th scope="col">Found</th></tr></thead>'
    html = f'{_TABLE}<table class="labkit-table">{head}<tbody>{"".join(rows)}</tbody></table>'
    display({"text/html": html, "text/plain": grid(["", "checked", "found"], lines)}, raw=True)
    return tuple(found)


def show_lab(lab: Lab) -> None:
    """The chassis as it is now: which slots have a blade, its role, and how far it is."""
    display(draw_chassis(lab, present_stages(lab)).dated(time.time()))


def show_chapters() -> None:
    """The chapters: a link, what it does, what it changes, how long it takes here."""
    head = "".join(f'<th scope="col">{word}</th>' for word in ("Chapter", "What it does", "What it changes", "Takes"))
    rows, lines = [], []
    for one in BOOK[1:]:
        link = f'<a href="{one.file}">{esc(one.name.split("-", 1)[0])} · {esc(one.title)}</a>'
        cells = [one.does, one.changes, takes(one.name)]
        told = "".join(f"<td>{esc(cell)}</td>" for cell in cells)
        rows.append(f"<tr>{_SHORT}{link}</td>{told}</tr>")
        lines.append([one.name, *cells])
    html = f'{_TABLE}<table class="labkit-table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    text = grid(["chapter", "what it does", "what it changes", "takes"], lines)
    display({"text/html": html, "text/plain": text}, raw=True)
