"""What leads from an editor to a blade: save its text as the blade's config, boot the blade with it, take that back.

The buttons do what the notebook's parameters do, and say it in the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from labkit.errors import LabkitError, ParameterError
from labkit.lab import Blade, lab_yaml
from labkit.pictures.protocols import draw_config
from labkit.pictures.svg import esc
from labkit.servers.client import RunningLab, find_lab, find_state
from labkit.ui.editor import ConfigEditor
from labkit.ui.long_cell import OneAtATime
from labkit.ui.views import BootView
from labkit.workbook import own_config

STYLE = """<style>
.lk-own { max-width: 830px; overflow: visible }
.lk-own .lk-said { border-left: 4px solid var(--jp-border-color1); padding: 2px 10px; margin: 4px 0;
  white-space: pre-wrap; overflow-wrap: anywhere; color: var(--jp-ui-font-color1); line-height: 1.5 }
.lk-own .lk-wrong { border-color: var(--jp-error-color1, #c62828) }
.lk-own .lk-told { max-height: 320px; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0;
  font: 12px/17px var(--jp-code-font-family, monospace); color: var(--jp-content-font-color1) }
.lk-own .jupyter-button { width: auto; height: auto; min-height: 28px; color: var(--jp-ui-font-color1);
  background: var(--jp-layout-color2); border: 1px solid var(--jp-border-color1) }
.lk-own .lk-busy { border-style: dashed; cursor: progress; pointer-events: none }
.lk-own .jupyter-button:focus-visible { outline: 3px solid var(--jp-brand-color1); outline-offset: 2px }
</style>"""

BELOW = "Cells below that have run already go by lab.yaml as it was then: run them again."
"""What is said after a click; a cell that saves by its parameters runs before them."""


def keep_config(
    editor: ConfigEditor,
    blade: Blade,
    *,
    save_as: str = "",
    boot: bool = False,
    undo: bool = False,
    timeout_s: float = 420.0,
) -> OwnConfig:
    """Buttons that save the editor's text as the blade's config, boot that blade with it, and take it back.

    What the parameters ask for is done at once: ``save_as`` names the file, ``boot`` boots, ``undo`` takes it back at
    the end; alone, it takes back what was saved before. Raises ParameterError, and what `labkit.workbook.own_config`
    does.
    """
    if boot and not save_as:
        raise ParameterError("there is nothing saved to boot", fix="save_as names the file to save: mine.bu")
    own = OwnConfig(editor, blade, save_as=save_as, timeout_s=timeout_s)
    display(own)
    for wanted, act in ((save_as, own.save), (boot, own.boot), (undo, own.undo)):
        if wanted:
            print(act())
    return own


class OwnConfig:
    """The buttons, and what they did."""

    def __init__(self, editor: ConfigEditor, blade: Blade, *, save_as: str = "", timeout_s: float = 420.0) -> None:
        self._editor, self._blade, self._timeout_s = editor, blade, timeout_s
        path = find_lab()
        saved = own_config.find_saved(path, find_state(path), blade.name)
        if saved and saved.file not in lab_yaml.load(path).blade(blade.name).config:
            saved = None
        self._named = self._usual_name()
        self.name = widgets.Text(
            value=save_as or (saved.file.name if saved else self._named), description="File beside lab.yaml"
        )
        editor.on_typed(self._name_anew)
        self.name.style.description_width = "initial"
        self.buttons = {
            words: widgets.Button(description=words)
            for words in (f"Save as {blade.name}'s config", f"Boot {blade.name} with this", "Undo")
        }
        self._said, self._told, self._board, self._wrote = (widgets.HTML() for _ in range(4))
        self._turns = OneAtATime(self.buttons.values)
        for button, act in zip(self.buttons.values(), (self.save, self.boot, self.undo), strict=True):
            button.on_click(self._pressed(act))
        row = widgets.HBox([self.name, *self.buttons.values()], layout={"flex_flow": "row wrap"})
        self.widget = widgets.VBox([widgets.HTML(STYLE), row, self._said, self._told, self._board, self._wrote])
        self.widget.add_class("lk-own")
        self._say(str(saved) if saved else f"Nothing is saved yet: {blade.name} boots as lab.yaml says.")

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        bundle: dict[str, Any] = self.widget._repr_mimebundle_()
        return {**bundle, "text/plain": "\n".join([self._words, *map("[{}]".format, self.buttons)])}

    def _usual_name(self) -> str:
        """What a file with this text is called, by its language."""
        return f"{self._blade.name}{'.bu' if self._editor.review.notation == 'butane' else '.yaml'}"

    def _name_anew(self) -> None:
        """Where nobody has named the file, its name goes with the text."""
        before, self._named = self._named, self._usual_name()
        if self.name.value == before:
            self.name.value = self._named

    def save(self) -> str:
        """Save the editor's text; what was done, with what there is to say of the text."""
        path, blade, text = find_lab(), self._blade.name, self._editor.value
        saved = own_config.save(path, find_state(path), blade, self.name.value, text)
        remarks = [f"{one.kind}: {one.message}" for one in self._editor.review.entries]
        return self._say("\n".join([str(saved), *remarks]))

    def boot(self) -> str:
        """Save the text where it is not, show the plan, boot the blade, and show what Ignition wrote."""
        self.save()
        lab_path, name = find_lab(), self._blade.name
        plan, config = own_config.show_plan(lab_path, find_state(lab_path), name)
        self._told.value = f'<pre class="lk-told" tabindex="0">{esc(plan)}</pre>'
        self._wrote.value = ""
        view = BootView([self._blade], live=self)
        running = own_config.boot(lab_path, name, timeout_s=self._timeout_s, show=view.show, say=self._tell)
        view.follow()
        self._wrote.value = self._draw_config(running, config)
        return self._say(f"{name} has booted with {self.name.value}\n{plan}", shown=f"{name} has booted with it.")

    def undo(self) -> str:
        """Take the last save back."""
        path = find_lab()
        words = own_config.undo(path, find_state(path), self._blade.name)
        self._told.value = self._wrote.value = ""
        return self._say(words)

    def show(self, bundle: dict[str, str]) -> None:
        """Draw the board of a boot."""
        self._board.value = bundle["text/html"]

    def _draw_config(self, running: RunningLab, config: dict[str, object]) -> str:
        name = self._blade.name
        return draw_config(running.events(), name, running.stages().blade(name).boot, config).svg

    def _pressed(self, act: Callable[[], str]) -> Callable[[object], None]:
        def press() -> None:
            try:
                words = act()
                if act != self.boot:
                    self._say(f"{words}\n{BELOW}")
            except LabkitError as error:
                self._say(str(error), wrong=True)

        return self._turns.on_press(press)

    def _tell(self, words: str) -> None:
        self._say(words)

    def _say(self, words: str, *, wrong: bool = False, shown: str = "") -> str:
        self._words = words
        style = "lk-said lk-wrong" if wrong else "lk-said"
        self._said.value = f'<div class="{style}" role="status">{esc(shown or words)}</div>'
        return words
