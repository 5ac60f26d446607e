"""A config being written: the text with its mistakes underlined as a person types, and beside it what it makes.

The text area is transparent and lies over a copy of its own text (`config_marks`) in which the mistakes have wavy
lines. Both have one font, one line height and one width, and the copy gives the pair its height, so nothing scrolls
inside it and a mark is always under its word. No script runs in the page: what is drawn comes from the kernel.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from labkit import ignition
from labkit.errors import ParameterError
from labkit.ignition.analysis.editing import Review
from labkit.pictures.svg import esc
from labkit.servers.client import find_lab
from labkit.ui.choosers import keep_pressed, pressed_before
from labkit.ui.config_marks import draw_marks, draw_remarks, marked_text
from labkit.workbook import find_file, notebooks_folder

STYLE = (Path(__file__).parent / "editor.css").read_text(encoding="utf-8")
TABS = ("Ignition JSON", "Explanation", "Difference")


def open_config(path: str | Path) -> ConfigEditor:
    """An editor with the text of a file. Nothing is written back: the notebook shows, the file stays.

    A relative path leads from the working folder, else from the notebooks', else from the lab file's. Raises
    ParameterError when the file is in none of them, or cannot be read.
    """
    path = find_file(path, notebooks_folder(find_lab()), find_lab().parent)
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ParameterError(
            f"the config cannot be read: {error.strerror}", where=str(path), fix="pass the path of a config file"
        ) from None
    return edit_config(text, name=path.name, files_dir=path.parent)


def edit_config(text: str, *, name: str = "config", files_dir: Path | None = None) -> ConfigEditor:
    """An editor with this text: Butane, Container Linux Config or Ignition, as the text itself says which.

    In a notebook a cell that runs again with the same text keeps what was typed since, unless that was emptied.
    """
    editor, key = ConfigEditor(text, name=name, files_dir=files_dir), ("editor", name, files_dir, text)
    before = pressed_before(key)
    if before is not None and before[0].strip():
        editor.value = before[0]
    editor.on_typed(lambda: keep_pressed(key, [editor.value]))
    display(editor)
    return editor


class ConfigEditor:
    """The widget and its state. ``value`` is the text as it is now; `config` what it makes."""

    def __init__(self, text: str, *, name: str, files_dir: Path | None = None) -> None:
        self._name, self._files_dir = name, files_dir
        self._told_of: list[Callable[[], None]] = []
        self._opened = ignition.review(text, files_dir=files_dir)
        self.review: Review = self._opened
        self._area = widgets.Textarea(
            value=text, continuous_update=True, layout={"width": "auto"}, tooltip=f"the text of {name}",
            description=f"the text of {name}", style={"description_width": "0px"},  # a label that is only read out
        )  # fmt: skip
        self._area.add_class("lk-area")
        self._area.observe(self._typed, "value")
        self._marks, self._remarks = widgets.HTML(), widgets.HTML()
        self._tabs = [widgets.HTML() for _ in TABS]
        self.widget = self._arrange()
        self._draw()

    @property
    def value(self) -> str:
        """The text. Setting it is as if a person had typed it."""
        return str(self._area.value)

    @value.setter
    def value(self, text: str) -> None:
        self._area.value = text

    @property
    def config(self) -> dict[str, Any]:
        """The Ignition config that the text makes. Raises ParameterError with the report when it makes none."""
        if self.review.config is None:
            raise ParameterError(f"{self._name} makes no config:\n{marked_text(self.review)}", fix="correct the text")
        return self.review.config

    @property
    def text(self) -> str:
        """Everything that the widget shows, in plain text."""
        parts = [(self._name, marked_text(self.review)), *zip(TABS, self._told(), strict=True)]
        return "\n\n".join(f"{title}\n{'-' * len(title)}\n{body}" for title, body in parts)

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        bundle: dict[str, Any] = self.widget._repr_mimebundle_()
        return {**bundle, "text/plain": self.text}

    def _arrange(self) -> widgets.Widget:
        head = widgets.HTML(f"<style>{STYLE}</style><p class='lk-name'>{esc(self._name)}</p>")
        sheet = widgets.Box([self._marks, self._area])
        sheet.add_class("lk-sheet")
        left = widgets.VBox([head, sheet, self._remarks])
        left.add_class("lk-left")
        right = widgets.Tab(self._tabs, titles=TABS, selected_index=0)
        right.add_class("lk-right")
        whole = widgets.Box([left, right])
        whole.add_class("lk-editor")
        return whole

    def on_typed(self, act: Callable[[], None]) -> None:
        """Have this done each time the text has become another."""
        self._told_of.append(act)

    def _typed(self, _: object) -> None:
        self.review = ignition.review(self.value, files_dir=self._files_dir)
        self._draw()
        for act in self._told_of:
            act()

    def _draw(self) -> None:
        self._marks.value = draw_marks(self.review)
        self._remarks.value = draw_remarks(self.review)
        for tab, body in zip(self._tabs, self._told(), strict=True):
            tab.value = f'<pre class="lk-told" tabindex="0">{esc(body)}</pre>'

    def _told(self) -> tuple[str, str, str]:
        """The three panes in words: the JSON, the explanation, the difference from what was opened."""
        config = self.review.config
        if config is None:
            reason = "Nothing: the text is refused, for the reasons below it."
            return reason, reason, reason
        made = json.dumps(config, indent=2, ensure_ascii=False)
        if self._opened.config is None:
            return made, ignition.explain(config), "what was opened made no config"
        return made, ignition.explain(config), ignition.diff(self._opened.config, config)
