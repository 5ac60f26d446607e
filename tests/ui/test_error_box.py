"""The error box: what it says, and that the cell still fails."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell

from labkit import events
from labkit.errors import LabFileError, Mistake, PowerError
from labkit.events.folding import fold_all
from labkit.lab import lab_yaml
from labkit.servers import client
from labkit.ui import error_box
from tests.rig.recorded import LAB


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_a_box_answers_five_questions() -> None:
    made = error_box.make_box(
        raised(PowerError("no answer within 7 s", where="blade1 (BMC 10.0.0.1:623)", fix="check the cable"))
    )
    assert [name for name, _ in made.rows] == ["What happened", "Where", "Why", "What to do"]
    assert made.link == "99-help.ipynb#Power"
    for part in (made.html, made.text):
        for words in ("no answer within 7 s", "blade1 (BMC 10.0.0.1:623)", "UDP port 623", "check the cable", "Power"):
            assert words in part
    assert "<details>" in made.html and "Traceback" in made.html
    assert "Traceback" not in made.text


def test_the_events_say_why_a_blade_is_late() -> None:
    state = fold_all([
        events.BootStarted(blade="blade1", boot="b", cause="power", time=10),
        events.Power(blade="blade1", state="on", time=10),
        events.UnknownMachine(mac="52:54:00:00:00:99", adopt="./lab adopt 52:54:00:00:00:99", time=12),
    ])  # fmt: skip
    error = PowerError("not os after 420 s: blade1 is at stage 'firmware' (power on)")
    made = error_box.make_box(raised(error), lab=LAB, state=state)
    assert "52:54:00:00:00:99" in made.why and "another MAC address" in made.why
    assert made.section == "A blade is not heard"


def test_a_failed_check_shows_its_line(tmp_path: Path) -> None:
    cell = tmp_path / "cell.py"  # pytest gives the asserts of its own files other words
    cell.write_text("name = 'lab'\nassert name == 'another'\n")
    with pytest.raises(AssertionError) as caught:
        runpy.run_path(str(cell))
    made = error_box.make_box(caught.value)
    assert made.what == "this does not hold: name == 'another'"
    assert made.section == "The notebook itself"


def test_a_lab_file_lists_all_its_mistakes() -> None:
    error = LabFileError("lab.yaml", [Mistake(2, 1, "one", "write this"), Mistake(5, 3, "two")])
    assert error_box.make_box(raised(error)).what == "lab.yaml:2:1: one\n  fix: write this\nlab.yaml:5:3: two"


def test_an_error_nobody_knows_has_a_box_too() -> None:
    made = error_box.make_box(raised(ValueError("<b>odd</b>")))
    assert made.rows == [("What happened", "<b>odd</b>")] and made.link == ""
    assert "<b>odd" not in made.html and "&lt;b&gt;odd" in made.html


class Shell(InteractiveShell):
    """A shell that keeps what a kernel would send as its error output."""

    said: list[tuple[str, list[str]]]

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.said.append((etype.__name__, stb))


@pytest.fixture
def shell() -> Any:
    shell: Any = Shell()  # type: ignore[no-untyped-call]
    shell.said = []
    error_box.install(shell)
    return shell


def test_a_failing_cell_fails_and_says_the_fix_in_plain_words(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    result = shell.run_cell(
        "from labkit.errors import PowerError\nraise PowerError('it is stuck', fix='pull the plug')"
    )
    assert isinstance(result.error_in_exec, PowerError) and not result.success
    assert shell.said == [("PowerError", ["PowerError: it is stuck", "  fix: pull the plug"])]
    assert "What to do: pull the plug" in capsys.readouterr().out


def test_an_interrupt_is_no_error_of_the_cell(shell: Any) -> None:
    assert not shell.run_cell("raise KeyboardInterrupt").success
    assert shell.said[0][0] == "KeyboardInterrupt" and len(shell.said[0][1]) > 1, "IPython's own traceback"


def test_a_box_comes_out_when_there_is_no_lab(shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABKIT_LAB", raising=False)
    shell.run_cell("1/0")
    assert shell.said == [("ZeroDivisionError", ["ZeroDivisionError: division by zero"])]


@pytest.mark.notebook
@pytest.mark.apart
def test_papermill_sees_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = (
        "from labkit import ui\nfrom labkit.servers.client import choose_blades, find_lab\n"
        "from labkit.lab.lab_yaml import load\nchoose_blades(load(find_lab()), ['blade9'])"
    )
    cell: dict[str, Any] = {"cell_type": "code", "id": "a1", "metadata": {}, "source": source, "outputs": []}
    cell["execution_count"] = None
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    book = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "in.ipynb").write_text(json.dumps(book))
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}]\n")
    # In this process, as `./lab run` does it, and imported here: that alone takes seconds.
    from papermill.cli import papermill

    done = CliRunner().invoke(papermill, ["--no-progress-bar", "in.ipynb", "out.ipynb"])
    assert done.exit_code != 0
    assert "no blade blade9 in lab.yaml" in str(done.exception) and "its blades are blade1" in str(done.exception)
    outputs = json.loads((tmp_path / "out.ipynb").read_text())["cells"][-1]["outputs"]
    assert [output["output_type"] for output in outputs] == ["error", "display_data"]
    assert "Blades are called as lab.yaml calls them." in "".join(outputs[1]["data"]["text/html"])


def test_the_present_lab_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("blades: [{name: blade1}]\n")
    monkeypatch.setenv("LABKIT_LAB", str(path))
    assert error_box._present()["lab"] == lab_yaml.load(client.find_lab())
