"""The chassis as it looks: thin red slots side by side, each with its blade's name, role and state."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from labkit.events import NOT_MEASURED, Measured
from labkit.events.stages import LabState
from labkit.lab import Lab, Role
from labkit.pictures.svg import BRIGHT, DIM, FAINT, INK, LINE, PAPER, Picture, rect, shorten, text

SLOT_RED, SLOT_RED_OUT = "#a3242e", "#7a6a6c"
LEAST_SLOTS, SLOT_PX, GAP_PX, HIGH_PX, EDGE_PX = 10, 62, 5, 176, 10


def slots_of(lab: Lab) -> int:
    """How many slots are shown: those the chassis has, and never fewer than the ten of the red one."""
    return max(LEAST_SLOTS, lab.chassis.slots)


def draw_chassis(
    lab: Lab, state: LabState, *, chosen: Collection[str] | None = None, roles: Mapping[str, Role] | None = None
) -> Picture:
    """A front view. ``chosen`` blades are in full colour and have a tick; for None nobody chooses, and all are in full
    colour. ``roles`` overrides ``lab.yaml``'s.
    """
    by_slot = {blade.slot: blade for blade in lab.blades}
    count = slots_of(lab)
    width = count * (SLOT_PX + GAP_PX) - GAP_PX + 2 * EDGE_PX
    parts, lines = [rect(0.5, 0.5, width - 1, HIGH_PX - 1, FAINT, edge=INK, radius=6)], []
    for slot in range(1, count + 1):
        x = EDGE_PX + (slot - 1) * (SLOT_PX + GAP_PX)
        blade = by_slot.get(slot)
        if blade is None:
            parts.append(rect(x, EDGE_PX, SLOT_PX, HIGH_PX - 2 * EDGE_PX, PAPER, edge=LINE, dashed=True, radius=3))
            parts.append(text(x + SLOT_PX / 2, 28, slot, anchor="middle", size=11, fill=DIM))
            parts.append(text(x + SLOT_PX / 2, HIGH_PX / 2, "empty", anchor="middle", size=11, fill=DIM))
            continue
        role = (roles or {}).get(blade.name, blade.role)
        stage, mark, told = state.blade(blade.name).stage, "", ""
        if chosen is not None:
            mark, told = ("✓", ", chosen") if blade.name in chosen else ("–", ", left out")
        measured, made = state.blade(blade.name).measured, state.blade(blade.name).inventory
        warm = f", {measured}{', too hot' if measured.hot else ''}" if measured is not None and str(measured) else ""
        is_made = f"; {made.words}" if made is not None else ""
        lines.append(f"slot {slot}: {blade.name}, {role}, {stage}{warm}{told}{is_made}")
        parts.append(_slot(x, slot, blade.name, role, stage, mark, lines[-1], measured))
    empty = count - len(by_slot)
    lines += [f"{empty} slots are empty"] if empty else []
    return Picture(f"Chassis {lab.chassis.name}", "\n".join(lines), width, HIGH_PX, "".join(parts))


def _slot(
    x: float, slot: int, name: str, role: Role, stage: str, mark: str, tip: str, measured: Measured | None
) -> str:
    middle = x + SLOT_PX / 2
    fill = SLOT_RED_OUT if mark == "–" else SLOT_RED
    words = [(28, str(slot)), (48, "●" if stage not in ("off", "left") else "○")]
    words += [(HIGH_PX - 62, shorten(name, 9)), (HIGH_PX - 46, str(role)), (HIGH_PX - 30, stage)]
    words += [(72, mark)] if mark else []
    if measured is not None and measured.celsius != NOT_MEASURED:
        words.append((86, f"{'▲ ' if measured.hot else ''}{measured.celsius:.0f} °C"))
    if measured is not None and measured.watts != NOT_MEASURED:
        words.append((100, f"{measured.watts:.0f} W"))
    return rect(x, EDGE_PX, SLOT_PX, HIGH_PX - 2 * EDGE_PX, fill, edge=INK, radius=3, tip=tip) + "".join(
        text(middle, y, said, anchor="middle", size=11, fill=BRIGHT, bold=y == HIGH_PX - 62) for y, said in words
    )
