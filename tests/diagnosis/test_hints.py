"""Every known failure is caused: by the cases here, or by tests with engines and blades that use `tests.rig.known`."""

from __future__ import annotations

import ast
import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.diagnosis import hints
from labkit.errors import LabkitError, SwarmError
from labkit.events.folding import fold_all
from labkit.events.stages import LabState
from labkit.servers import client
from tests.rig import failures_machine, failures_swarm
from tests.rig.failures import CASES, LAB, Patch
from tests.rig.known import HINTS
from tests.rig.recorded import RUNNING

ROOT = Path(__file__).resolve().parents[2]
CAUSED_IN = (failures_swarm, failures_machine)


@pytest.fixture(scope="module")
def cleared() -> None:
    """What was there before the first case is not looked through again after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def patch(cleared: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patch]:
    yield Patch(tmp_path, monkeypatch)
    gc.collect()


# The Docker SDK leaves a socket that was refused to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", CASES)
def test_an_error_is_known(name: str, patch: Patch) -> None:
    caught: BaseException | None = None
    try:
        CASES[name](patch)
    except Exception as error:
        caught = error
    patch.patch.undo()
    assert caught is not None, "the case caused nothing"
    hint = hints.match_error(caught)
    assert hint is not None and hint.name == name, f"{caught!r} → {hint}"


def calls(name: str) -> set[str]:
    """The hints that tests name in their calls of a function of `tests.rig.known`."""
    found = set()
    for path in ROOT.glob("tests/**/test_*.py"):
        if "from tests.rig.known import" in (text := path.read_text()):
            found |= {
                node.args[0].value
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
                and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
            }  # fmt: skip
    return found


def test_every_rule_is_caused() -> None:
    """Here, or where there are engines and blades."""
    names = {rule.hint.name for rule in hints.RULES}
    assert names == set(CASES) | calls("causes"), CAUSED_IN
    assert len(names) >= 25


def test_every_sign_in_events_is_caused() -> None:
    assert set(hints._SEEN) == calls("shows")


def test_nothing_stands_in_for_what_fails() -> None:
    """No case puts something of its own in the place of labkit or of the engine; the time to wait may be shorter."""
    for module in CAUSED_IN:
        text = Path(str(module.__file__)).read_text()
        assert "SimpleNamespace" not in text and "mock" not in text
        assert re.findall(r"patch\.setattr\((.*)\)", text) in ([], ['power, "CALL_S", 1.0'])


def test_a_boot_that_goes_well_shows_nothing() -> None:
    assert hints.match_events(fold_all(RUNNING), ["blade1", "blade2", "blade3"]) == []
    assert hints.match_events(LabState(), ["blade1"]) == []


# --- the table itself -------------------------------------------------------------------------------------------------


def test_every_hint_leads_to_a_heading_that_is_there() -> None:
    book = json.loads((ROOT / "notebooks" / "99-help.ipynb").read_text())
    text = "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")
    headings = {line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")}
    assert {hint.section for hint in HINTS} <= set(hints.SECTIONS) <= headings
    assert all(hint.why and hint.link.startswith("99-help.ipynb#") for hint in HINTS)


def test_the_cause_of_an_error_is_known_too() -> None:
    try:
        try:
            client.choose_blades(LAB, ["blade9"])
        except LabkitError as error:
            raise RuntimeError("it went wrong") from error
    except RuntimeError as error:
        hint = hints.match_error(error)
    assert hint is not None and hint.name == "unknown-blade"


def test_an_error_nobody_knows_has_no_hint() -> None:
    assert hints.match_error(ValueError("what is this")) is None
    assert hints.match_error(SwarmError("something new")) is None
