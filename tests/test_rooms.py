"""Who may know whom: the pure rooms do no I/O, Ignition stands alone, widgets stay in their room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "labkit"
WORLD = {
    "aiohttp", "asyncio", "docker", "http", "multiprocessing", "pyghmi", "requests", "select", "selectors", "signal",
    "socket", "socketserver", "ssl", "subprocess", "tftpy", "threading", "time", "urllib.request",
}  # fmt: skip
"""Modules that reach out of the process, or wait."""

PURE = (
    "artifacts", "ignition", "netboot/dhcp.py", "netboot/decide.py", "netboot/tftp.py", "netboot/tftp_session.py",
    "netboot/http_select.py", "plan.py", "lab.py", "stages.py", "secret.py", "errors.py", "stuck.py", "causes.py",
    "pictures", "hints.py", "majority.py", "silences.py", "rehearse/firmware.py", "rehearse/scripts.py",
    "rehearse/checks.py",
    "doctor/facts.py", "doctor/firewall.py", "workbook/chapters.py", "workbook/compare.py", "workbook/page.py",
    "workbook/replay.py",
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
    for room in ("netboot", "chassis", "swarm"):
        for path in modules(room):
            assert not [name for name in imports(path) if is_of(name, {"labkit.ui", "labkit.workbook", "papermill"})]
