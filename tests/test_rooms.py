"""The house: which room stands on which, what is pure, and how much a person sees at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "labkit"

ROOMS = {
    "cli": "``labkit VERB``: one module a group of verbs, each a thin command",
    "ui": "what notebooks show: choosers, live views, errors that teach; the only importer of ipywidgets",
    "workbook": "the chapters and their parameters, runs without a browser, and what is kept of a run",
    "servers": "what runs while a lab is up: the supervisor and its processes, up and down, and the client of it all",
    "pictures": "PURE: timelines, topologies and sequence diagrams as SVG, and the same in words",
    "diagnosis": "the doctor, the rehearsal of a boot, why a blade waits, known failures and what helps",
    "swarm": "who is in the swarm, the services on it, and the lab's registry",
    "netboot": "the boot server: DHCP, TFTP and HTTP; and a boot client of our own that asks as firmware does",
    "machines": "power of every kind, the virtual chassis, and this machine: its memory, its uplink, its sandboxes",
    "images": "building, fetching, keeping and checking what a lab boots and runs: the blade OS, releases, nginx, NFS",
    "boot": "PURE: the plan of a blade's boot, the tables of systems and loaders, and the bytes a blade may ask for",
    "events": "the types and the log of events, how far they say each blade is, and the deaths they tell of",
    "lab": "what a lab is: lab.yaml as values, the state folder and its secrets, and how its processes talk",
    "ignition": "Butane, Container Linux Config and Ignition; stands alone",
}
"""All rooms, from the roof to the ground: a room may import those below it, and no other. ``labkit.errors`` is the
ground that all stand on. `docs/architecture.md` shows this list."""

MOST_ROOMS = 5
HALLS = {"cli", "ui", "workbook", "servers"}
"""Rooms that bring others together, and may import more than `MOST_ROOMS` of them."""
MOST_ENTRIES, MOST_FILES = 14, 15
LOOSE = {"__init__.py", "__main__.py", "errors.py", "py.typed"}
"""What lies at the top of the package beside the rooms."""

WORLD = {
    "aiohttp", "asyncio", "docker", "http", "multiprocessing", "pyghmi", "requests", "select", "selectors", "signal",
    "socket", "socketserver", "ssl", "subprocess", "sushy", "tftpy", "threading", "time", "urllib.request",
}  # fmt: skip
"""Modules that reach out of the process, or wait."""

PURE = (
    "boot", "ignition", "pictures", "errors.py", "lab/bmc.py", "lab/changes.py", "lab/model.py", "lab/secret.py",
    "lab/lab_yaml/edit.py", "lab/lab_yaml/entry.py",
    "events/inventory.py", "events/kinds.py", "events/blade_kinds.py", "events/stages.py", "events/folding.py",
    "events/tables.py", "events/part_deaths.py", "events/unknown_machines.py",
    "netboot/dhcp/codec.py", "netboot/dhcp/decide.py", "netboot/tftp/codec.py", "netboot/tftp/session.py",
    "netboot/http/blade_inventory.py", "netboot/http/ranges.py", "netboot/http/smbios.py",
    "netboot/boot_client/firmware.py", "netboot/boot_client/scripts.py", "netboot/boot_client/checks.py",
    "images/releases/metadata.py", "images/releases/publishers.py",
    "diagnosis/causes.py", "diagnosis/circles.py", "diagnosis/hints.py", "diagnosis/stuck.py",
    "diagnosis/doctor/facts.py", "diagnosis/doctor/findings.py", "diagnosis/doctor/firewall.py",
    "diagnosis/doctor/network.py",
    "machines/host/unit.py", "machines/power/measured.py", "machines/power/readings.py",
    "machines/power/ways.py", "machines/virtual/redfish_answers.py", "servers/at_boot/waves.py",
    "swarm/membership/address_pool.py", "swarm/membership/adoption.py",
    "swarm/membership/local_state.py", "swarm/recovery/redeploy.py",
    "swarm/membership/majority.py", "swarm/roll", "swarm/observe/log_entries.py", "swarm/observe/numbers.py",
    "swarm/observe/usage.py", "swarm/stack/as_written.py", "swarm/stack/declared.py", "swarm/stack/explain.py",
    "swarm/stack/mounts.py", "swarm/stack/ports.py", "swarm/stack/there.py", "swarm/constraints.py",
    "servers/unresponsive.py",
    "workbook/chapters.py", "workbook/compare.py", "workbook/next_steps.py", "workbook/page.py", "workbook/replay.py",
)  # fmt: skip


def modules(room: str) -> list[Path]:
    place = PACKAGE / room
    found = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert found, f"there is no room {room}"
    return found


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module a file imports, with its full dotted name; ``from a import b`` gives ``a`` and ``a.b``."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    package = ["labkit", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def is_of(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def rooms_of(room: str) -> dict[str, str]:
    """The other rooms that a room imports, also those a function imports or only types need; with one who does."""
    found = {}
    for path in modules(room):
        for name in imports(path):
            other = name.split(".")[1] if name.startswith("labkit.") else ""
            if other in ROOMS and other != room:
                found[other] = str(path.relative_to(PACKAGE))
    return found


PAGE = PACKAGE.parent / "docs" / "architecture.md"
BEGIN, END = "<!-- the rooms: made by python -m tests.test_rooms -->\n", "<!-- end of the rooms -->"


def table() -> str:
    """The list as `docs/architecture.md` shows it."""
    rows = [
        f"| `{room}` | {words.replace('``', '`')} | {', '.join(sorted(rooms_of(room))) or '-'} |\n"
        for room, words in ROOMS.items()
    ]
    return "".join(["| room | what it is | imports |\n", "| --- | --- | --- |\n", *rows])


def test_the_page_shows_the_list() -> None:
    assert PAGE.read_text().partition(BEGIN)[2].partition(END)[0] == table()


def test_the_list_has_every_room() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert found == set(ROOMS) | LOOSE


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room: str) -> None:
    order = list(ROOMS)
    up = {other: who for other, who in rooms_of(room).items() if order.index(other) < order.index(room)}
    assert not up


@pytest.mark.parametrize("room", sorted(set(ROOMS) - HALLS))
def test_a_room_needs_few_others(room: str) -> None:
    assert len(rooms_of(room)) <= MOST_ROOMS, rooms_of(room)


def test_errors_need_nobody() -> None:
    assert not [name for name in imports(PACKAGE / "errors.py") if is_of(name, {"labkit"})]


def test_a_person_sees_few_things_at_once() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"} - LOOSE
    assert len(entries) <= MOST_ENTRIES
    for folder in (PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")):
        files = [path.name for path in folder.iterdir() if path.is_file()]
        assert len(files) <= MOST_FILES, folder


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_reach_for_nothing(room: str) -> None:
    for path in modules(room):
        assert not [name for name in imports(path) if is_of(name, WORLD)], path.name


def test_ignition_stands_alone() -> None:
    for path in modules("ignition"):
        foreign = [name for name in imports(path) if is_of(name, {"labkit"}) and not is_of(name, {"labkit.ignition"})]
        assert set(foreign) <= {"labkit"}, path.name


@pytest.mark.parametrize("library", ["ipywidgets", "IPython"])
def test_widgets_stay_in_their_room(library: str) -> None:
    users = [path for path in modules("") if any(is_of(name, {library}) for name in imports(path))]
    assert {path.relative_to(PACKAGE).parts[0] for path in users} == {"ui"}


def test_the_server_rooms_know_no_notebook() -> None:
    for room in ("netboot", "machines", "swarm"):
        for path in modules(room):
            assert not [name for name in imports(path) if is_of(name, {"labkit.ui", "labkit.workbook", "papermill"})]


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
