"""The protocols of the chapters as they were spoken in this very run, each a sequence diagram of events or answers.

PURE. Every event of a blade's boot carries the boot's identity; times are seconds since the first event told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labkit import events
from labkit.boot.artifacts.units import HELLO_UNIT, JOIN_UNIT, LEAVE_UNIT
from labkit.boot.systems import ARCHIVE, SYSTEMS
from labkit.events import Event
from labkit.events.amounts import size
from labkit.events.stages import step_of
from labkit.pictures.event_text import file_in_words
from labkit.pictures.sequence_diagram import Lifeline, Step, draw_steps
from labkit.pictures.svg import Picture

Said = tuple[str, str, str, bool]
"""From whom, to whom, the words, and whether they matter most."""
_WHO = {"pxe": "firmware", "ipxe": "iPXE", "http": "firmware", "os": "system"}
NOT_YET = "nothing was said yet"
MOST_FILES = 14


def draw_sequence(stream: Iterable[Event], blade: str, boot: str) -> Picture:
    """Chapter 1: blade, boot server and swarm, in one boot."""
    lifelines = {"blade": Lifeline(140, blade), "server": Lifeline(540, "boot server"), "desk": Lifeline(750, "swarm")}
    return draw_steps(f"What {blade} and the lab said to each other", lifelines, steps_of(stream, boot), NOT_YET)


def steps_of(stream: Iterable[Event], boot: str) -> list[Step]:
    """The steps of one boot. Downloads are one step each, told when they end; what repeats is told once."""
    mine = _of(stream, boot)
    return timed(mine, ((event.time, said) for event in mine for said in _boot(event)))


def _of(stream: Iterable[Event], boot: str) -> list[Event]:
    """The events of one boot; none without one."""
    return [event for event in stream if event.boot == boot and event.boot]


def timed(story: Iterable[Event], rows: Iterable[tuple[float, Said]]) -> list[Step]:
    """Rows as steps, each with the seconds since the story's first event; what somebody says twice is told once."""
    steps: list[Step] = []
    began = min((event.time for event in story), default=0.0)
    for at, (source, target, words, strong) in rows:
        if not steps or (steps[-1].words, steps[-1].source) != (words, source):
            steps.append(Step(f"{max(0.0, at - began):.1f} s", source, target, words, strong))
    return steps


def _boot(event: Event) -> Iterator[Said]:
    match event:
        case events.BootStarted():
            yield "blade", "blade", "power on", False
        case events.Dhcp(reply=""):
            yield "blade", "server", f"DHCP {event.message}: no answer", False
        case events.Dhcp():
            yield "blade", "server", f"DHCP {event.message} ({_WHO.get(event.client, 'blade')})", False
            file = f", boot {event.file.rsplit('/', 1)[-1]}" if event.file else ""
            yield "server", "blade", f"DHCP {event.reply}: you are {event.address}{file}", False
        case events.Transfer(state="done"):
            yield "server", "blade", _file(event), event.sent_b > 1_000_000
        case events.Transfer(state="missing"):
            yield "blade", "server", f"{event.protocol.upper()}: {event.path}? not there", False
        case events.Phoned(stage="os"):
            yield "blade", "server", "the system is up, and phones home", False
        case events.Ticket():
            yield "blade", "server", "here is my ticket: let me in", False
            yield "server", "desk", f"its ticket is {event.state}", False
        case events.Phoned(stage="joined"):
            yield "blade", "desk", "I am a node of the swarm", True
        case events.Leave(step="asked"):
            yield "blade", "desk", "I want to leave", False


def _file(event: events.Transfer) -> str:
    return f"{event.protocol.upper()}: {file_in_words(event.path)}, {size(event.sent_b)}"


# --- chapter 2 --------------------------------------------------------------------------------------------------------


def draw_config(stream: Iterable[Event], blade: str, boot: str, config: Mapping[str, Any]) -> Picture:
    """Chapter 2: how the config came to the blade, what Ignition wrote of it, and which units were heard of since.

    ``config`` is Ignition JSON; only its names and paths are read. Ignition writes all of it or stops the boot: a
    system that phones home has it all.
    """
    lifelines = {
        "server": Lifeline(140, "boot server"),
        "initrd": Lifeline(440, "loader, Ignition"),
        "system": Lifeline(740, "the system"),
    }
    mine = _of(stream, boot)
    rows = sorted(_config_rows(mine, config), key=lambda row: row[0])
    return draw_steps(f"What Ignition wrote on {blade}, and what came of it", lifelines, timed(mine, rows), NOT_YET)


def _config_rows(mine: Sequence[Event], config: Mapping[str, Any]) -> Iterator[tuple[float, Said]]:
    up = next((event for event in mine if isinstance(event, events.Phoned)), None)
    heard: set[str] = set()
    for event in mine:
        match event:
            case events.Transfer(state="done") if step_of(event.path) in ("kernel", "initrd"):
                yield event.time, ("server", "initrd", _file(event), "oem" in event.path)
            case events.Phoned(stage="os"):
                yield event.time, ("system", "server", f"{HELLO_UNIT}: the system is up", False)
                heard.add(HELLO_UNIT)
            case events.Ticket():
                yield event.time, ("system", "server", f"{JOIN_UNIT}: shows its ticket", False)
                heard.add(JOIN_UNIT)
            case events.Phoned(stage="joined"):
                yield event.time, ("system", "server", f"{JOIN_UNIT}: has joined", False)
            case events.Leave(step="asked"):
                yield event.time, ("system", "server", f"{LEAVE_UNIT}: wants to leave", False)
                heard.add(LEAVE_UNIT)
    if up is None:
        return
    start = up.time - max(up.uptime_s, 0.0)
    yield start + max(up.init_s, 0.0), ("initrd", "initrd", f"finds {_config_place(mine)} in memory", False)
    wrote = start + max(up.ignition_s, 0.0)
    yield from ((wrote, ("initrd", "system", words, False)) for words in _written(config))
    waits = [unit for unit in (JOIN_UNIT, LEAVE_UNIT) if unit not in heard and unit in _units(config)]
    last = max(event.time for event in mine)
    because = {JOIN_UNIT: "waits for a swarm", LEAVE_UNIT: "waits for the shutdown"}
    yield from ((last, ("system", "system", f"{unit} {because[unit]}", False)) for unit in waits)


def _config_place(mine: Sequence[Event]) -> str:
    """Where the system of a boot looks for its config, told by the folder that its archive came from."""
    places = {system.folder: system.config for system in SYSTEMS.values()}
    paths = [event.path for event in mine if isinstance(event, events.Transfer) and event.path.endswith(ARCHIVE)]
    return (places.get(paths[-1].split("/")[0]) if paths else None) or "its config"


def _units(config: Mapping[str, Any]) -> list[str]:
    return [str(unit["name"]) for unit in (config.get("systemd") or {}).get("units") or ()]


def _written(config: Mapping[str, Any]) -> list[str]:
    """What a config writes, a line each."""
    users = [f"user {user['name']}, who may log in" for user in (config.get("passwd") or {}).get("users") or ()]
    files = [str(file["path"]) for file in (config.get("storage") or {}).get("files") or ()]
    more = len(files) - MOST_FILES
    rest = [f"and {more} more files"] if more > 0 else []
    return [*users, *files[:MOST_FILES], *rest, *(f"unit {name}" for name in _units(config))]


# --- chapter 3 --------------------------------------------------------------------------------------------------------


def draw_join(stream: Iterable[Event], blade: str, boot: str) -> Picture:
    """Chapter 3: from the archive with the ticket to a Ready node, in one boot."""
    every = list(stream)
    lifelines = {
        "engine": Lifeline(140, "its engine"), "blade": Lifeline(310, blade), "lab": Lifeline(570, "the lab"),
        "swarm": Lifeline(755, "manager"),
    }  # fmt: skip
    nodes = {event.node for event in every if isinstance(event, events.Swarm) and event.boot == boot and event.node}
    mine = [event for event in every if (boot and event.boot == boot) or getattr(event, "node", "") in nodes]
    inside = next((event.seq for event in mine if isinstance(event, events.Swarm) and event.action == "joined"), None)
    rotated = [e for e in every if isinstance(e, events.Swarm) and e.action == "rotated" and inside and e.seq > inside]
    rows = [(event.time, said) for event in [*mine, *rotated[:1]] for said in _join(event)]
    return draw_steps(
        f"How {blade} joined the swarm", lifelines, timed(mine, sorted(rows, key=lambda row: row[0])), NOT_YET
    )


def _join(event: Event) -> Iterator[Said]:
    match event:
        case events.Dhcp(message="DISCOVER") if event.client != "os" and event.reply:
            yield "blade", "lab", "DHCP DISCOVER: who am I?", False
            yield "lab", "blade", f"you are {event.address}", False
        case events.Transfer(state="done") if "oem" in event.path:
            yield "lab", "blade", f"{event.protocol.upper()}: its archive, with a ticket", False
        case events.Phoned(stage="os"):
            yield "blade", "lab", "the system is up", False
        case events.Ticket(state="redeemed"):
            yield "blade", "lab", "here is my ticket: let me in", False
            yield "lab", "swarm", "today's token?", False
            yield "lab", "blade", "the join token, for its engine", True
            yield "blade", "engine", "join with this", False
        case events.Ticket():
            yield "blade", "lab", "here is my ticket: let me in", False
            yield "lab", "blade", f"{event.state}: {event.reason}", True
        case events.Swarm(action="joined"):
            yield "engine", "swarm", f"joins {event.detail.removesuffix(' at ')}", True
        case events.Phoned(stage="joined"):
            yield "blade", "lab", "joined; the ticket is spent", False
        case events.Swarm(action="ready"):
            yield "swarm", "swarm", "the node is Ready", False
        case events.Swarm(action="rotated"):
            yield "swarm", "swarm", "the join token is changed", False


# --- chapter 5 --------------------------------------------------------------------------------------------------------


def draw_absence(stream: Iterable[Event], blade: str) -> Picture:
    """Chapter 5: how a blade went the last time, in order or without a word, and what became of its tasks and of it."""
    lifelines = {
        "blade": Lifeline(140, blade), "lab": Lifeline(350, "the lab"), "swarm": Lifeline(540, "manager"),
        "others": Lifeline(745, "other blades"),
    }  # fmt: skip
    before, story = _absence(list(stream), blade)
    held = {replica for replica, where in _places(before).items() if where == blade}
    own = {event.node for event in story if isinstance(event, events.Swarm) and event.blade == blade and event.node}
    told = [event if getattr(event, "node", "") not in own else replace(event, blade=blade) for event in story]
    rows = [(event.time, said) for event in told for said in _gone(event, blade, held)]
    return draw_steps(f"How {blade} went and came back", lifelines, timed(story, rows), f"{blade} has not been away")


def _absence(every: list[Event], blade: str) -> tuple[list[Event], list[Event]]:
    """The events before and since a blade's last going away began: when its button was pressed, it asked to leave, or
    its power went."""
    went = [number for number, event in enumerate(every) if event.blade == blade and _goes(event)]
    ins = [n for n, e in enumerate(every) if e.blade == blade and isinstance(e, events.Phoned) and e.stage == "joined"]
    if not went or not ins or ins[0] > went[-1]:
        return every, []
    since = max(number for number in ins if number < went[-1])
    first = min(number for number in went if number > since)
    return every[:first], every[first:]


def _places(stream: Iterable[Event]) -> dict[str, str]:
    """Which replica ran where last, as far as it was told."""
    places: dict[str, str] = {}
    for event in stream:
        match event:
            case events.Service(action="running"):
                places[event.detail] = event.blade
            case events.Service(action="created" | "updated" | "removed"):
                places = {}
            case events.Leave(step="drained"):  # "moved: web.1 to blade3, web.2 to blade1"
                places |= re.findall(r"(\S+) to ([^\s,;]+)", event.detail)
    return places


def _goes(event: Event) -> bool:
    match event:
        case events.Power(state="off" | "soft-off") | events.Leave(step="asked"):
            return True
    return False


def _gone(event: Event, blade: str, held: set[str]) -> Iterator[Said]:
    if isinstance(event, events.Service) and event.action == "running" and event.detail in held:
        if event.blade != blade:
            held.discard(event.detail)
            yield "swarm", "others", f"{event.detail} runs on {event.blade}", True
        return
    if event.blade != blade:
        return
    match event:
        case events.Power(state="soft-off"):
            yield "blade", "blade", "the power button is pressed", False
        case events.Power(state="off"):
            yield "blade", "blade", f"off: {event.detail}" if event.detail else "off", False
        case events.Leave(step="asked"):
            yield "blade", "lab", "I want to leave", False
        case events.Swarm(action="drained"):
            yield "lab", "swarm", "drain its node", False
        case events.Leave(step="drained"):
            yield "swarm", "others", event.detail, True
            yield "lab", "blade", "nothing holds you: go", False
        case events.Leave(step="failed"):
            yield "lab", "blade", f"not in order: {event.detail}", True
        case events.Leave(step="left"):
            yield "blade", "swarm", "its engine leaves", False
        case events.Leave(step="removed"):
            yield "lab", "swarm", "take it off the list", False
        case events.Swarm(action="down"):
            yield "swarm", "swarm", "silence: three heartbeats missed, Down", True
        case events.Swarm(action="lost"):
            yield "lab", "swarm", "mark it as lost", False
        case events.BootStarted():
            yield "blade", "blade", "power on: a new boot", False
        case events.Phoned(stage="os"):
            yield "blade", "lab", "the system is up", False
        case events.Ticket():
            yield "blade", "lab", f"a new ticket: {event.state}", False
        case events.Swarm(action="joined"):
            yield "blade", "swarm", "joins, as a new node", True
        case events.Swarm(action="ghost-removed"):
            yield "lab", "swarm", "take its ghost off the list", False
        case events.Swarm(action="ready"):
            yield "swarm", "swarm", "Ready", False
