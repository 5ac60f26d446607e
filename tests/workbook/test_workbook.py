"""The workbook's machinery without a lab: parameters, records, comparison, replay and the report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labkit import events
from labkit.cli import commands
from labkit.errors import LabkitError, ParameterError
from labkit.events.folding import fold_all
from labkit.lab import lab_yaml
from labkit.lab.state import State
from labkit.servers.client import RunningLab
from labkit.workbook import BRING_UP, CHAPTERS, check_parameters, read_parameters, record, replay
from labkit.workbook.compare import compare
from labkit.workbook.kernels import kernels_over_sockets, own_sockets, sockets_folder
from labkit.workbook.parameters import Parameter, effective
from labkit.workbook.report import write_report
from labkit.workbook.run import _last_table
from tests.rig.recorded import LAB, RUNNING

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def code(source: str, **metadata: Any) -> dict[str, Any]:
    cell = {"cell_type": "code", "id": "c", "metadata": metadata, "source": source}
    return {**cell, "outputs": [], "execution_count": None}


def book(*cells: dict[str, Any]) -> str:
    return json.dumps({"cells": cells, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5})


# --- parameters -------------------------------------------------------------------------------------------------------


def number(words: str = "the published port (1 to 65535)") -> Parameter:
    return Parameter("port", "int", 8080, words)


@pytest.mark.parametrize("value", [0, 65536, -1])
def test_a_number_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(ParameterError, match=f"port of a is {value}") as caught:
        number().check(value, "a", None)
    assert caught.value.fix == "a number from 1 to 65535"


@pytest.mark.parametrize("value", ["8080", True, None, 1.5, [8080]])
def test_a_value_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(ParameterError, match="port of a is a whole number, not"):
        number().check(value, "a", None)


def test_a_value_that_is_no_choice_is_refused() -> None:
    choice = Parameter("variant", "str", "flatcar", "which system (one of flatcar, fcos)")
    assert choice.choices == ("flatcar", "fcos")
    choice.check("fcos", "a", None)
    with pytest.raises(ParameterError, match='"debian"') as caught:
        choice.check("debian", "a", None)
    assert caught.value.fix == "one of flatcar, fcos"


def test_a_list_of_blades_is_checked_against_the_lab() -> None:
    blades = Parameter("blades", "list[str]", [], "which (blades of the lab)")
    blades.check(["blade2"], "a", LAB)
    for wrong in (["blade9"], "blade1", [1]):
        with pytest.raises(ParameterError):
            blades.check(wrong, "a", LAB)


def test_prose_in_parentheses_is_no_rule() -> None:
    plain = number("seconds (a long time, 1 to 2 minutes, on real blades) to wait")
    assert plain.bounds is None and plain.choices == ()


def test_all_chapters_parameters_are_checked_with_the_lab() -> None:
    with pytest.raises(ParameterError, match="no blade blade9"):
        check_parameters(FOLDER, {"blades": ["blade9"]}, LAB)
    with pytest.raises(ParameterError, match="replicas of 04-nginx-service is 0"):
        check_parameters(FOLDER, {"replicas": 0}, LAB)
    assert effective(FOLDER, BRING_UP[-1], {"replicas": 3, "else": 1})["replicas"] == 3


def test_a_parameter_without_type_or_words_is_refused(tmp_path: Path) -> None:
    cell = code("port = 8080  # the port", tags=["parameters"])
    (tmp_path / "a.ipynb").write_text(book(cell))
    with pytest.raises(LabkitError, match="the parameter port has no type"):
        read_parameters(tmp_path, "a")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_papermill_lists_each_parameter_with_its_words(chapter: str) -> None:
    from papermill.cli import papermill  # here, since it takes seconds

    said = CliRunner().invoke(papermill, ["--help-notebook", str(FOLDER / f"{chapter}.ipynb")]).output
    for parameter in read_parameters(FOLDER, chapter).values():
        assert f"{parameter.name}: {parameter.kind}" in said
        assert parameter.words.split("(")[0].strip()[:20] in " ".join(said.split())


# --- records ----------------------------------------------------------------------------------------------------------


def body(**changed: Any) -> dict[str, Any]:
    made = {
        "began": 1_700_000_000.0, "seconds": 100.0, "status": "done", "answered": True,
        "lab": {"name": "lab", "blades": ["blade1", "blade2", "blade3"]},
        "parameters": {"01-pxe-setup": {"blades": [], "timeout_s": 420}}, "versions": {"labkit": "0.1"},
        "artifacts": record.artifact_digests(LAB, LAB.blades), "images": {},
        "chapters": [{"name": "01-pxe-setup", "seconds": 60.0, "status": "done"}],
        "blades": record.blade_rows(LAB, fold_all(RUNNING)),
    }  # fmt: skip
    return {**made, **changed}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two kept runs, ``a`` and ``b``."""
    for name in ("a", "b"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        record.write_record(folder, body(), RUNNING)
    (tmp_path / "lab.yaml").write_text("blades: [{name: blade1}, {name: blade2}, {name: blade3}]\n")
    return tmp_path / "runs"


def test_digests_are_the_same_in_every_lab_and_boot(tmp_path: Path) -> None:
    again = lab_yaml.parse("name: lab\nblades: [{name: blade1}, {name: blade2}, {name: blade3}]\n", tmp_path / "l.yaml")
    first, second = (record.artifact_digests(lab, lab.blades) for lab in (LAB, again))
    assert first == second
    assert {"boot.ipxe", "labos/oem.cpio.gz", "pxelinux.cfg/default"} <= set(first["blade1"])
    assert first["blade1"]["labos/oem.cpio.gz"] != first["blade2"]["labos/oem.cpio.gz"]


def test_only_the_latest_life_of_a_lab_is_kept() -> None:
    old = [events.LabEvent(state="starting"), events.LabEvent(state="up")]
    assert record.this_life([*old, *RUNNING]) == RUNNING


def test_a_record_is_read_back(runs: Path) -> None:
    assert record.read_record(runs / "a") == {"v": 1, **body()}
    assert replay.read_events(runs / "a") == RUNNING


def test_a_run_is_found_by_name_path_or_as_the_last(runs: Path) -> None:
    assert record.find_run(runs, "a") == record.find_run(runs, str(runs / "a")) == runs / "a"
    assert record.find_run(runs, "last") == runs / "b"
    with pytest.raises(ParameterError, match="no run 'c'") as caught:
        record.find_run(runs, "c")
    assert caught.value.fix == "one of a, b"


@pytest.mark.parametrize("text", ["{", "[]", '{"v": 99}'])
def test_a_broken_record_is_named(runs: Path, text: str) -> None:
    (runs / "a" / "run.json").write_text(text)
    with pytest.raises(ParameterError) as caught:
        record.read_record(runs / "a")
    assert caught.value.where == str(runs / "a")
    assert set(record.usual_durations(runs)) == {"01-pxe-setup"}, "the other run still counts"


def test_versions_name_what_matters() -> None:
    assert {"labkit", "python", "papermill", "ipykernel"} <= set(record.versions())


# --- comparison -------------------------------------------------------------------------------------------------------


def test_two_runs_that_did_the_same(runs: Path) -> None:
    text, same = compare(body(), body(seconds=70.0))
    assert same
    assert "Parameters: no difference" in text and "What was served: no difference" in text
    assert "the whole run" in text and "-30.0" in text
    assert "blade1 kernel" in text


def test_what_changed_is_listed() -> None:
    after = body(parameters={"01-pxe-setup": {"blades": ["blade1"], "timeout_s": 420}})
    after["artifacts"] = {**after["artifacts"], "blade1": {**after["artifacts"]["blade1"], "boot.ipxe": "f" * 64}}
    text, same = compare(body(), after)
    assert not same
    assert '01-pxe-setup blades  []      ["blade1"]' in text
    assert "ffffffffffffffff\n" in text.replace(" ", "") and "f" * 17 not in text


@pytest.mark.parametrize(("changed", "status"), [({}, 0), ({"images": {"x": "1"}}, 1)])
def test_compare_has_a_status_for_scripts(
    runs: Path, changed: dict[str, Any], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    record.write_record(runs / "b", body(**changed), RUNNING)
    lab = ["--lab", str(runs.parent / "lab.yaml")]
    assert commands.main([*lab, "run", "--runs", str(runs), "--compare", "a", "b"]) == status
    assert "Seconds" in capsys.readouterr().out
    assert commands.main([*lab, "run", "--runs", str(runs), "--compare", "a", "c"]) == 2


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_of_chapters_without_a_service_asks_for_no_page(tmp_path: Path) -> None:
    """Nor does it need an engine: chapter 1 alone ends with its stages, and well."""
    (tmp_path / "events.jsonl").write_text("".join(events.encode(event) + "\n" for event in RUNNING))
    status, table, links = _last_table(RunningLab(LAB, State(tmp_path)), LAB.blades, None)
    assert (status, links) == (0, {}) and "nginx" not in table and "blade3" in table


# --- replay and report ------------------------------------------------------------------------------------------------


def test_a_run_is_told_again_in_its_own_time() -> None:
    waited: list[float] = []
    lines = list(replay.replay_lines(LAB, RUNNING, waited.append))
    assert sum(waited) == pytest.approx(max(event.time for event in RUNNING) - RUNNING[0].time, abs=1)
    assert any("blade1     iPXE asks: who am I?" in line for line in lines)
    assert "Boot timeline" in lines[-2] and "├─ blade1" in lines[-1]


def test_a_page_plays_a_run_by_itself() -> None:
    page = replay.replay_page(LAB, RUNNING, "A run")
    assert page.count("<script>") == page.count("</script>") == 1
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "").replace("http://10.77.0.1", "")
    frames = json.loads(page.split("const frames = ", 1)[1].split(";\n", 1)[0].replace("<\\/", "</"))
    assert len(frames) == replay.FRAMES
    assert frames[0][0] == 0 and frames[-1][0] > 80
    assert frames[10][1] != frames[40][1] != frames[-1][1]


def test_replay_from_the_command_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--lab", str(runs.parent / "lab.yaml"), "replay", "--runs", str(runs)]
    assert commands.main(command) == 0
    assert "Boot timeline" in capsys.readouterr().out
    assert commands.main([*command, "a", "--page", str(runs / "page.html")]) == 0
    assert (runs / "page.html").read_text().startswith("<!doctype html>")
    (runs / "a" / "events.jsonl").unlink()
    assert commands.main([*command, "a"]) == 2


def executed(*outputs: dict[str, Any]) -> str:
    prose = {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "## A *heading*"}
    return book(prose, {**code("x < 1"), "outputs": list(outputs)})


def test_a_report_has_everything_of_a_run(tmp_path: Path) -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": ["\x1b[31mred\x1b[0m <b>\n"]}
    both = {"output_type": "display_data", "metadata": {}, "data": {"text/html": ["<svg></svg>"], "text/plain": "no"}}
    view = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "slot 1"}
    widget = {"output_type": "display_data", "metadata": {}, "data": view}
    error = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["E: <v>"]}
    (tmp_path / "01-pxe-setup.ipynb").write_text(executed(stream, both, widget, error))
    page = write_report(tmp_path, LAB, body(), RUNNING).read_text()
    for words in ("Run of 'lab'", "nginx answered", "52:54:00:4d:00:01", "Boot timeline", "Topology of", "timeout_s"):
        assert words in page
    assert "<em>heading</em>" in page and "x &lt; 1" in page
    assert "red &lt;b&gt;" in page and "<svg></svg>" in page and "slot 1" in page and "E: &lt;v&gt;" in page
    assert "<script" not in page


def test_a_report_leads_to_the_page(tmp_path: Path) -> None:
    page = write_report(tmp_path, LAB, body(pages={"blade1": "http://10.77.0.11:8080"}), RUNNING).read_text()
    assert '<a href="http://10.77.0.11:8080">http://10.77.0.11:8080</a> (blade1)' in page


def test_a_report_of_a_run_that_failed_says_so(tmp_path: Path) -> None:
    failed = body(status="failed", error="01-pxe-setup, cell 5: it is <stuck>", chapters=[])
    del failed["answered"]
    page = write_report(tmp_path, LAB, failed, RUNNING).read_text()
    assert "A chapter failed." in page and "it is &lt;stuck&gt;" in page


# --- kernels ----------------------------------------------------------------------------------------------------------


def test_a_kernel_runs_over_unix_sockets_and_is_quiet(tmp_path: Path) -> None:
    from papermill import execute_notebook  # here, since it takes seconds

    source = "import json, ipykernel.connect\nprint(json.loads(ipykernel.connect.get_connection_info())['transport'])"
    cell = code(source)
    (tmp_path / "in.ipynb").write_text(book(cell))
    reading, writing = os.pipe()
    before = os.dup(2)
    os.dup2(writing, 2)
    try:
        with own_sockets():
            execute_notebook(
                str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), kernel_name="python3", progress_bar=False,
                kernel_manager_class=kernels_over_sockets(),
            )  # fmt: skip
    finally:
        os.dup2(before, 2)
        os.close(writing)
        os.close(before)
    with os.fdopen(reading) as said:
        assert "without encryption" not in said.read()
    (output,) = json.loads((tmp_path / "out.ipynb").read_text())["cells"][-1]["outputs"]
    assert "".join(output["text"]) == "ipc\n"


def test_the_folder_of_the_sockets_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = sockets_folder()
    assert folder.stat().st_mode & 0o777 == 0o700 and sockets_folder() == folder
    folder.chmod(0o755)
    with pytest.raises(LabkitError, match="not yours alone"):
        sockets_folder()
