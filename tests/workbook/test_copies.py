"""The copies that ``./lab workbook`` opens: what a person wrote stays, what he did not is renewed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labkit.cli import commands
from labkit.errors import ParameterError
from labkit.lab.state import State
from labkit.workbook import BOOK
from labkit.workbook.copies import Copies, make_copies, own_notebooks

SHIPPED = Path(__file__).resolve().parents[2] / "notebooks"
TWO = "02-ignition-authoring.ipynb"
Change = Callable[[dict[str, Any]], Any]


class Place:
    """A clone's folder with a lab file and the notebooks."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, State(folder / ".lab")
        self.originals, self.copies = folder / "notebooks", folder / ".lab" / "workbook"
        (folder / "lab.yaml").write_text("blades: [{name: blade1}]\n")
        shutil.copytree(SHIPPED, self.originals)

    def make(self, *reset: str) -> Copies:
        return make_copies(self.folder / "lab.yaml", self.state, reset=reset)


def write(path: Path, change: Change) -> None:
    book = json.loads(path.read_text())
    change(book)
    path.write_text(json.dumps(book))


def type_in(words: str) -> Change:
    return lambda book: book["cells"][0].update(source=words)


def run_it(book: dict[str, Any]) -> None:
    cell = next(cell for cell in book["cells"] if cell["cell_type"] == "code")
    cell.update(execution_count=1, outputs=[{"output_type": "stream", "name": "stdout", "text": "well"}])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    assert place.make() == Copies(place.copies)
    return place


def test_all_that_lies_beside_the_notebooks_is_there_too(place: Place) -> None:
    there = {path.name for path in place.copies.iterdir() if not path.name.startswith(".")}
    assert there == {path.name for path in SHIPPED.iterdir() if not path.name.startswith(".")}
    assert {one.file for one in BOOK} < there
    assert (place.copies / TWO).read_bytes() == (SHIPPED / TWO).read_bytes()


def test_what_is_saved_there_changes_no_original(place: Place) -> None:
    write(place.copies / TWO, type_in("mine"))
    mine = (place.copies / TWO).read_bytes()
    assert place.make() == Copies(place.copies), "its original is as it was: there is nothing to say"
    assert (place.copies / TWO).read_bytes() == mine
    assert (place.originals / TWO).read_bytes() == (SHIPPED / TWO).read_bytes()
    assert own_notebooks(place.state) == (TWO,)


def test_a_new_original_renews_a_copy_that_has_only_run(place: Place) -> None:
    write(place.copies / TWO, run_it)
    assert own_notebooks(place.state) == ()
    ran = (place.copies / TWO).read_bytes()
    place.make()
    assert (place.copies / TWO).read_bytes() == ran, "its outputs stay as long as its original does"
    write(place.originals / TWO, type_in("new"))
    done = place.make()
    assert (done.renewed, done.kept) == ((TWO,), ()) and TWO in done.told()
    assert (place.copies / TWO).read_bytes() == (place.originals / TWO).read_bytes()
    assert place.make().told() == ""


def test_a_new_original_never_replaces_what_a_person_wrote(place: Place) -> None:
    write(place.copies / TWO, type_in("mine"))
    (place.copies / "article.yaml").write_text("mine: {}\n")
    (place.copies / "05-day-two.ipynb").write_text("broken")
    for name in (TWO, "05-day-two.ipynb"):
        write(place.originals / name, type_in("new"))
    (place.originals / "article.yaml").write_text("new: {}\n")
    for _ in range(2):
        done = place.make()
        assert (done.kept, done.renewed) == ((TWO, "05-day-two.ipynb", "article.yaml"), ())
    assert "./lab workbook --reset 02 takes" in done.told() and "--reset all takes" in done.told()
    assert (place.copies / "article.yaml").read_text() == "mine: {}\n"


def test_a_reset_makes_it_anew_and_keeps_the_old_one_beside_it(place: Place) -> None:
    for words in ("first", "second"):
        write(place.copies / TWO, type_in(words))
        write(place.copies / "05-day-two.ipynb", type_in("stays"))
        done = place.make("2")
        assert (place.copies / TWO).read_bytes() == (SHIPPED / TWO).read_bytes()
    assert done.aside == ((TWO, "02-ignition-authoring.old2.ipynb"),)
    assert "first" in (place.copies / "02-ignition-authoring.old1.ipynb").read_text()
    assert {name for name, _ in place.make("all").aside} == {"05-day-two.ipynb"}
    with pytest.raises(ParameterError, match="no chapter '07'"):
        place.make("07")


def test_a_copy_that_was_thrown_away_comes_back(place: Place) -> None:
    (place.copies / TWO).unlink()
    assert place.make() == Copies(place.copies) and (place.copies / TWO).is_file()


def test_a_copy_whose_making_was_interrupted_is_nobodys_own(place: Place) -> None:
    write(place.originals / TWO, type_in("new"))
    shutil.copy(place.originals / TWO, place.copies / TWO)
    assert place.make() == Copies(place.copies)
    write(place.originals / TWO, type_in("newer"))
    assert place.make().renewed == (TWO,)


def test_the_verb_resets_without_opening(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    write(place.copies / TWO, type_in("mine"))
    assert commands.main(["--lab", str(place.folder / "lab.yaml"), "workbook", "--reset", "02"]) == 0
    said = capsys.readouterr()
    assert "yours is kept as 02-ignition-authoring.old1.ipynb" in said.err and "./lab workbook" in said.out
