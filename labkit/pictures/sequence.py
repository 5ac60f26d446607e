"""The protocol as it was spoken: a sequence diagram of one boot, drawn from its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labkit import events
from labkit.events import Event
from labkit.pictures.svg import DIM, FAINT, INK, PAPER, Picture, arrow, line, rect, shorten, text
from labkit.pictures.timeline import size
from labkit.pictures.words import file_in_words

BLADE_X, SERVER_X, DESK_X, WIDTH_PX, ROW_PX, HEAD_PX = 190, 520, 660, 720, 30, 40
SLOTS = {"blade": BLADE_X, "server": SERVER_X, "desk": DESK_X}


@dataclass(frozen=True)
class Step:
    """One arrow, or a note where both ends are the same: ``at_s`` is seconds since the boot began."""

    at_s: float
    source: str
    target: str
    words: str
    strong: bool = False


def steps_of(stream: Iterable[Event], boot: str) -> list[Step]:
    """The steps of one boot. Downloads are one step each, told when they end; what repeats is told once."""
    mine = [event for event in stream if event.boot == boot and event.boot]
    if not mine:
        return []
    began = min(event.time for event in mine)
    steps: list[Step] = []
    for event in mine:
        for source, target, words, strong in _arrows(event):
            step = Step(event.time - began, source, target, words, strong)
            if not steps or (steps[-1].words, steps[-1].source) != (words, source):
                steps.append(step)
    return steps


def _arrows(event: Event) -> Iterable[tuple[str, str, str, bool]]:
    match event:
        case events.Dhcp(reply=""):
            yield "blade", "server", f"DHCP {event.message}: no answer", False
        case events.Dhcp():
            who = {"pxe": "firmware", "ipxe": "iPXE", "http": "firmware", "os": "system"}.get(event.client, "blade")
            yield "blade", "server", f"DHCP {event.message} ({who})", False
            file = f", boot {event.file.rsplit('/', 1)[-1]}" if event.file else ""
            yield "server", "blade", f"DHCP {event.reply}: you are {event.address}{file}", False
        case events.Transfer(state="done"):
            what = file_in_words(event.path)
            yield "server", "blade", f"{event.protocol.upper()}: {what}, {size(event.sent_b)}", event.sent_b > 1_000_000
        case events.Transfer(state="missing"):
            yield "blade", "server", f"{event.protocol.upper()}: {shorten(event.path, 24)}? not there", False
        case events.Phoned(stage="os"):
            yield "blade", "server", "the system is up, and phones home", False
        case events.Ticket():
            yield "blade", "server", "here is my ticket: let me in", False
            yield "server", "desk", f"ticket {event.state}", False
        case events.Phoned(stage="joined"):
            yield "blade", "desk", "I am a node of the swarm", True
        case events.Leave(step="asked"):
            yield "blade", "desk", "I want to leave", False


def draw_sequence(stream: Iterable[Event], blade: str, boot: str) -> Picture:
    """Blade, boot server and swarm, and what passed between them, downwards in time."""
    steps = steps_of(stream, boot)
    height = HEAD_PX + max(1, len(steps)) * ROW_PX + 12
    names = ((BLADE_X, blade), (SERVER_X, "boot server"), (DESK_X, "swarm"))
    parts = [line(x, HEAD_PX - 8, x, height - 6, dashed=True) for x, _ in names]
    parts += [rect(x - 52, 2, 104, 26, PAPER, edge=INK, radius=5) for x, _ in names]
    parts += [text(x, 20, shorten(name, 14), anchor="middle", bold=True) for x, name in names]
    lines = []
    for number, step in enumerate(steps):
        parts.append(_draw(step, HEAD_PX + number * ROW_PX + 22))
        lines.append(f"{step.at_s:6.1f} s  {step.source:6} → {step.target:6}  {step.words}")
    return Picture(f"What {blade} and the lab said to each other", "\n".join(lines), WIDTH_PX, height, "".join(parts))


def _draw(step: Step, y: float) -> str:
    x1, x2 = SLOTS[step.source], SLOTS[step.target]
    back = rect(min(x1, x2) + 6, y - 19, abs(x2 - x1) - 12, 22, FAINT, radius=3) if step.strong else ""
    return (
        text(BLADE_X - 62, y, f"{step.at_s:.1f} s", anchor="end", size=11, fill=DIM)
        + back
        + arrow(x1, x2, y, stroke=INK if step.strong else DIM)
        + text(min(x1, x2) + 12, y - 5, shorten(step.words, 50 if abs(x2 - x1) > 200 else 20), size=11)
    )
