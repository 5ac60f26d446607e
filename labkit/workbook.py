"""Runs the notebooks in order, headless, through papermill, and ends with the table of what became of each blade."""

from __future__ import annotations

import ast
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit import client, labfile, stages, up
from labkit.errors import LabkitError, MachineError, ParameterError
from labkit.lab import Blade
from labkit.state import State

Progress = Callable[[str], None]

CHAPTERS = ("01-pxe-setup", "02-ignition-authoring", "03-swarm-bootstrap", "04-nginx-service", "05-day-two")
BRING_UP = CHAPTERS[:4]
"""What a run goes through unless it is to reboot blades and pull plugs as well."""


def notebooks_folder(lab_path: Path) -> Path:
    """``notebooks/`` beside the lab file, else the one beside the package. Raises MachineError without either."""
    for folder in (lab_path.parent / "notebooks", Path(__file__).parent.parent / "notebooks"):
        if folder.is_dir():
            return folder
    raise MachineError("the notebooks are not there", fix="run this in a clone of labkit")


def read_defaults(folder: Path, chapter: str) -> dict[str, Any]:
    """A chapter's parameters and what they are where nobody says otherwise."""
    import papermill

    found = papermill.inspect_notebook(str(folder / f"{chapter}.ipynb"))
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


def check_parameters(folder: Path, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The given parameters by chapter: each chapter gets those it has.

    Raises ParameterError for a name no chapter has, or a value of another type than the chapter's default.
    """
    chapters: dict[str, dict[str, Any]] = {}
    known: set[str] = set()
    for chapter in CHAPTERS:
        defaults = read_defaults(folder, chapter)
        known |= set(defaults)
        chapters[chapter] = {name: value for name, value in given.items() if name in defaults}
        for name, value in chapters[chapter].items():
            default = defaults[name]
            if type(value) is not type(default):
                wanted = type(default).__name__
                raise ParameterError(
                    f"{name} of {chapter} is a {wanted}, not {value!r}", fix=f"for example {default!r}"
                )
    unknown = sorted(set(given) - known)
    if unknown:
        raise ParameterError(
            f"no chapter has a parameter {', '.join(unknown)}", fix=f"they have {', '.join(sorted(known))}"
        )
    return chapters


def run(
    lab_path: Path,
    state: State,
    given: Mapping[str, Any],
    *,
    runs: Path | None,
    progress: Progress,
    chapters: Sequence[str] = BRING_UP,
) -> int:
    """The workbook. Executed notebooks go to ``runs/<time>/``. Returns the exit status: 0 when nginx answered through
    every chosen blade.

    Raises LabkitError before anything starts when a parameter is wrong or the lab cannot come up; a notebook that fails
    raises one too, with the place of its executed copy.
    """
    folder = notebooks_folder(lab_path)
    parameters = check_parameters(folder, given)
    lab = labfile.load(lab_path)
    chosen = client.choose_blades(lab, given.get("blades"))
    port = {**read_defaults(folder, CHAPTERS[-1]), **given}["port"]
    began = time.monotonic()
    made = up.status(state) is None
    running = client.ensure_lab(lab_path, state_path=state.path, progress=progress)
    progress(str(running))
    out = (runs or lab_path.parent / "runs") / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True)
    try:
        for chapter in chapters:
            _run_chapter(folder, chapter, parameters[chapter], running, out, progress)
    except KeyboardInterrupt:
        if made:
            up.down(state, progress)
        raise
    status = _print_table(running, chosen, port)
    print(f"\n{time.monotonic() - began:.0f} s. Executed notebooks: {out}")
    return status


def _run_chapter(
    folder: Path, chapter: str, given: Mapping[str, Any], running: client.RunningLab, out: Path, progress: Progress
) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    os.environ["LABKIT_LAB"], os.environ["LABKIT_STATE"] = str(running.lab.path), str(running.state.path)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    target = out / f"{chapter}.ipynb"
    began = time.monotonic()
    progress(f"{chapter} …")
    try:
        papermill.execute_notebook(
            str(folder / f"{chapter}.ipynb"), str(target), parameters=dict(given), cwd=str(folder),
            kernel_name="python3", progress_bar=False,
        )  # fmt: skip
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":  # a terminal's Ctrl-C reaches the kernel too
            raise KeyboardInterrupt from None
        raise LabkitError(
            f"{error.ename}: {error.evalue}",
            where=f"{chapter}, cell {error.exec_count}",
            fix=f"the executed notebook shows it: {target}",
        ) from None
    progress(f"{chapter} done in {time.monotonic() - began:.0f} s")


def _print_table(running: client.RunningLab, chosen: Sequence[Blade], port: int) -> int:
    """The last table: per blade its stages, its node, and what nginx said through it; 0 when the chosen ones did."""
    from labkit.swarm import cluster
    from labkit.swarm.probe import probe

    blades = {blade.name: str(blade.address) for blade in running.lab.blades}
    with running.engine() as engine:
        nodes = {node.blade: node for node in cluster.nodes(engine) if node.ready}
    answers = {answer.blade: answer for answer in probe(blades, port)}
    extra = {
        name: {
            "node": nodes[name].id[:12] if name in nodes else "-",
            "state": nodes[name].state if name in nodes else "-",
            "nginx": str(answers[name].status) if answers[name].ok else "no answer",
        }
        for name in blades
    }
    print(stages.table(running.lab, running.stages(), extra))
    return 0 if all(extra[blade.name]["nginx"] == "200" for blade in chosen) else 1
