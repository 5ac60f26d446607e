"""The notebooks as they lie in git, and what a person may give them."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit import ignition
from labkit.errors import ControlError, ParameterError
from labkit.images.releases.where import ANY_VERSION
from labkit.lab import Flavour
from labkit.lab.lab_yaml import load, parse
from labkit.servers.client import find_lab
from labkit.ui import choose_roles
from labkit.workbook import (
    BOOK,
    BRING_UP,
    CHAPTERS,
    check_parameters,
    find_file,
    folder_of,
    notebooks_folder,
    read_parameters,
)
from tests.rig.recorded import LAB

EVERY = [one.name for one in BOOK]
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
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


def test_every_name_that_a_cell_uses_is_there(tmp_path: Path) -> None:
    """What a cell imports, calls and asks for, as mypy sees it: a chapter is run whole only where there is time.

    Told apart from it is what a story may leave to whoever reads it: that a value is not None where it is used.
    """
    left_out = '# mypy: disable-error-code="arg-type, assignment, comparison-overlap, union-attr"'
    chapters = [tmp_path / f"chapter_{name.replace('-', '_')}.py" for name in EVERY]
    for name, path in zip(EVERY, chapters, strict=True):
        path.write_text("\n\n".join([left_out, *(source(cell) for cell in code(name))]) + "\n")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *chapters], cwd=FOLDER.parent, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("chapter", EVERY)
def test_every_parameter_has_its_type_and_its_words(chapter: str) -> None:
    (cell,) = (cell for cell in code(chapter) if "parameters" in cell["metadata"].get("tags", ()))
    assert cell == code(chapter)[0], "parameters come first"
    nodes = [node for node in ast.parse(source(cell)).body if isinstance(node, ast.AnnAssign)]
    lines = [line for line in source(cell).splitlines() if not line.startswith("#")]
    assert len(nodes) == len(lines), "a line each, as papermill reads them"
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
        ("replicas", "3", 'a whole number, not "3"'),
        ("replicas", True, "a whole number, not true"),
        ("replicas", 1.5, "a whole number, not 1.5"),
        ("blades", "blade1", 'a list, not "blade1"'),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(name: str, value: object, wanted: str) -> None:
    with pytest.raises(ParameterError, match=f"{name} of .* is {wanted}"):
        check_parameters(FOLDER, {name: value})


# --- each notebook looks at its own parameters ------------------------------------------------------------------------

OF_ANY: dict[str, list[object]] = {
    "int": ["abc", "8080", "", True, None, 1.5, float("nan"), float("inf"), [1], 0, -1, 10**400],
    "str": [5, None, True, ["a"]],
    "bool": ["True", "false", "yes", "", 1, 0, None],
    "list[str]": ["blade1", "blade1,blade2", "[blade1]", '["blade9"]', ["blade9"], [1], "[1]", None, 3, {"blade1": 1}],
}
"""What no parameter of that type may be, also as ``papermill -p`` passes it on."""
OF_ONE: dict[str, list[object]] = {
    "config": ["", "no-such-file.yaml", "/", "a\0b", "x" * 300, "~nobody-of-that-name/a.yaml"],
    "variant": ["", "debian", "Flatcar"],
    "os": ["debian", "Flatcar", "or empty", "labos, flatcar"],
    "version": ["latest", "../4593.2.5", "4593 2", "x" * 101, "4593.2.5"],
    "port": [99999, 65536, 22, 2377, 7946],
    "replicas": [101],
    "timeout_s": [9, 3601],
}


def wrong_values(chapter: str) -> Iterator[tuple[str, object]]:
    """Each parameter of a chapter with what it may not be."""
    for name, parameter in read_parameters(FOLDER, chapter).items():
        yield from ((name, value) for value in OF_ANY[parameter.kind] + OF_ONE.get(name, []))
    if chapter == "05-day-two":
        yield "blades", ["blade1"]


class Opened:
    """A chapter in a lab that nobody has brought up, its first cells run in this process."""

    def __init__(self, lab: Path, chapter: str) -> None:
        self.lab, self.chapter = lab, chapter
        self.parameters, self.second = code(chapter)[:2]

    def run(self, *given: str) -> dict[str, Any]:
        """Run them as papermill does: the parameters, those that were given, the cell after."""
        injected = ["# Parameters\n" + "".join(f"{line}\n" for line in given)] if given else []
        space: dict[str, Any] = {"In": ["", source(self.parameters), *injected]}
        for cell in [source(self.parameters), *injected, source(self.second)]:
            exec(cell, space)
        return space


@pytest.fixture(params=CHAPTERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}, {name: blade2}, {name: blade3}]\n")
    monkeypatch.setenv("LABKIT_LAB", str(tmp_path / "lab.yaml"))
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    monkeypatch.chdir("/")
    return Opened(tmp_path, request.param)


def test_each_chapter_takes_its_defaults_from_anywhere(opened: Opened) -> None:
    space = opened.run()
    assert [blade.name for blade in space["chosen"].value] == ["blade1", "blade2", "blade3"]
    if "config" in space:
        assert Path(space["config"]) == FOLDER / "article.yaml"


def test_each_chapter_refuses_at_its_second_cell_what_labkit_run_refuses(opened: Opened) -> None:
    """Each parameter with each wrong value, in the same words, and nothing is started."""
    tried = 0
    for name, value in wrong_values(opened.chapter):
        words = f"float('{value}')" if isinstance(value, float) else repr(value)
        with pytest.raises(ParameterError) as by_itself:
            opened.run(f"{name} = {words}")
        with pytest.raises(ParameterError) as by_run:
            check_parameters(FOLDER, {name: value}, load(opened.lab / "lab.yaml"), [opened.chapter])
        assert str(by_itself.value) == str(by_run.value)
        assert by_itself.value.fix
        tried += 1
    assert tried >= 20
    assert [path.name for path in opened.lab.iterdir()] == ["lab.yaml"]


def test_each_chapter_refuses_a_name_it_does_not_have(opened: Opened) -> None:
    with pytest.raises(ParameterError, match=f"{opened.chapter} has no parameter repliques") as caught:
        opened.run("timeout_s = 60", "repliques = 3")
    assert "timeout_s" in caught.value.fix


def test_what_is_given_as_text_counts_as_what_it_says(opened: Opened) -> None:
    space = opened.run(f"blades = {json.dumps(json.dumps(['blade3', 'blade1']))}", "timeout_s = 60")
    assert space["blades"] == ["blade3", "blade1"], "papermill -p passes a list on as text"
    assert [blade.name for blade in space["chosen"].value] == ["blade1", "blade3"]


def test_a_chapter_whose_parameters_have_not_run_says_so(opened: Opened) -> None:
    with pytest.raises(ParameterError, match="does not know its .*timeout_s") as caught:
        exec(source(opened.second), {})
    assert "run the cell above" in caught.value.fix


def test_a_name_that_is_no_list_is_told_how_to_be_one() -> None:
    with pytest.raises(ParameterError, match="blades of 01-pxe-setup is a list") as caught:
        check_parameters(FOLDER, {"blades": "blade1"}, LAB)
    assert caught.value.fix == 'a list, for example ["blade1"]; the lab\'s blades are blade1, blade2, blade3'


PLANNED = {"01-pxe-setup": ("14aa0102", "fadd58b9", "a90b5e37"),
           "02-ignition-authoring": ("14aa0202", "acc2da7b", "fbe6965f", "02a1c006")}  # fmt: skip
"""The cells that show what the chosen system brings."""


@pytest.mark.parametrize(("os", "version"), [*((os.value, "") for os in Flavour), ("flatcar", "4593.2.5")])
@pytest.mark.parametrize("chapter", PLANNED)
def test_a_system_is_planned_with_that_is_not_here_and_the_lab_stays_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    chapter: str,
    os: str,
    version: str,
) -> None:
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}]\n")
    monkeypatch.setenv("LABKIT_LAB", str(tmp_path / "lab.yaml"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    given = check_parameters(FOLDER, {"os": os, "version": version}, load(tmp_path / "lab.yaml"), [chapter])[chapter]
    space = {"ignition": ignition} | Opened(tmp_path, chapter).run(
        *(f"{name} = {value!r}" for name, value in given.items())
    )
    for cell in code(chapter):
        if cell["id"] in PLANNED[chapter]:
            exec(source(cell), space)
    assert space["plan"].os == os and space["plan"].release in (version, ANY_VERSION)
    assert f"{os}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["lab.yaml"]


def test_every_system_can_be_planned_with() -> None:
    for chapter in PLANNED:
        assert read_parameters(FOLDER, chapter)["os"].choices == (*Flavour, "")


def test_a_version_is_one_of_the_system_it_is_given_with() -> None:
    """Where none is named, it is the first blade's: of those that are named, else of those that take part."""
    own = f"{{name: a, os: custom, custom: {{kernel: {__file__}}}}}"
    lab = parse(f"blades: [{own}, {{name: b, os: flatcar}}, {{name: c}}]\n", Path("lab.yaml"))
    right: list[dict[str, Any]] = [{}, {"blades": ["b"]}, {"os": "fedora-coreos", "blades": ["c"]}]
    for given in right:
        whole = {"version": "4593.2.5", **given}
        assert check_parameters(FOLDER, whole, lab, ["01-pxe-setup"])["01-pxe-setup"] == whole
    wrong: dict[str, dict[str, Any]] = {
        "labos": {"blades": ["c"]}, "custom": {"blades": ["a"]}, "container-linux": {"os": "container-linux"},
    }  # fmt: skip
    for os, given in wrong.items():
        with pytest.raises(ParameterError, match=f"there are no releases of {os} to choose from") as caught:
            check_parameters(FOLDER, {"version": "4593.2.5", **given}, lab, ["01-pxe-setup"])
        assert caught.value.fix == "with os flatcar or fedora-coreos"
    assert check_parameters(FOLDER, {"version": "4593.2.5"}, None, ["01-pxe-setup"])


def test_only_the_chapters_that_run_are_asked_how_many_blades_they_need() -> None:
    assert check_parameters(FOLDER, {"blades": ["blade1"]}, LAB, BRING_UP)["01-pxe-setup"] == {"blades": ["blade1"]}
    with pytest.raises(ParameterError, match="blades of 05-day-two is blade1") as caught:
        check_parameters(FOLDER, {"blades": ["blade1"]}, LAB)
    assert caught.value.fix == "at least 2 of blade1, blade2, blade3"
    small = parse("blades: [{name: blade1}]\n", Path("lab.yaml"))
    with pytest.raises(ParameterError, match="blades of 05-day-two is blade1") as caught:
        check_parameters(FOLDER, {}, small)
    assert caught.value.fix == "a lab with 2 blades"


def test_who_is_left_out_cannot_manage() -> None:
    """Nor does it count as nobody: that would take the managers there are their office."""
    given = {"blades": ["blade1", "blade2"], "managers": ["blade2", "blade3"]}
    with pytest.raises(ParameterError, match="managers of 03-swarm-bootstrap has blade3, and blades has not") as caught:
        check_parameters(FOLDER, given, LAB)
    assert caught.value.fix == "some of blade1, blade2"
    with pytest.raises(ParameterError, match="blade3 cannot manage"):
        choose_roles(LAB, blades=LAB.blades[:2], default=["blade3"])
    assert check_parameters(FOLDER, {**given, "blades": []}, LAB)["03-swarm-bootstrap"]["managers"] == given["managers"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_found_here_or_beside_the_notebook_or_the_lab_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, notebooks = tmp_path / "here", tmp_path / "notebooks"
    for folder, names in ((here, ("a.yaml",)), (notebooks, ("a.yaml", "b.yaml"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("")
    (here / "b.yaml").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(notebooks))
    assert find_file("a.yaml", notebooks) == here / "a.yaml"
    assert find_file("b.yaml", notebooks) == notebooks / "b.yaml", "a folder is no file"
    assert find_file("b.yaml", here, notebooks) == notebooks / "b.yaml"
    assert find_file("~/b.yaml", here) == notebooks / "b.yaml"
    assert find_file(here / "a.yaml", notebooks) == here / "a.yaml"
    with pytest.raises(ParameterError) as caught:
        find_file("c.yaml", notebooks)
    assert caught.value.what == f"there is no file 'c.yaml': looked for {here / 'c.yaml'} and {notebooks / 'c.yaml'}"


def test_labkit_run_passes_a_file_on_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chapter's kernel is in the notebooks' folder, and who gave the path was in another."""
    (tmp_path / "mine.bu").write_text("")
    monkeypatch.chdir(tmp_path)
    given = check_parameters(FOLDER, {"config": "mine.bu"}, LAB)["02-ignition-authoring"]
    assert given == {"config": str(tmp_path / "mine.bu")}


def test_the_notebooks_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lab = tmp_path / "lab.yaml"
    assert notebooks_folder(lab) == folder_of("04-nginx-service", lab) == FOLDER
    (tmp_path / "notebooks").mkdir()
    assert notebooks_folder(lab) == FOLDER, "somebody else's notebooks"
    shutil.copytree(FOLDER, tmp_path / "notebooks", dirs_exist_ok=True)
    assert notebooks_folder(lab) == tmp_path / "notebooks"
    shutil.copy(FOLDER / "04-nginx-service.ipynb", tmp_path)
    assert folder_of("04-nginx-service", lab) == tmp_path
    assert folder_of("05-day-two", lab) == tmp_path / "notebooks"


def test_without_a_lab_file_the_way_is_one_that_papermill_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (None, ""):
        monkeypatch.delenv("LABKIT_LAB", raising=False)
        if value is not None:
            monkeypatch.setenv("LABKIT_LAB", value)
        with pytest.raises(ControlError) as caught:
            find_lab()
        assert caught.value.where == str(tmp_path)
        assert "LABKIT_LAB=" in caught.value.fix and "--lab" not in str(caught.value)
