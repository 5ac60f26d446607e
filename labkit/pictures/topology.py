"""Who is in the swarm and what runs where: controller, managers, workers, services, replicas, links that answered."""

from __future__ import annotations

from labkit.lab import Lab, Role
from labkit.pictures.scene import Member, Scene, Serving
from labkit.pictures.svg import (
    AMBER,
    BLUE,
    BRIGHT,
    DIM,
    FAINT,
    GREEN,
    INK,
    LINE,
    PAPER,
    RED,
    Picture,
    circle,
    line,
    rect,
    shorten,
    text,
)  # fmt: skip

BOX_PX, GAP_PX, BOX_HIGH_PX, MOST_A_ROW = 124, 14, 62, 6
TOP_PX, CHIP_PX, ROLL_PX = 62, 18, 30
_SIGNS = {"ready": ("●", GREEN), "down": ("✕", RED)}


def draw_topology(lab: Lab, scene: Scene) -> Picture:
    """The controller above, the blades below it, replicas inside the blades; a green line is a port that answered.

    Once a roll was heard of, each blade has its version, and its turn in the roll; one under way has a thick edge.
    """
    a_row = min(MOST_A_ROW, max(3, len(lab.blades)))
    width = a_row * (BOX_PX + GAP_PX) - GAP_PX
    most = max((len(_chips(scene, blade.name)) for blade in lab.blades), default=0)
    high = BOX_HIGH_PX + (ROLL_PX if scene.roll.newest else 0) + most * (CHIP_PX + 3)
    middle = width / 2
    parts, boxes = [], []
    first = (width - (min(a_row, len(lab.blades)) * (BOX_PX + GAP_PX) - GAP_PX)) / 2  # a few blades stand in the middle
    for number, blade in enumerate(lab.blades):
        x, y = first + (number % a_row) * (BOX_PX + GAP_PX), TOP_PX + 40 + (number // a_row) * (high + 26)
        answered = sum(sum(s.answers.get(blade.name, {}).values()) for s in scene.services.values())
        member = scene.members.get(blade.name)
        parts.append(_link(middle, x + BOX_PX / 2, y, member, answered))
        boxes.append(_blade(lab, scene, blade.name, x, y, high))
    rows = -(-len(lab.blades) // a_row)
    parts.append(_controller(lab, scene, middle))
    height = TOP_PX + 40 + rows * (high + 26) - 10
    title = f"Topology of '{lab.name}'"
    return Picture(title, _text(lab, scene), width, height, "".join(parts + boxes))


def _controller(lab: Lab, scene: Scene, middle: float) -> str:
    services = ", ".join(scene.services) or "no service yet"
    words = f"{lab.network.controller} · {services if scene.swarm else _without(scene)}"
    if scene.roll.goes_on:
        words = str(scene.roll)
    return (
        rect(middle - 150, 2, 300, TOP_PX - 8, PAPER, edge=INK, radius=6)
        + text(middle, 24, "controller · manager", anchor="middle", bold=True)
        + text(middle, 42, shorten(words, 44), anchor="middle", size=11, fill=DIM)
    )


def _link(x1: float, x2: float, y: float, member: Member | None, answered: int) -> str:
    bend = TOP_PX + 16
    stroke, wide = (GREEN, 2.5) if answered else (LINE, 1.5)
    dashed = member is None or member.state != "ready"
    words = text(x2 + 5, y - 5, f"✓ {answered} answered", size=10, fill=DIM) if answered else ""
    return (
        line(x1, TOP_PX - 6, x1, bend, stroke=stroke, width=wide)
        + line(x1, bend, x2, bend, stroke=stroke, width=wide)
        + line(x2, bend, x2, y, stroke=stroke, width=wide, dashed=dashed)
        + words
    )


def _blade(lab: Lab, scene: Scene, name: str, x: float, y: float, high: float) -> str:
    blade, member = lab.blade(name), scene.members.get(name)
    state = _state(scene, name)
    sign, colour = _SIGNS.get(member.state if member else "", ("○", LINE))
    role = member.role if member else str(blade.role)
    parts = [
        rect(x, y, BOX_PX, high, PAPER, edge=INK, radius=5, tip=f"{name}: {role}, {state}{_turn(scene, name)}"),
        _frame(x, y, BOX_PX, high) if scene.roll.is_under_way(name) else "",
        rect(x, y, 5, high, RED if role == Role.MANAGER else BLUE, radius=2),
        circle(x + BOX_PX - 14, y + 15, 5, colour),
        text(x + BOX_PX - 14, y + 18, sign if sign == "✕" else "", anchor="middle", size=9, fill=BRIGHT),
        text(x + 12, y + 19, shorten(name, 13), bold=True),
        text(x + 12, y + 35, f"{role} · {state}", size=11, fill=DIM),
        text(x + 12, y + 50, blade.address, size=11, fill=DIM),
    ]
    below = y + BOX_HIGH_PX - 4
    if scene.roll.newest:
        sign = "✓ " if scene.roll.has_newest(name) else ""
        parts.append(text(x + 12, below + 8, f"{sign}{scene.roll.versions(name)}", size=10, mono=True))
        parts.append(text(x + 12, below + 22, shorten(scene.roll.turn(name), 18), size=11, fill=DIM))
        below += ROLL_PX
    for number, chip in enumerate(_chips(scene, name)):
        top = below + number * (CHIP_PX + 3)
        parts.append(rect(x + 11, top, BOX_PX - 20, CHIP_PX, FAINT, edge=LINE, radius=9))
        parts.append(text(x + 19, top + 13, f"■ {shorten(chip, 14)}", size=11))
    return "".join(parts)


def _frame(x: float, y: float, width: float, high: float) -> str:
    """A thick edge around a blade whose turn it is."""
    edges = (
        (x, y, x + width, y),
        (x, y + high, x + width, y + high),
        (x, y, x, y + high),
        (x + width, y, x + width, y + high),
    )
    return "".join(line(*edge, stroke=AMBER, width=3) for edge in edges)


def _turn(scene: Scene, name: str) -> str:
    """What the last roll told of a blade, to go on behind what else is said of it."""
    said = [words for words in (scene.roll.versions(name), scene.roll.turn(name)) if words]
    return f"; {', '.join(said)}" if said else ""


def _state(scene: Scene, name: str) -> str:
    member = scene.members.get(name)
    if member is None:
        return scene.stages.blade(name).stage
    return member.state + (", drained" if member.drained else "")


def _chips(scene: Scene, name: str) -> list[str]:
    return sorted(r for service in scene.services.values() for r, where in service.replicas.items() if where == name)


def _text(lab: Lab, scene: Scene) -> str:
    lines = [f"controller {lab.network.controller} (manager)" + ("" if scene.swarm else f", {_without(scene)}")]
    for blade in lab.blades:
        member = scene.members.get(blade.name)
        role = member.role if member else blade.role
        chips = _chips(scene, blade.name)
        lines.append(
            f"├─ {blade.name} {blade.address} ({role}, {_state(scene, blade.name)}{_turn(scene, blade.name)})"
            + (f": {', '.join(chips)}" if chips else "")
        )
    lines += [_service(service) for service in scene.services.values()]
    lines += [str(scene.roll)] if scene.roll.newest else []
    return "\n".join(lines)


def _service(service: Serving) -> str:
    asked = {blade: sum(counts.values()) for blade, counts in service.answers.items()}
    answered = ", ".join(f"{blade} ×{count}" for blade, count in asked.items())
    return f"service {service.name}: {len(service.replicas)} replicas" + (
        f"; answered through {answered}" if asked else ""
    )


def _without(scene: Scene) -> str:
    """What there is where no swarm is seen: none yet, or one that nobody can join."""
    return "no swarm yet" if scene.stages.silent is None else "its swarm lets nobody in"
