"""Choosing: a widget that starts at the notebook's parameter, so that headless and by hand are one path.

The chassis is a row of buttons, one a slot, which the tab key reaches and the space bar presses; what a button's colour
says, its words say too. Without a browser the parameter is the choice, and the cell prints it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
from IPython.core.getipython import get_ipython
from IPython.display import display

from labkit.errors import ParameterError
from labkit.events.stages import LabState
from labkit.lab import Blade, Lab, Role
from labkit.pictures import Picture
from labkit.pictures.chassis import draw_chassis, slots_of
from labkit.pictures.svg import as_of, esc
from labkit.servers.client import choose_blades as check_blades
from labkit.swarm.membership.majority import describe_managers
from labkit.ui.live_events import present_stages

_pressed: dict[tuple[object, ...], tuple[str, ...]] = {}
"""What was pressed in this kernel, by the chooser: which one it is, its lab file and what it was given.

JupyterLab takes a cell whose button was pressed for the one to run next, so whoever goes on from there runs it again.
The same goes for what was typed in an editor.
"""

WIDGET = "application/vnd.jupyter.widget-view+json"

STYLE = """<style>
.labkit-chassis { border: 1px solid var(--jp-border-color1); border-radius: 6px; padding: 8px; gap: 5px;
  background: var(--jp-layout-color2); max-width: 700px; flex-flow: row wrap; overflow: visible }
.labkit-slot, .labkit-empty { width: 62px; height: 158px; margin: 0; border-radius: 3px; font-size: 11px;
  line-height: 1.5; text-align: center; box-sizing: border-box }
.labkit-slot.jupyter-button { white-space: pre-line; overflow-wrap: anywhere; overflow: hidden; padding: 6px 1px;
  color: #fff; background: #6d5f61; border: 1px solid var(--jp-ui-font-color1); border-style: dashed }
.labkit-slot.jupyter-button.mod-active { background: #a3242e; border-style: solid; color: #fff }
.labkit-slot.jupyter-button:focus-visible { outline: 3px solid var(--jp-brand-color1); outline-offset: 2px }
.labkit-slot.jupyter-button:disabled { opacity: 1 }
.labkit-empty { border: 1px dashed var(--jp-border-color1); color: var(--jp-ui-font-color2); padding-top: 6px;
  background: var(--jp-layout-color1) }
.labkit-roles .jupyter-button { width: 190px; color: var(--jp-ui-font-color1); background: var(--jp-layout-color2);
  border: 1px solid var(--jp-border-color1) }
.labkit-roles .jupyter-button.mod-active { background: #a3242e; color: #fff }
.labkit-roles .jupyter-button:focus-visible { outline: 3px solid var(--jp-brand-color1); outline-offset: 2px }
.labkit-roles { gap: 4px 14px; flex-flow: row wrap; max-width: 700px }
.labkit-said { border-left: 4px solid var(--jp-border-color1); padding: 2px 10px; margin: 4px 0;
  color: var(--jp-ui-font-color1); line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere }
.labkit-said.labkit-warn { border-color: #b8730f }
</style>"""


def choose_blades(lab: Lab, *, default: Sequence[str] = ()) -> BladeChoice:
    """Some of a lab's blades; all that become nodes of its swarm when ``default`` is empty. The choice's value is a
    tuple of blades.

    In a notebook a cell that runs again keeps what was pressed, until ``default`` is another.
    Raises ParameterError, listing the lab's blades, for a name that is none of them.
    """
    chosen = check_blades(lab, default)
    if len(chosen) == len(lab.blades) and not default:
        chosen = tuple(blade for blade in chosen if blade.is_node) or chosen
    key = ("blades", lab.path, _names(lab), tuple(default))
    names = pressed_before(key) or tuple(blade.name for blade in chosen)
    choice = BladeChoice(lab, names, present_stages(lab), key=key)
    choice.show()
    return choice


def choose_roles(lab: Lab, *, blades: Sequence[Blade] = (), default: Sequence[str] = ()) -> RoleChoice:
    """Which blades are managers. ``default`` names them; where it is empty, each is what ``lab.yaml`` says.

    The choice's value is the role by blade name. The controller is a manager whatever is chosen, and counts. What was
    pressed is kept as by `choose_blades`.
    Raises ParameterError for a name that is no blade of the lab, or none of ``blades``.
    """
    chosen = tuple(blades) or lab.blades
    managers = [blade.name for blade in check_blades(lab, default)] if default else None
    key = ("roles", lab.path, _names(lab), tuple(default), *(blade.name for blade in chosen))
    outside = [name for name in managers or () if name not in {blade.name for blade in chosen}]
    if outside:
        what = f"{', '.join(outside)} cannot manage the swarm: left out above"
        raise ParameterError(what, fix=f"some of {', '.join(blade.name for blade in chosen)}")
    before = pressed_before(key)
    managers = managers if before is None else [*before]
    roles = {
        blade.name: blade.role if managers is None else Role.MANAGER if blade.name in managers else Role.WORKER
        for blade in chosen
    }
    choice = RoleChoice(lab, roles, said=managers is not None, key=key)
    choice.show()
    return choice


def pressed_before(key: tuple[object, ...]) -> tuple[str, ...] | None:
    """What was pressed in a chooser before; None where nobody has pressed."""
    return _pressed.get(key)


def _names(lab: Lab) -> tuple[str, ...]:
    return tuple(blade.name for blade in lab.blades)


def keep_pressed(key: tuple[object, ...], names: Sequence[str]) -> None:
    """Keep what is pressed in a chooser, where there is a notebook whose cell may run again."""
    if key and get_ipython() is not None:
        _pressed[key] = tuple(names)


class BladeChoice:
    """Which slot buttons are pressed: what a person chose, or the parameter where nobody did."""

    def __init__(self, lab: Lab, chosen: Sequence[str], state: LabState, *, key: tuple[object, ...] = ()) -> None:
        self._lab, self._state, self._seen, self._key = lab, state, time.time(), key
        self._buttons = {blade.name: self._button(blade, blade.name in chosen) for blade in lab.blades}
        self._said = Said()
        for name, button in self._buttons.items():
            button.observe(self._changed(name), names="value")
        self._say()

    @property
    def value(self) -> tuple[Blade, ...]:
        """The chosen blades, in the lab's order. Raises ParameterError when none is chosen."""
        pressed = self._pressed
        if not pressed:
            raise ParameterError("no blade is chosen", fix="press at least one slot's button")
        return check_blades(self._lab, pressed)

    def picture(self) -> Picture:
        """The choice as it is now, for a page without widgets."""
        return draw_chassis(self._lab, self._state, chosen=self._pressed).dated(self._seen)

    def show(self) -> None:
        """Print what is chosen, and display the chassis."""
        slots: list[widgets.Widget] = []
        by_slot = {blade.slot: blade for blade in self._lab.blades}
        for slot in range(1, slots_of(self._lab) + 1):
            slots.append(self._buttons[by_slot[slot].name] if slot in by_slot else _empty(slot))
        row = widgets.HBox(slots)
        row.add_class("labkit-chassis")
        # Printed once, so it stands above: below, where one looks after a press, is what follows the choice.
        print("blades: " + ", ".join(f"{blade.name} ({blade.role}, slot {blade.slot})" for blade in self.value))
        show_parts([row, self._said.widget], self.picture().mimebundle)

    @property
    def _pressed(self) -> list[str]:
        return [name for name, button in self._buttons.items() if button.value]

    def _button(self, blade: Blade, pressed: bool) -> widgets.ToggleButton:
        button = widgets.ToggleButton(value=pressed, description=self._words(blade, pressed))
        button.tooltip = self._tip(blade, pressed)
        button.add_class("labkit-slot")
        return button

    def _words(self, blade: Blade, pressed: bool) -> str:
        stage = self._state.blade(blade.name).stage
        lamp = "○" if stage in ("off", "left") else "●"
        return f"{blade.slot}\n{lamp}\n{'✓ chosen' if pressed else 'left out'}\n\n{blade.name}\n{blade.role}\n{stage}"

    def _tip(self, blade: Blade, pressed: bool) -> str:
        press = "chosen, press to leave it out" if pressed else "left out, press to choose it"
        return f"Slot {blade.slot}: {blade.name}, {blade.macs[0]}: {press}"

    def _changed(self, name: str) -> Callable[[object], None]:
        blade, button = self._lab.blade(name), self._buttons[name]

        def say(change: object) -> None:
            button.description, button.tooltip = self._words(blade, button.value), self._tip(blade, button.value)
            keep_pressed(self._key, self._pressed)
            self._say()

        return say

    def _say(self) -> None:
        pressed = self._pressed
        words = f"Chosen: {', '.join(pressed)}." if pressed else "No blade is chosen: press at least one slot."
        words += f" Lamps and stages are {as_of(self._seen)}."
        self._said.say(words, warn=not pressed)


class RoleChoice:
    """A button a blade, pressed for a manager, and what as many managers survive, said at once.

    Buttons, because JupyterLab takes the arrow keys that a list would need for moving between cells.
    """

    def __init__(self, lab: Lab, roles: Mapping[str, Role], *, said: bool, key: tuple[object, ...] = ()) -> None:
        self._lab, self._chosen, self._key = lab, said, key
        self._buttons = {name: self._button(name, role) for name, role in roles.items()}
        self._said = Said()
        for name, button in self._buttons.items():
            button.observe(self._changed(name), names="value")
        self._say()

    @property
    def value(self) -> dict[str, Role]:
        """The role of each blade, by name."""
        return {name: Role.MANAGER if one.value else Role.WORKER for name, one in self._buttons.items()}

    @property
    def managers(self) -> tuple[str, ...]:
        """The blades that shall be managers, in the lab's order."""
        return tuple(name for name, role in self.value.items() if role is Role.MANAGER)

    @property
    def wanted(self) -> tuple[str, ...] | None:
        """`managers`, or None where neither the parameter nor a person has said anything: then nothing is to change."""
        return self.managers if self._chosen else None

    @property
    def verdict(self) -> str:
        """What the chosen managers survive, the controller among them."""
        return describe_managers(["the controller", *self.managers], diskless=self.managers)[0]

    def picture(self) -> Picture:
        """The choice as it is now, for a page without widgets."""
        stages = present_stages(self._lab)
        return draw_chassis(self._lab, stages, chosen=list(self._buttons), roles=self.value).dated(time.time())

    def show(self) -> None:
        """Print what is chosen, and display the buttons."""
        row = widgets.HBox(list(self._buttons.values()))
        row.add_class("labkit-roles")
        print("roles: " + ", ".join(f"{name} {role}" for name, role in self.value.items()))
        print(self.verdict)
        show_parts([row, self._said.widget], self.picture().mimebundle)

    def _button(self, name: str, role: Role) -> widgets.ToggleButton:
        button = widgets.ToggleButton(value=role is Role.MANAGER, description=_role_words(name, role))
        button.tooltip = f"{name}: press to make it a manager, or a worker again"
        button.add_class("labkit-role")
        return button

    def _changed(self, name: str) -> Callable[[object], None]:
        def say(change: object) -> None:
            self._chosen = True
            self._buttons[name].description = _role_words(name, self.value[name])
            keep_pressed(self._key, self.managers)
            self._say()

        return say

    def _say(self) -> None:
        words, warn = describe_managers(["the controller", *self.managers], diskless=self.managers)
        self._said.say(words, warn=warn)


def _role_words(name: str, role: Role) -> str:
    return f"{name}: {'★ manager' if role is Role.MANAGER else 'worker'}"


class Said:
    """A line under a chooser that says what the choice means; screen readers read it out when it changes."""

    def __init__(self) -> None:
        self.widget = widgets.HTML()

    def say(self, words: str, *, warn: bool = False) -> None:
        mark, sign = (" labkit-warn", "⚠ ") if warn else ("", "")
        self.widget.value = f'<div class="labkit-said{mark}" role="status">{sign}{esc(words)}</div>'


def _empty(slot: int) -> widgets.HTML:
    empty = widgets.HTML(f"{slot}<br><br>empty")
    empty.add_class("labkit-empty")
    return empty


def show_parts(parts: Sequence[widgets.Widget], twin: Mapping[str, str]) -> None:
    """Display widgets, with their twin (HTML and words by MIME type) for pages that have none."""
    box = widgets.VBox([widgets.HTML(STYLE), *parts])
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    display({WIDGET: view, **twin}, raw=True)
