"""Machines that asked and are not in the lab file, each with a button that makes it a blade.

The buttons do what ``./lab adopt`` does, and say it in the same words; without a browser, MAC addresses that are given
do it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from labkit.errors import LabkitError
from labkit.lab import NetworkKind
from labkit.lab.lab_yaml.edit import LabText
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.pictures.svg import esc
from labkit.servers.client import find_lab, find_state
from labkit.ui.error_box import make_box
from labkit.ui.long_cell import OneAtATime
from labkit.workbook import adoption

AGAIN = "Look again"
NOT_UP = "; the lab is not up, and hears none: ./lab up"
THEN = "Run this cell again: the chassis below has it then."
STYLE = """<style>
.lk-adopt { max-width: 830px; overflow: visible; color: var(--jp-ui-font-color1) }
.lk-adopt .lk-said { border-left: 4px solid var(--jp-border-color1); padding: 2px 10px; margin: 4px 0;
  white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5 }
.lk-adopt .jupyter-button { width: auto; height: auto; min-height: 28px; align-self: flex-start;
  color: var(--jp-ui-font-color1); background: var(--jp-layout-color2); border: 1px solid var(--jp-border-color1) }
.lk-adopt .lk-busy { border-style: dashed; cursor: progress; pointer-events: none }
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
        self._said, self._none, self._rows = widgets.HTML(), widgets.HTML(), widgets.VBox()
        self._row_of: dict[str, _Row] = {}
        self._again = widgets.Button(description=AGAIN)
        self._turns = OneAtATime(lambda: [self._again, *self.buttons.values()])
        self._again.on_click(self._pressed(self._look))
        self.widget = widgets.VBox([widgets.HTML(STYLE), self._rows, self._none, self._again, self._said])
        self.widget.add_class("lk-adopt")
        self._look()

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        bundle: dict[str, Any] = self.widget._repr_mimebundle_()
        return {**bundle, "text/plain": "\n".join(self._lines)}

    def _look(self) -> str:
        """Show what has asked by now. A row that is there stays as it is, with what somebody typed and its focus."""
        path = find_lab()
        self._heard = heard = adoption.look(path, find_state(path))
        is_real = LabText(heard.source.text).value("network", "kind") == NetworkKind.INTERFACE
        machines = {machine.macs[0]: machine for machine in heard.unknown}
        new = {machine.macs[0] for machine in heard.new}
        self._lines = []
        for mac, machine in machines.items():
            cards, known = ", ".join(machine.macs), adoption.about(heard.source, machine)
            self._lines.append(f"{cards}: {known}")
            row = self._row_of.get(mac)
            if row is None:
                row = self._row_of[mac] = _Row(mac, is_real=is_real, press=self._pressed(partial(self._adopt, mac)))
            row.say(f"<strong>{esc(cards)}</strong><br>{esc(known)}", is_new=mac in new, bmc=machine.bmc)
        for mac, row in self._row_of.items():
            row.widget.layout.display = None if mac in machines else "none"
        self.buttons = {mac: row.button for mac, row in self._row_of.items() if mac in new}
        nothing = "" if machines else _nothing(find_state(path))
        self._lines = self._lines or [nothing]
        self._lines += ["machines above, or ./lab adopt MAC, makes one a blade"] if new else []
        self._none.value = esc(nothing)
        self._rows.children = [row.widget for row in self._row_of.values()]
        return ""

    def _adopt(self, mac: str) -> str:
        path, machine = find_lab(), next(one for one in self._heard.new if one.macs[0] == mac)
        bmc = self._row_of[mac].bmc.value.strip()
        taken = adoption.take_in(self._heard, [machine.macs], find_state(path), bmc=bmc)
        macs = list(self._row_of)
        self._look()
        behind = [self.buttons[other] for other in macs[macs.index(mac) :] if other in self.buttons]
        next(iter([*behind, *self.buttons.values(), self._again])).focus()  # this one's button is gone
        return f"{taken.words}\n{THEN}"

    def _pressed(self, act: Callable[[], str]) -> Callable[[object], None]:
        def press() -> None:
            try:
                words = act()
                self._said.value = f'<div class="lk-said" role="status">{esc(words)}</div>' if words else ""
            except LabkitError as error:
                self._said.value = replace(make_box(error), title=f"Nothing was adopted: {type(error).__name__}").html

        return self._turns.on_press(press)


def _nothing(state: State) -> str:
    """That no machine has asked, and where that is so since nobody listens, that too."""
    try:
        up = control.status(state) is not None
    except LabkitError:  # somebody else's, or one that is busy
        up = True
    return adoption.NONE if up else f"{adoption.NONE}{NOT_UP}"


class _Row:
    """One machine: what is known of it, its button, and in a real lab a field for what switches it."""

    def __init__(self, mac: str, *, is_real: bool, press: Callable[[object], None]) -> None:
        self.bmc = widgets.Text(description=f"BMC of {mac}")
        self.bmc.style.description_width = "initial"
        self.button = widgets.Button(description=f"Adopt {mac}")
        self.button.on_click(press)
        parts = [self.bmc, self.button] if is_real else [self.button]
        self._words, self._parts = widgets.HTML(), widgets.HBox(parts, layout={"flex_flow": "row wrap"})
        self.widget = widgets.VBox([self._words, self._parts])

    def say(self, html: str, *, is_new: bool, bmc: str) -> None:
        """Have these words, and the button if the machine is none of the lab's; ``bmc`` is what it told of its own."""
        self._words.value = html
        self.bmc.placeholder = f"{f'{bmc}, as it told, ' if bmc else 'its address, '}manual or wol"
        self._parts.layout.display = None if is_new else "none"
