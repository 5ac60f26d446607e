"""What the prose points to is there: files, headings, cells' pages, and the commands it names."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from labkit.cli.commands import _parser
from tests.rig.known import HINTS

ROOT = Path(__file__).resolve().parents[1]
FIRST = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = [*FIRST, *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:\./lab|(?<![-\w/.])(?<!from )labkit) ([a-z][a-z-]*)")
FRONT_DOOR = {"docs", "help", "setup", "test", "workbook"}
"""Verbs of the script itself; the others are labkit's own."""
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)


@cache
def text_of(path: Path) -> str:
    """A page's prose; of a notebook its Markdown cells."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


@cache
def anchors(path: Path) -> frozenset[str]:
    """Where one can jump to. JupyterLab keeps a heading's letters and joins its words; GitHub also lowers them."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(path)), re.M)
    if path.suffix == ".ipynb":
        return frozenset(head.replace(" ", "-") for head in heads)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head) for head in heads)
    return frozenset(re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in plain)


def broken(page: Path, links: list[str]) -> Iterator[str]:
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(text_of(page)) if not re.match(r"[a-z]+://|mailto:", link)]
    assert list(broken(page, links)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_called_like_code_leads_to_that_code(page: Path) -> None:
    """``[`plan`](…/boot_plan.py)``: the file has a function, a class or a table of that name."""
    for name, link in re.findall(r"\[`(\w+)`\]\(([^)\s]+\.py)\)", text_of(page)):
        source = (page.parent / link).read_text()
        is_there = re.search(rf"^\s*(?:async )?(?:def|class) {name}\b|^{name}\b.* = |^{name} = ", source, re.M)
        assert is_there or Path(link).stem == name, f"{name} is not in {link}"


def test_every_hint_leads_somewhere() -> None:
    assert list(broken(ROOT / "notebooks" / "00-start.ipynb", [hint.link for hint in HINTS])) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_that_is_named_is_there(page: Path) -> None:
    named = set(re.findall(r"`((?:docs|examples|benchmarks|notebooks|labkit|tests)/[\w./-]+)`", text_of(page)))
    assert [name for name in named if not (ROOT / name).exists()] == []


@cache
def verbs() -> frozenset[str]:
    parser = _parser()
    [found] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return frozenset(found.choices)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_prose_is_one(page: Path) -> None:
    code = " ".join(re.findall(r"`[^`]+`", FENCE.sub(lambda block: f"`{block[0]}`".replace("```", ""), text_of(page))))
    assert set(COMMAND.findall(code)) <= verbs() | FRONT_DOOR


def test_every_command_of_a_hint_is_one() -> None:
    words = " ".join(f"{hint.why} {hint.do}" for hint in HINTS)
    assert set(re.findall(r"\./lab ([a-z-]+)", words)) <= verbs() | FRONT_DOOR
