"""Views that are pure functions of events, redrawn in place."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from IPython.display import display

from labkit import stages
from labkit.lab import Blade, Lab

COLOURS = {"firmware": "#8d99ae", "loader": "#577590", "kernel": "#43aa8b", "ignition": "#f8961e", "join": "#f94144"}
ROW_PX, BAR_PX, LEFT_PX = 26, 520, 90


class BootView:
    """Each blade's boot as a bar of its stages. `show` redraws; in text it says only what has changed."""

    def __init__(self, blades: Sequence[Blade]) -> None:
        self._names = [blade.name for blade in blades]
        self._handle: Any = None
        self._told: dict[str, str] = {}

    def show(self, state: stages.LabState) -> None:
        """Draw a lab's state. Meant to be called again and again."""
        for name in self._names:
            now = state.blade(name)
            if self._told.get(name) != now.stage:
                self._told[name] = now.stage
                took = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in now.seconds().items())
                print(f"{name}: {now.stage}" + (f" ({took})" if took else ""))
        picture = {"text/html": draw_boots(self._names, state), "text/plain": "boot stages"}
        if self._handle is None:
            self._handle = display(picture, raw=True, display_id=True)
        else:
            self._handle.update(picture, raw=True)


def draw_boots(names: Sequence[str], state: stages.LabState) -> str:
    """An SVG of stages over seconds since power-on, one row a blade, in the page's own colours for text."""
    took = {name: state.blade(name).seconds() for name in names}
    longest = max([30.0, *(sum(seconds.values()) for seconds in took.values())])
    height = ROW_PX * (len(names) + 1)
    rows = []
    for number, name in enumerate(names):
        top = number * ROW_PX + 4
        rows.append(f'<text x="0" y="{top + 14}">{html.escape(name)}</text>')
        left = float(LEFT_PX)
        for stage, seconds in took[name].items():
            width = seconds / longest * BAR_PX
            rows.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="18" fill="{COLOURS[stage]}">'
                f"<title>{html.escape(name)}: {stage} {seconds:.1f} s</title></rect>"
            )
            left += width
        rows.append(f'<text x="{left + 6:.1f}" y="{top + 14}">{html.escape(state.blade(name).stage)}</text>')
    legend = "".join(
        f'<rect x="{LEFT_PX + 100 * i}" y="{height - 18}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{LEFT_PX + 100 * i + 16}" y="{height - 8}">{stage}</text>'
        for i, (stage, colour) in enumerate(COLOURS.items())
    )
    return (
        f'<svg viewBox="0 0 {LEFT_PX + BAR_PX + 90} {height}" role="img" style="max-width:100%;height:auto;'
        'font:12px var(--jp-ui-font-family,sans-serif);fill:var(--jp-ui-font-color1,currentColor)">'
        f"<title>boot stages of {html.escape(', '.join(names))}</title>{''.join(rows)}{legend}</svg>"
    )


def show_table(lab: Lab, state: stages.LabState, extra: Any = None) -> None:
    """The table of a run, in text."""
    print(stages.table(lab, state, extra))
