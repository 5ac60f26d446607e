"""Machines that asked and are not in the lab file, each with a button that makes it a blade.

The buttons do what ``./lab adopt`` does, and say it in the same words; without a browser, MAC addresses that are given
do it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from labkit.errors import LabkitError
from labkit.events.unknown_machines import Machine
from labkit.lab import NetworkKind
from labkit.lab.lab_yaml.edit import LabText
from labkit.pictures.svg import esc
from labkit.servers.client import find_lab, find_state
from labkit.ui.error_box import make_box
from labkit.workbook import adoption

AGAIN = "Look again"
THEN = "Run this cell again: the chassis below has it then."
STYLE = """<style>
.lk-adopt { max-width: 830px; overflow: visible; color: var(--jp-ui-font-color1) }
.lk-adopt .lk-said { border-left: 4px solid var(--jp-border-color1); padding: 2px 10px; margin: 4px 0;
  white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5 }
.lk-adopt .jupyter-button { width: auto; height: auto; min-height: 28px; color: var(--jp-ui-font-color1);
  background: var(--jp-layout-color2); border: 1px solid var(--jp-border-color1) }
.lk-adopt .jupyter-button:focus-visible { outline: 3px solid var(--jp-brand-color1); outline-offset: 2px }
</style>"""


def adopt_machines(macs: Sequence[str] = ()) -> Adoption:
    """Show the machines that asked and are not in the lab file, each with a button that adopts it.

    Those with the cards ``macs`` are adopted at once. Raises ParameterError and LabFileError.
    """
    path = find_lab()
    if macs:
        print(adoption.ensure_adopted(path, find_state(path), macs))
    shown = Adoption()
    display(shown)
    return shown


class Adoption:
    """The machines, as of the last look, and their buttons by MAC address."""

    def __init__(self) -> None:
        self.buttons: dict[str, widgets.Button] = {}
        self._said, self._rows = widgets.HTML(), widgets.VBox()
        self._again = widgets.Button(description=AGAIN)
        self._again.on_click(self._pressed(self._look))
        self.widget = widgets.VBox([widgets.HTML(STYLE), self._rows, self._again, self._said])
        self.widget.add_class("lk-adopt")
        self._look()

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        bundle: dict[str, Any] = self.widget._repr_mimebundle_()
        return {**bundle, "text/plain": "\n".join(self._lines)}

    def _look(self) -> str:
        """Show what has asked by now."""
        path = find_lab()
        self._heard = heard = adoption.look(path, find_state(path))
        is_real = LabText(heard.source.text).value("network", "kind") == NetworkKind.INTERFACE
        self.buttons.clear()
        rows, self._lines = [], []
        for machine in heard.unknown:
            cards, known = ", ".join(machine.macs), adoption.about(heard.source, machine)
            self._lines.append(f"{cards}: {known}")
            words = widgets.HTML(f"<strong>{esc(cards)}</strong><br>{esc(known)}")
            rows.append(widgets.VBox([words, *([self._row(machine, is_real=is_real)] if machine in heard.new else [])]))
        self._lines = self._lines or [adoption.NONE]
        self._lines += ["machines above, or ./lab adopt MAC, makes one a blade"] if heard.new else []
        self._rows.children = rows or [widgets.HTML(esc(adoption.NONE))]
        return ""

    def _row(self, machine: Machine, *, is_real: bool) -> widgets.Widget:
        """The button of a machine, and in a real lab a field for what switches it."""
        mac = machine.macs[0]
        words = f"{machine.bmc}, as it told, " if machine.bmc else "its address, "
        bmc = widgets.Text(description=f"BMC of {mac}", placeholder=f"{words}manual or wol")
        bmc.style.description_width = "initial"
        button = self.buttons[mac] = widgets.Button(description=f"Adopt {mac}")
        button.on_click(self._pressed(lambda: self._adopt(machine, bmc.value.strip())))
        return widgets.HBox([bmc, button] if is_real else [button], layout={"flex_flow": "row wrap"})

    def _adopt(self, machine: Machine, bmc: str) -> str:
        path = find_lab()
        taken = adoption.take_in(self._heard, [machine.macs], find_state(path), bmc=bmc)
        self._look()
        return f"{taken.words}\n{THEN}"

    def _pressed(self, act: Callable[[], str]) -> Callable[[object], None]:
        def press(button: object) -> None:
            pressed = [self._again, *self.buttons.values()]
            for one in pressed:
                one.disabled = True
            try:
                words = act()
                self._said.value = f'<div class="lk-said" role="status">{esc(words)}</div>' if words else ""
            except LabkitError as error:
                self._said.value = replace(make_box(error), title=f"Nothing was adopted: {type(error).__name__}").html
            finally:
                for one in pressed:
                    one.disabled = False

        return press
