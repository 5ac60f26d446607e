"""PURE: what was seen of a lab, as the parts of a page and in words. The pictures are those that notebooks show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from labkit.diagnosis.stuck import usual_times
from labkit.events import Event
from labkit.events.stages import STAGES, is_handed_over
from labkit.lab import Lab
from labkit.lab.plain_text import one_line
from labkit.machines.power import ways
from labkit.pictures.boot_board import draw_boots
from labkit.pictures.chassis import draw_chassis
from labkit.pictures.event_text import clock, in_words
from labkit.pictures.progress import draw_progress
from labkit.pictures.scene import Member, Scene, Serving
from labkit.pictures.svg import esc
from labkit.pictures.topology import draw_topology
from labkit.swarm.node import Node
from labkit.swarm.services.health import ServiceState
from labkit.workbook.next_steps import url
from labkit.workbook.page import figure

HEARD_LINES = 14
BUTTONS = {
    "on": ("On", "Switch {} on?"),
    "shutdown": ("Shut down", "Press the soft power button of {}, so that its system shuts down in order?"),
    "off": ("Off", "Cut the power of {} at once? What runs there ends without a word."),
    "reset": ("Reset", "Reset {} at once? What runs there ends without a word, and it boots anew."),
}
"""The buttons of a blade, by what `labkit.machines.power` calls them: what is on them, and what is asked before."""


@dataclass(frozen=True)
class Swarm:
    """What the engine said of nodes, services and the ports these have published; or ``why`` it said nothing."""

    nodes: tuple[Node, ...] = ()
    services: Mapping[str, ServiceState] = field(default_factory=dict)
    ports: Mapping[str, Sequence[int]] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Seen:
    """A lab at a moment: ``at``, wall-clock seconds, is when all this was true, 0 where nothing has happened yet.

    ``heard`` are the last events. ``trouble`` says why the lab could not be looked at.
    """

    lab: Lab
    scene: Scene = field(default_factory=Scene)
    heard: tuple[Event, ...] = ()
    up: bool = False
    at: float = 0.0
    trouble: str = ""
    swarm: Swarm = field(default_factory=Swarm)

    @property
    def names(self) -> list[str]:
        return [blade.name for blade in self.lab.blades]


def is_moving(lab: Lab, scene: Scene) -> bool:
    """Whether a blade is on its way, so that pictures change though nothing is heard."""
    found = ((blade, scene.stages.blade(blade.name)) for blade in lab.blades)
    return any(state.stage in STAGES and not is_handed_over(blade, state) for blade, state in found)


def with_swarm(scene: Scene, swarm: Swarm) -> Scene:
    """A scene with the members and replicas that the engine knows, in place of those that events told of."""
    if not swarm.nodes:
        return scene
    nodes = sorted(swarm.nodes, key=lambda node: node.created)  # of a blade that came again, the later
    members = {n.blade: Member(n.id, n.state, n.role, n.availability != "active") for n in nodes if n.blade}
    services = {
        name: replace(scene.services.get(name, Serving(name, "running")), replicas=state.places)
        for name, state in swarm.services.items()
    }
    return replace(scene, swarm=True, members=members, services=services)


def draw(seen: Seen) -> dict[str, str]:
    """The parts of the page by their names, as HTML. ``up`` is empty where the lab is not."""
    usual, scene = usual_times(seen.scene.past, seen.lab), with_swarm(seen.scene, seen.swarm)
    pictures = {
        "chassis": draw_chassis(seen.lab, scene.stages),
        "progress": draw_progress(seen.names, scene, usual, seen.at),
        "boots": draw_boots(seen.names, scene, usual, seen.at),
        "topology": draw_topology(seen.lab, scene),
    }
    return {
        "up": "yes" if seen.up else "",
        "state": esc(state_words(seen)),
        "power": "".join(_buttons(seen.lab)),
        "services": "".join(_services(seen)),
        "heard": "\n".join(map(esc, heard_words(seen))),
        **{name: figure(picture.title, picture.svg) for name, picture in pictures.items()},
    }


def tell(seen: Seen, *, rows: int = 0) -> list[str]:
    """The same as lines of text; with ``rows``, no more than fit, and as many events as there is room for."""
    scene = with_swarm(seen.scene, seen.swarm)
    progress = draw_progress(seen.names, scene, usual_times(scene.past, seen.lab), seen.at)
    services = [" ".join([words, *links]) for words, links in _serving(seen)]
    lines = [state_words(seen), "", progress.title, *progress.text.splitlines(), "", *services, "", "Heard last"]
    most = max(2, rows - len(lines)) if rows else HEARD_LINES
    lines += heard_words(seen, most)
    if rows and len(lines) > rows:
        lines[rows - 1 :] = [f"… {len(lines) - rows + 1} more lines: a taller window has them"]
    return lines


def state_words(seen: Seen) -> str:
    """Whether the lab is up, and if not, of when all else is."""
    name = f"lab '{seen.lab.name}'"
    if seen.up and not seen.trouble:
        dead = ", ".join(sorted(seen.scene.stages.dead))
        return f"{name} is up" + (f"; not running: {dead} (./lab status says more)" if dead else "")
    then = datetime.fromtimestamp(seen.at)
    since = f"; what follows is as of {then.day} {then:%B, %H:%M}" if seen.at else ""
    if seen.trouble:
        return f"{name} cannot be looked at: {one_line(seen.trouble)}{since}"
    return f"{name} is not up{since}. ./lab up starts it"


def heard_words(seen: Seen, most: int = HEARD_LINES) -> list[str]:
    """The last events, a line each."""
    said = [f"{clock(one.time)}  {one.blade or '-':10} {in_words(one)}" for one in seen.heard[-most:]]
    return said or ["nothing yet"]


def _serving(seen: Seen) -> list[tuple[str, list[str]]]:
    """Each service in words, with where its pages are; or why that is not known."""
    if not seen.up:
        return [("services: not known while the lab is down", [])]
    if seen.swarm.why:
        return [(f"services: not known: {one_line(seen.swarm.why)}", [])]
    if not seen.swarm.nodes:
        return [("services: not known yet", [])]
    ready = {node.blade for node in seen.swarm.nodes if node.ready}
    at = [blade.address for blade in seen.lab.blades if blade.name in ready][:1]  # every node has every published port
    return [
        (one_line(str(state)), [url(address, port) for address in at for port in seen.swarm.ports.get(name, ())])
        for name, state in sorted(seen.swarm.services.items())
    ] or [("services: none yet", [])]


def _services(seen: Seen) -> list[str]:
    return [
        f"<li>{esc(words)}"
        + "".join(f' <a href="{esc(link)}" target="_blank" rel="noopener noreferrer">{esc(link)}</a>' for link in links)
        + "</li>"
        for words, links in _serving(seen)
    ]


def _buttons(lab: Lab) -> list[str]:
    """A row of buttons a blade: those that its kind of power has."""
    rows = []
    for blade in lab.blades:
        name = esc(blade.name)
        its = [(state, *BUTTONS[state]) for state in BUTTONS if state in ways.able(blade.bmc)]
        buttons = "".join(
            f' <button type="button" data-blade="{name}" data-state="{state}" data-ask="{esc(ask.format(blade.name))}" '
            f'aria-label="{label} {name}">{label}</button>'
            for state, label, ask in its
        )
        rows.append(f"<div><b>{name}</b>{buttons}</div>")
    return rows
