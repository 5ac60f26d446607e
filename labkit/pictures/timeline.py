"""The timeline of boots: a row a blade, its steps over the seconds since power-on, the usual times as a ghost behind.

`draw_timeline` makes an SVG that stands alone in a file and takes a notebook's colours where there are some;
`tell_timeline` says the same in text, and is the picture's description for those who cannot see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labkit.events.amounts import size
from labkit.events.stages import STAGES, STEPS, STEPS_OF, BladeState, Fetched, Step
from labkit.pictures.svg import esc

_STAGE_COLOURS = {
    "firmware": "#b3b9c4", "loader": "#7db8e8", "kernel": "#63c3a1", "ignition": "#f4b860", "system": "#f2e27a",
    "join": "#f08a6c",
}  # fmt: skip
_OF_STEPS = {step: _STAGE_COLOURS[stage] for stage, steps in STEPS_OF.items() for step in steps}
COLOURS: Mapping[str, str] = _STAGE_COLOURS | _OF_STEPS
"""A colour a stage, which its steps have too: all light enough for black words, told apart by their lightness too."""
STUCK_COLOUR = "#c1121f"

LEFT_PX, CHART_PX, RIGHT_PX = 96, 560, 150
ROW_PX, BAR_PX, GHOST_PX, AXIS_PX, LEGEND_PX = 34, 16, 26, 24, 24
LETTER_PX = 6.6
SHORTEST_AXIS_S = 10.0
TICKS = 8


def draw_timeline(boots: Sequence[BladeState], *, usual: Mapping[str, float] | None = None, now: float = 0.0) -> str:
    """An SVG of boots, in the order given. ``usual`` is seconds a step, drawn behind; ``now`` is wall-clock seconds.

    A step that goes on is drawn until ``now``, or until the blade was last heard where that is 0.
    """
    ghost = usual or {}
    longest = max([SHORTEST_AXIS_S, *(_length(boot, ghost, now) for boot in boots)])
    scale = CHART_PX / longest
    height = AXIS_PX + ROW_PX * len(boots) + LEGEND_PX
    rows = "".join(_row(boot, number, ghost, now, scale) for number, boot in enumerate(boots))
    names = ", ".join(boot.blade for boot in boots) or "no blade"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT_PX + CHART_PX + RIGHT_PX} {height}" role="img" '
        'style="max-width:100%;height:auto;font:12px var(--jp-ui-font-family,sans-serif);'
        'fill:var(--jp-ui-font-color1,currentColor)">'
        f"<title>Boot timeline of {esc(names)}</title>"
        f"<desc>{esc(tell_timeline(boots, usual=usual, now=now))}</desc>"
        f"{_axis(longest, scale, height)}{rows}{_legend(boots, height)}</svg>"
    )


def tell_timeline(boots: Sequence[BladeState], *, usual: Mapping[str, float] | None = None, now: float = 0.0) -> str:
    """The same in text: a paragraph a boot, a line a step."""
    return "\n\n".join(_tell(boot, usual or {}, now) for boot in boots) or "no boot has been seen"


def outcome(boot: BladeState) -> str:
    """How a boot stands: ``joined after 84.2 s``, ``stuck in dhcp``, ``in initrd``, ``off``, ``left``."""
    if boot.total_s:
        return f"joined after {boot.total_s:.1f} s" + ("" if boot.step == "joined" else f", now {boot.step}")
    if boot.step in ("off", "left", "joined"):
        return boot.step
    return f"{'stuck in' if is_stuck(boot) else 'in'} {boot.step}"


def is_stuck(boot: BladeState) -> bool:
    """Whether a boot stands in the step it was told to be stuck in."""
    return boot.stuck is not None and boot.stuck.step == boot.step


def fetched_words(fetched: Fetched) -> str:
    """``2 files, 93.9 MB at 28.9 MB/s``; empty where nothing was fetched."""
    if not fetched.files:
        return ""
    files = f"{fetched.files} file{'s' if fetched.files > 1 else ''}, {size(fetched.sent_b)}"
    return files + (f" at {size(fetched.rate_b_s)}/s" if fetched.rate_b_s else "")


def _end(boot: BladeState, step: Step, now: float) -> float:
    return step.ended or max(now, boot.heard, step.began)


def _length(boot: BladeState, usual: Mapping[str, float], now: float) -> float:
    steps = boot.steps()
    took = _end(boot, steps[-1], now) - boot.began if steps else 0.0
    return max(took, sum(seconds for _, seconds in _ghost_steps(boot, usual)))


def _ghost_steps(boot: BladeState, usual: Mapping[str, float]) -> list[tuple[str, float]]:
    """The usual times of the steps this boot has had and of those that may come."""
    had = [step.name for step in boot.steps()]
    last = STEPS.index(had[-1]) if had else -1
    return [
        (name, usual[name])
        for number, name in enumerate(STEPS)
        if name in usual and (name in had or (number > last and not boot.joined))
    ]


# --- the picture ------------------------------------------------------------------------------------------------------


def _row(boot: BladeState, number: int, usual: Mapping[str, float], now: float, scale: float) -> str:
    top = AXIS_PX + number * ROW_PX
    middle = top + ROW_PX / 2
    parts = [f'<text x="0" y="{middle + 4:.1f}" font-weight="bold">{esc(boot.blade)}</text>']
    left = float(LEFT_PX)
    for name, seconds in _ghost_steps(boot, usual):
        width = seconds * scale
        parts.append(
            f'<rect x="{left:.1f}" y="{middle - GHOST_PX / 2:.1f}" width="{width:.1f}" height="{GHOST_PX}" '
            f'fill="{COLOURS[name]}" fill-opacity="0.3"><title>{name} usually takes {seconds:.1f} s</title></rect>'
        )
        left += width
    right, spans = float(LEFT_PX), dict[str, tuple[float, float]]()
    for step in boot.steps():
        end = _end(boot, step, now)
        begin, right = (LEFT_PX + (moment - boot.began) * scale for moment in (step.began, end))
        sure = LEFT_PX + (_sure_end(boot, step, end) - boot.began) * scale
        if sure < right:
            parts.append(_unheard(sure, middle, right - sure))
        right = max(right, begin + 1)
        parts.append(_bar(boot, step, begin, middle, max(1.0, sure - begin), _step_words(step, end, usual)))
        stage = next(stage for stage, steps in STEPS_OF.items() if step.name in steps)
        spans[stage] = (spans.get(stage, (begin, 0))[0], max(sure, begin + 1))
    parts += [_label(stage, begin, end - begin, middle) for stage, (begin, end) in spans.items()]
    right = min(max(left, right), LEFT_PX + CHART_PX) + 6
    colour = f' fill="{STUCK_COLOUR}" font-weight="bold"' if is_stuck(boot) else ""
    return "".join(parts) + f'<text x="{right:.1f}" y="{middle + 4:.1f}"{colour}>{esc(outcome(boot))}</text>'


def _sure_end(boot: BladeState, step: Step, end: float) -> float:
    """Until when a step is known to have gone on. When its files have arrived a machine says nothing until its system
    is up, and tells only then where in between the stages ended: a bar that was drawn longer would go back.
    """
    if step.name not in ("kernel", "initrd") or boot.init or boot.fetching:
        return end
    return min(end, max(boot.got, step.began))


def _unheard(left: float, middle: float, width: float) -> str:
    words = "its files have arrived; it starts, and says nothing until its system is up"
    return (
        f'<path d="M {left:.1f} {middle - BAR_PX / 2:.1f} h {width:.1f} v {BAR_PX} h -{width:.1f}" fill="none" '
        f'stroke="currentColor" stroke-dasharray="3 2"><title>{words}</title></path>'
    )


def _bar(boot: BladeState, step: Step, left: float, middle: float, width: float, words: str) -> str:
    going = not step.ended
    edge = f' stroke="{STUCK_COLOUR if is_stuck(boot) else "currentColor"}" stroke-dasharray="3 2"' if going else ""
    return (
        f'<rect x="{left:.1f}" y="{middle - BAR_PX / 2:.1f}" width="{width:.1f}" height="{BAR_PX}" '
        f'fill="{COLOURS[step.name]}"{edge}><title>{esc(boot.blade)}: {esc(words)}</title></rect>'
    )


def _label(stage: str, left: float, width: float, middle: float) -> str:
    if width < len(stage) * LETTER_PX + 4:
        return ""
    return (
        f'<text x="{left + 3:.1f}" y="{middle + 4:.1f}" fill="#000" font-size="11" pointer-events="none">{stage}</text>'
    )


def _axis(longest: float, scale: float, height: int) -> str:
    every = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600, longest) if longest / step <= TICKS)
    lines = []
    for number in range(int(longest / every) + 1):
        x = LEFT_PX + number * every * scale
        lines.append(
            f'<line x1="{x:.1f}" y1="{AXIS_PX - 6}" x2="{x:.1f}" y2="{height - LEGEND_PX}" stroke="currentColor" '
            f'stroke-opacity="0.25"/><text x="{x:.1f}" y="12" text-anchor="middle">{number * every:g} s</text>'
        )
    return "".join(lines)


def _legend(boots: Sequence[BladeState], height: int) -> str:
    seen = {step.name for boot in boots for step in boot.steps()}
    parts, left = [], float(LEFT_PX)
    for name in STAGES:
        if seen.intersection(STEPS_OF[name]):
            parts.append(
                f'<rect x="{left:.1f}" y="{height - 16}" width="12" height="12" fill="{COLOURS[name]}"/>'
                f'<text x="{left + 16:.1f}" y="{height - 6}">{name}</text>'
            )
            left += 26 + len(name) * LETTER_PX
    return "".join(parts)


# --- the words --------------------------------------------------------------------------------------------------------


def _tell(boot: BladeState, usual: Mapping[str, float], now: float) -> str:
    lines = [f"{boot.blade}: {outcome(boot)}"]
    lines += [f"  {_step_words(step, _end(boot, step, now), usual)}" for step in boot.steps()]
    if is_stuck(boot) and boot.stuck is not None:
        lines.append(f"  {boot.stuck.what}")
    return "\n".join(lines)


def _step_words(step: Step, end: float, usual: Mapping[str, float]) -> str:
    words = f"{step.name:9}{max(0.0, end - step.began):7.1f} s{'' if step.ended else ' so far'}"
    if step.name in usual:
        words += f" (usually {usual[step.name]:.1f} s)"
    fetched = fetched_words(step.fetched)
    return words + (f": {fetched}" if fetched else "")
