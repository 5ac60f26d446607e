"""The head of a chapter: where one is, what the chapter changes and how to undo it, and a brick a section.

The bricks follow the cells as they are run, by hand or headless: a section has run when all of its cells have.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from IPython.core.getipython import get_ipython

from labkit.errors import LabkitError
from labkit.pictures.section_bar import Brick, draw_bricks
from labkit.pictures.svg import esc
from labkit.servers.client import find_lab
from labkit.ui.views import Live
from labkit.workbook import BOOK, Chapter, chapters, folder_of
from labkit.workbook.record import usual_durations


def chapter(name: str) -> None:
    """Show the head of the chapter of that name (``01-pxe-setup``), and let its bricks follow the cells from here on.

    Raises ParameterError for a name that is no chapter.
    """
    known = chapters.chapter(name)
    folder = folder_of(name, find_lab())
    head = Live()
    head.show({"text/html": _head_html(known), "text/plain": _head_text(known)})
    bar = Bar(chapters.read_sections(folder, name))
    bar.show()
    shell = get_ipython()
    if shell is not None:
        bar.follow(shell)


class Bar:
    """The bricks of a chapter, as far as its cells have run in this kernel."""

    _following: tuple[Bar, Any] | None = None
    """The bar that is told of cells, and by which shell."""

    def __init__(self, sections: tuple[chapters.Section, ...]) -> None:
        self._sections = sections
        self._ran: dict[tuple[int, int], bool] = {}
        self._running: int | None = None
        self._live = Live()

    @property
    def bricks(self) -> list[Brick]:
        """The state of each section."""
        return [Brick(section.name, self._state(number)) for number, section in enumerate(self._sections)]

    def show(self) -> None:
        """Draw the bricks, in place."""
        self._live.show(draw_bricks(self.bricks).mimebundle)

    def began(self, source: str, cell_id: str = "") -> None:
        """A cell begins to run."""
        place = self.find(source, cell_id)
        if place is not None:
            self._running = place[0]
            self._ran.pop(place, None)

    def ended(self, source: str, cell_id: str = "", *, well: bool) -> None:
        """A cell has run. What stands before the first cell seen has run too, or the notebook would not be here."""
        place = self.find(source, cell_id)
        self._running = None
        if place is None:
            return
        if not self._ran:
            self._ran.update({(0, cell): True for cell in range(place[1]) if place[0] == 0})
        self._ran[place] = well

    def find(self, source: str, cell_id: str) -> tuple[int, int] | None:
        """The section and the cell in it, by the cell's id where the front end tells it, else by its text."""
        for number, section in enumerate(self._sections):
            if cell_id in section.ids:
                return number, section.ids.index(cell_id)
            if source.strip() in (text.strip() for text in section.sources):
                return number, [text.strip() for text in section.sources].index(source.strip())
        return None

    def follow(self, shell: Any) -> None:
        """Be told of every cell from here on, in place of the bar before."""
        if Bar._following is not None:
            before, its = Bar._following
            its.events.unregister("pre_run_cell", before._before_cell)
            its.events.unregister("post_run_cell", before._after_cell)
        Bar._following = self, shell
        shell.events.register("pre_run_cell", self._before_cell)
        shell.events.register("post_run_cell", self._after_cell)

    def _before_cell(self, info: Any) -> None:
        self.began(info.raw_cell, info.cell_id or "")
        self.show()

    def _after_cell(self, result: Any) -> None:
        self.ended(result.info.raw_cell, result.info.cell_id or "", well=result.success)
        self.show()

    def _state(self, number: int) -> str:
        cells = [self._ran.get((number, cell)) for cell in range(len(self._sections[number].ids))]
        if False in cells:
            return "failed"
        if self._running == number:
            return "runs"
        return "ran" if all(cells) else "waits"


def _head_html(known: Chapter) -> str:
    place = BOOK.index(known)
    before = [_link(one, f"← {one.title}") for one in BOOK[max(0, place - 1) : place]]
    after = [_link(one, f"{one.title} →") for one in BOOK[place + 1 : place + 2]]
    row = " · ".join([*before, f"<b>{esc(known.title)}</b>", *after])
    facts = "".join(f"<dt>{esc(name)}</dt><dd>{esc(words)}</dd>" for name, words in _facts(known))
    style = (
        "<style>.labkit-head{border:1px solid var(--jp-border-color1);border-radius:6px;padding:8px 14px;"
        "max-width:728px;color:var(--jp-ui-font-color1)}.labkit-head a{color:var(--jp-content-link-color);"
        "text-decoration:underline}"
        ".labkit-head dl{display:grid;grid-template-columns:max-content auto;gap:2px 12px;margin:6px 0 0}"
        ".labkit-head dt{font-weight:600}.labkit-head dd{margin:0}.labkit-head dt,.labkit-head dd{width:auto}</style>"
    )
    return f'{style}<div class="labkit-head"><div>{row}</div><dl>{facts}</dl></div>'


def _link(other: Chapter, words: str) -> str:
    return f'<a href="{other.file}">{esc(words)}</a>'


def _head_text(known: Chapter) -> str:
    return "\n".join([f"{known.name}: {known.title}", *(f"{name}: {words}" for name, words in _facts(known))])


def _facts(known: Chapter) -> list[tuple[str, str]]:
    return [("Changes", known.changes), ("Undo", known.undo), ("Takes", takes(known.name))]


def takes(name: str) -> str:
    """How long a notebook usually takes here: a chapter by the runs that are kept."""
    if name not in chapters.CHAPTERS:
        return "a few seconds"
    seconds = usual_durations(runs_folder()).get(name)
    return f"about {seconds:.0f} seconds here, going by earlier runs" if seconds else "not measured here yet"


def runs_folder() -> Path:
    """Where ``./lab run`` keeps its runs."""
    if "LABKIT_RUNS" in os.environ:
        return Path(os.environ["LABKIT_RUNS"])
    try:
        return find_lab().parent / "runs"
    except LabkitError:
        return Path("runs")
