"""The notebooks as they lie in git, and what a person may give them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import ParameterError
from labkit.workbook import BOOK, CHAPTERS, check_parameters, read_parameters

EVERY = [one.name for one in BOOK]
FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
MOST_LINES = 12


def cells(chapter: str) -> list[dict[str, Any]]:
    book = json.loads((FOLDER / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    found = book["cells"]
    assert isinstance(found, list)
    return found


def code(chapter: str) -> list[dict[str, Any]]:
    return [cell for cell in cells(chapter) if cell["cell_type"] == "code"]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def test_the_book_is_all_there_is() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == [one.name for one in BOOK]


@pytest.mark.parametrize("chapter", EVERY)
def test_nothing_of_a_run_is_kept(chapter: str) -> None:
    for cell in code(chapter):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]
        assert cell["metadata"].keys() <= {"tags"}, cell["id"]


@pytest.mark.parametrize("chapter", EVERY)
def test_ids_are_stable(chapter: str) -> None:
    ids = [cell["id"] for cell in cells(chapter)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{8}", name) for name in ids)


@pytest.mark.parametrize("chapter", EVERY)
def test_cells_are_short_and_define_nothing(chapter: str) -> None:
    for cell in code(chapter):
        assert 1 <= len(source(cell).splitlines()) <= MOST_LINES, cell["id"]
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not [node for node in ast.walk(ast.parse(source(cell))) if isinstance(node, kinds)], cell["id"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_parameter_has_its_type_and_its_words(chapter: str) -> None:
    (cell,) = (cell for cell in code(chapter) if "parameters" in cell["metadata"].get("tags", ()))
    assert cell == code(chapter)[0], "parameters come first"
    nodes = [node for node in ast.parse(source(cell)).body if isinstance(node, ast.AnnAssign)]
    assert len(nodes) == len(source(cell).splitlines()), "a line each, as papermill reads them"
    for name, parameter in read_parameters(FOLDER, chapter).items():
        parameter.check(parameter.default, chapter, None)
        assert len(parameter.words) > 10, name


def test_each_chapter_gets_its_own_parameters() -> None:
    given = {"blades": ["blade1"], "replicas": 3, "timeout_s": 60}
    assert check_parameters(FOLDER, given) == {
        **{chapter: {"blades": ["blade1"], "timeout_s": 60} for chapter in CHAPTERS},
        "04-nginx-service": given,
    }


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(ParameterError, match="no chapter has a parameter blade, repliques") as caught:
        check_parameters(FOLDER, {"repliques": 3, "blade": "blade1", "blades": []})
    assert "replicas" in caught.value.fix and "timeout_s" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("replicas", "3", "int"),
        ("replicas", True, "int"),
        ("replicas", 1.5, "int"),
        ("blades", "blade1", r"list\[str\]"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(name: str, value: object, wanted: str) -> None:
    with pytest.raises(ParameterError, match=f"{name} of .* is a {wanted}, not"):
        check_parameters(FOLDER, {name: value})
