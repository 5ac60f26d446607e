"""Choosing: a widget whose start is the notebook's parameter, so that headless and by hand are one path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
from IPython.display import display

from labkit.client import choose_blades as check_blades
from labkit.errors import ParameterError
from labkit.lab import Blade, Lab


def choose_blades(lab: Lab, *, default: Sequence[str] = ()) -> BladeChoice:
    """Some of a lab's blades; all of them when ``default`` is empty. The choice's value is a tuple of blades.

    Raises ParameterError, listing the lab's blades, for a name that is none of them.
    """
    chosen = check_blades(lab, default)
    buttons = {
        blade.name: widgets.ToggleButton(
            value=blade in chosen,
            description=f"{blade.slot}: {blade.name}",
            tooltip=f"slot {blade.slot}, {blade.role}, {blade.macs[0]}",
            icon="server",
        )
        for blade in lab.blades
    }
    display(widgets.HBox(list(buttons.values())))
    print("blades: " + ", ".join(f"{blade.name} ({blade.role}, slot {blade.slot})" for blade in chosen))
    return BladeChoice(lab, buttons)


class BladeChoice:
    """Which slot buttons are pressed: what a person chose, or the parameter where nobody did."""

    def __init__(self, lab: Lab, buttons: Mapping[str, widgets.ToggleButton]) -> None:
        self._lab, self._buttons = lab, buttons

    @property
    def value(self) -> tuple[Blade, ...]:
        """The chosen blades, in the lab's order. Raises ParameterError when none is chosen."""
        pressed = [name for name, button in self._buttons.items() if button.value]
        if not pressed:
            raise ParameterError("no blade is chosen", fix="press at least one slot's button")
        return check_blades(self._lab, pressed)
