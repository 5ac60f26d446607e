"""Choosing: a widget whose start is the notebook's parameter, so that headless and by hand are one path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from labkit.client import choose_blades as check_blades
from labkit.errors import ParameterError
from labkit.lab import Blade, Lab


class Choice:
    """What a person chose, or the parameter where nobody did. Later cells read `value`, which checks it anew."""

    def __init__(self, widget: Any, read: Any) -> None:
        self.widget = widget
        self._read = read

    @property
    def value(self) -> Any:
        """The present choice. Raises ParameterError when it cannot be."""
        return self._read(self.widget.value)


def choose(question: str, options: Sequence[str], *, default: str) -> Choice:
    """One of several. Raises ParameterError, listing them, when ``default`` is none of them."""
    if default not in options:
        raise ParameterError(f"{question}: no choice {default!r}", fix=f"one of {', '.join(options)}")
    widget = widgets.ToggleButtons(options=list(options), value=default, description=question)
    widget.style.description_width = "initial"
    display(widget)
    print(f"{question}: {default}")
    return Choice(widget, str)


def choose_blades(lab: Lab, *, default: Sequence[str] = ()) -> Choice:
    """Some of a lab's blades; all of them when ``default`` is empty. The choice's value is a tuple of blades.

    Raises ParameterError, listing the lab's blades, for a name that is none of them.
    """
    chosen = check_blades(lab, default)
    names = [blade.name for blade in lab.blades]
    buttons = [
        widgets.ToggleButton(
            value=blade in chosen,
            description=f"{blade.slot}: {blade.name}",
            tooltip=f"slot {blade.slot}, {blade.role}, {blade.macs[0]}",
            icon="server",
        )
        for blade in lab.blades
    ]
    box = widgets.HBox(buttons)
    display(box)
    print("blades: " + ", ".join(f"{blade.name} ({blade.role}, slot {blade.slot})" for blade in chosen))
    return _BladeChoice(box, buttons, names, lab)


class _BladeChoice(Choice):
    """Which slot buttons are pressed."""

    def __init__(self, box: Any, buttons: Sequence[Any], names: Sequence[str], lab: Lab) -> None:
        super().__init__(box, None)
        self._buttons, self._names, self._lab = buttons, names, lab

    @property
    def value(self) -> tuple[Blade, ...]:
        """The chosen blades, in the lab's order. Raises ParameterError when none is chosen."""
        pressed = [name for name, button in zip(self._names, self._buttons, strict=True) if button.value]
        if not pressed:
            raise ParameterError("no blade is chosen", fix="press at least one slot's button")
        return check_blades(self._lab, pressed)
