"""Choosing a system to look at: what blades would boot with it, and what to write into ``lab.yaml`` so that they do.

Nothing is changed by it: what blades boot stands in ``lab.yaml``, which is a person's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ipywidgets as widgets

from labkit.errors import ParameterError
from labkit.lab import Blade, Flavour, Lab
from labkit.pictures.svg import esc
from labkit.ui.choosers import Said, keep_pressed, pressed_before, show_parts
from labkit.workbook.systems import Chosen


def choose_system(lab: Lab, blade: Blade, *, os: str = "", version: str = "") -> SystemChoice:
    """A system, with a release of it; what ``lab.yaml`` says where these are empty. The choice's value is a
    `labkit.workbook.systems.Chosen`. Its words are about ``blade``.

    In a notebook a cell that runs again keeps what was pressed, until it is given something else.
    Raises ParameterError for an ``os`` that is none.
    """
    if os and os not in list(Flavour):
        raise ParameterError(f"there is no system {os!r}", fix=f"one of {', '.join(Flavour)}")
    key = ("system", lab.path, blade.name, blade.os, os, version)
    before = pressed_before(key)
    if before is not None:
        os, version = before
    choice = SystemChoice(Chosen(lab, Flavour(os) if os else None, version), blade, key=key)
    choice.show()
    return choice


class SystemChoice:
    """A row of systems, and below it one of releases where there is more than one to choose from."""

    def __init__(self, chosen: Chosen, blade: Blade, *, key: tuple[object, ...] = ()) -> None:
        self.value, self._blade, self._key = chosen, blade, key
        words = {os.value: f"{os} (lab.yaml)" if os is blade.os else os.value for os in Flavour}
        self.systems = OneOf(words, chosen.blade(blade).os, self._press_system, what="the system to plan with")
        self._rows, self._said = widgets.VBox(), Said()
        self._offer_releases()
        self._say()

    @property
    def words(self) -> str:
        """What the choice means, in lines."""
        return "\n".join([self.value.describe(self._blade)[0], *self._how_to_boot()])

    def show(self) -> None:
        """Print what is chosen, and display the buttons."""
        one = self.value.blade(self._blade)
        plan = f"to plan with; lab.yaml says {_named(self._blade)}" if one != self._blade else "as lab.yaml says"
        print(f"system: {_named(one)}, {plan}")
        html = f'<p style="white-space:pre-wrap">{esc(self.words)}</p>'
        show_parts([self._rows, self._said.widget], {"text/html": html, "text/plain": self.words})

    def _offer_releases(self) -> None:
        """Buttons: what holds without a choice, the parameter's release, and those that are here."""
        one, rule = self.value.blade(self._blade), Chosen(self.value.lab, self.value.os).blade(self._blade).version
        there = (self.value.version, *self.value.releases(self._blade))
        others = {version: version for version in there if version and version != rule}
        words = {"": f"{rule} (lab.yaml)" if rule else "the release in use", **others}
        what = f"the release of {one.os}"
        chosen = self.value.version if self.value.version in others else ""
        self.releases = OneOf(words, chosen, self._press_release, what=what)
        self._rows.children = [self.systems.widget, *([self.releases.widget] if others else [])]

    def _press_system(self, name: str) -> None:
        self.value = Chosen(self.value.lab, Flavour(name))
        self._offer_releases()
        self._keep()

    def _press_release(self, version: str) -> None:
        self.value = Chosen(self.value.lab, self.value.os, version)
        self._keep()

    def _keep(self) -> None:
        keep_pressed(self._key, (self.value.os or "", self.value.version))
        self._say()

    def _how_to_boot(self) -> list[str]:
        lines = self.value.to_write(self._blade).splitlines()
        if not lines:
            return ["This is what lab.yaml says, and what boots."]
        gone = "".join(f", and take its {key} out" for key in self.value.to_take_out(self._blade))
        return [
            f"This is a plan: lab.yaml says {_named(self._blade)}, and that boots. To boot this, write there, at the"
            f" top for all blades or in the entry of one{gone}:",
            *(f"    {line}" for line in lines),
            "then ./lab down, and ./lab up.",
        ]

    def _say(self) -> None:
        self._said.say(self.words, warn=self.value.describe(self._blade)[1])


def _named(blade: Blade) -> str:
    return f"{blade.os} {blade.version}" if blade.version else blade.os.value


class OneOf:
    """Buttons of which one is pressed: what radio buttons do, without the arrow keys, which JupyterLab takes.

    ``words`` are those of each choice; ``pressed`` is told of a press. A button says in words whether it is the one.
    """

    def __init__(self, words: Mapping[str, str], chosen: str, pressed: Callable[[str], None], *, what: str) -> None:
        self._words, self._what, self._pressed, self._moving = words, what, pressed, False
        self.buttons = {name: widgets.ToggleButton() for name in words}
        for name, button in self.buttons.items():
            button.add_class("labkit-system")
            button.observe(self._press(name), names="value")
        self.widget = widgets.HBox(list(self.buttons.values()))
        self.widget.add_class("labkit-roles")
        self._choose(chosen)

    def _choose(self, chosen: str) -> None:
        self._moving = True
        for name, button in self.buttons.items():
            button.value = name == chosen
            button.description = f"{'●' if button.value else '○'} {self._words[name]}"
            button.tooltip = f"{self._what}: {self._words[name]}, {'chosen' if button.value else 'press to choose it'}"
        self._moving = False

    def _press(self, name: str) -> Callable[[object], None]:
        def press(change: object) -> None:
            if not self._moving:
                self._choose(name)
                self._pressed(name)

        return press
