"""The boot timeline: stages over the seconds since power-on, all blades, with the usual time as a ghost behind."""

from __future__ import annotations

from collections.abc import Sequence

from labkit.pictures.scene import SETTLED, Scene
from labkit.pictures.svg import BRIGHT, CHAR_PX, DIM, FAINT, LINE, STAGE_COLOURS, Picture, line, rect, shorten, text
from labkit.stages import STAGES

LEFT_PX, BAR_PX, ROW_PX, HEAD_PX = 96, 560, 34, 22


def draw_timeline(names: Sequence[str], scene: Scene, now: float) -> Picture:
    """A row a blade, each stage as long as it took; the one under way grows until ``now``."""
    usual = scene.usual()
    bars = {name: _bars(name, scene, now) for name in names}
    ghost = [(stage, usual[stage]) for stage in STAGES if stage in usual]
    longest = max(30.0, sum(seconds for _, seconds in ghost), *(sum(s for _, s in bar) for bar in bars.values()), 0)
    scale = BAR_PX / (longest * 1.04)
    parts, lines = [_axis(longest, scale, len(names))], []
    for number, name in enumerate(names):
        y = HEAD_PX + number * ROW_PX
        stage = scene.stages.blade(name).stage
        parts.append(text(0, y + 19, shorten(name, 13), bold=True))
        parts.append(_draw(ghost, y, ROW_PX - 8, scale, f"usual of {name}", ghost=True))
        parts.append(_draw(bars[name], y + 5, ROW_PX - 18, scale, name))
        end = LEFT_PX + sum(seconds for _, seconds in bars[name]) * scale
        parts.append(text(max(end, LEFT_PX) + 6, y + 19, _end(name, scene), size=11, fill=DIM))
        took = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in bars[name])
        lines.append(f"{name:10} {took or stage}" + (f" → {_end(name, scene)}" if took else ""))
    if ghost:
        lines.append("usual      " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in ghost))
    parts.append(_legend(HEAD_PX + len(names) * ROW_PX + 16, bool(ghost)))
    height = HEAD_PX + len(names) * ROW_PX + 26
    return Picture(
        "Boot timeline, seconds since power-on", "\n".join(lines), LEFT_PX + BAR_PX + 100, height, "".join(parts)
    )


def _bars(name: str, scene: Scene, now: float) -> list[tuple[str, float]]:
    blade = scene.stages.blade(name)
    if blade.stage == "off":
        return []
    bars = list(blade.seconds().items())
    if blade.stage not in SETTLED and blade.began:
        bars.append((blade.stage, max(0.0, now - blade.began - sum(seconds for _, seconds in bars))))
    return bars


def _draw(
    bars: Sequence[tuple[str, float]], y: float, height: float, scale: float, who: str, ghost: bool = False
) -> str:
    parts, x = [], float(LEFT_PX)
    for stage, seconds in bars:
        width = seconds * scale
        tip = f"{who}: {stage} {seconds:.1f} s"
        if ghost:
            parts.append(rect(x, y, width, height, FAINT, edge=LINE, tip=tip))
        else:
            parts.append(rect(x, y, width, height, STAGE_COLOURS[stage], tip=tip, radius=2))
            if width > (len(stage) + 1) * CHAR_PX:
                parts.append(text(x + 5, y + height - 4, stage, fill=BRIGHT, size=11))
        x += width
    return "".join(parts)


def _end(name: str, scene: Scene) -> str:
    blade = scene.stages.blade(name)
    return f"joined after {blade.total_s:.0f} s" if blade.total_s else blade.stage


def _axis(longest: float, scale: float, rows: int) -> str:
    step = next(step for step in (5, 10, 15, 30, 60, 120, 300, 600, 3600) if longest / step <= 8 or step == 3600)
    parts = []
    for second in range(0, int(longest) + 1, step):
        x = LEFT_PX + second * scale
        parts.append(line(x, HEAD_PX - 4, x, HEAD_PX + rows * ROW_PX))
        parts.append(text(x, 12, f"{second} s", anchor="middle", size=11, fill=DIM))
    return "".join(parts)


def _legend(y: float, ghost: bool) -> str:
    parts, x = [], float(LEFT_PX)
    for stage, colour in STAGE_COLOURS.items():
        parts.append(rect(x, y - 9, 10, 10, colour, radius=2) + text(x + 14, y, stage, size=11, fill=DIM))
        x += 14 + len(stage) * CHAR_PX + 16
    if ghost:
        parts.append(rect(x, y - 9, 10, 10, FAINT, edge=LINE) + text(x + 14, y, "usual here", size=11, fill=DIM))
    return "".join(parts)
