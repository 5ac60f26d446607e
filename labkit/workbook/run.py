"""Runs the notebooks in order, headless, through papermill, and ends with the table of what became of each blade, where
its page is, and what to do next."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import events
from labkit.errors import LabkitError
from labkit.events import folding, tables
from labkit.lab import Blade, Lab, lab_yaml
from labkit.lab.process import control
from labkit.lab.state import State
from labkit.servers import client, lifecycle
from labkit.workbook import next_steps, record
from labkit.workbook.chapters import BRING_UP, notebooks_folder, plain
from labkit.workbook.kernels import kernels_over_sockets, own_sockets
from labkit.workbook.parameters import check_parameters, effective
from labkit.workbook.report import write_report

if TYPE_CHECKING:
    from labkit.swarm.services.http_probe import Answer

Progress = Callable[[str], None]
ANSWER_S = 60.0


def run(
    lab_path: Path,
    state: State,
    given: Mapping[str, Any],
    *,
    runs: Path | None,
    progress: Progress,
    chapters: Sequence[str] = BRING_UP,
    width: int | None = None,
) -> int:
    """The workbook, chapter by chapter. What is kept of it goes to ``runs/<time>/``. Returns the exit status: 0 when
    nginx answered through every chosen blade, or when no chapter that ran has a service. The table is ``width`` letters
    wide, or as wide as it needs.

    Raises LabkitError before anything starts when a parameter is wrong or the lab cannot come up; a notebook that fails
    raises one too, with the place of its executed copy. A lab that an interrupted run has brought up is taken down.
    """
    folder = notebooks_folder(lab_path)
    lab = lab_yaml.load(lab_path)
    parameters = check_parameters(folder, given, lab, chapters)
    chosen = client.choose_blades(lab, given.get("blades"))
    made = control.status(state) is None
    began, ticks = time.time(), time.monotonic()
    running = client.ensure_lab(lab_path, state_path=state.path, progress=progress)
    progress(str(running))
    out = (runs or lab_path.parent / "runs") / time.strftime("%Y%m%d-%H%M%S", time.localtime(began))
    out.mkdir(parents=True)
    body: dict[str, Any] = {
        "began": round(began, 3),
        "lab": {"name": lab.name, "blades": [blade.name for blade in chosen]},
        "parameters": {name: effective(folder, name, parameters[name]) for name in chapters},
        "versions": record.versions(),
        "artifacts": record.artifact_digests(lab, chosen),
        "images": record.describe_images(lab),
        "chapters": [],
        "status": "interrupted",
    }
    try:
        with own_sockets(), telling(state, lab, progress):
            for name in chapters:
                body["chapters"].append(_run_chapter(folder, name, parameters[name], running, out, progress))
        body["status"] = "done"
        served = [effective(folder, name, parameters[name]).get("port") for name in chapters]
        ports = [port for port in served if port is not None]
        status, table, links = _last_table(running, chosen, ports[-1] if ports else None, width)
        body |= {"answered": status == 0, "pages": links} if ports else {}
        print(table)
    except KeyboardInterrupt:
        raise
    except LabkitError as error:
        body["status"], body["error"] = "failed", str(error)
        raise
    finally:
        body["seconds"] = round(time.monotonic() - ticks, 3)
        kept = record.this_life(running.events())
        body["blades"] = record.blade_rows(lab, folding.fold_all(kept))
        record.write_record(out, body, kept)
        if body["status"] == "interrupted" and made:
            lifecycle.down(state, progress)
        else:
            page = write_report(out, lab, body, kept)
    print(f"\n{body['seconds']:.0f} s. Executed notebooks, run.json and {page.name}: {out}\n")
    print(next_steps.after_run(links))
    return status


def _run_chapter(
    folder: Path, name: str, given: Mapping[str, Any], running: client.RunningLab, out: Path, progress: Progress
) -> dict[str, Any]:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    os.environ["LABKIT_LAB"], os.environ["LABKIT_STATE"] = str(running.lab.path), str(running.state.path)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    target = out / f"{name}.ipynb"
    began = time.monotonic()
    progress(f"{name} …")
    try:
        papermill.execute_notebook(
            plain(folder / f"{name}.ipynb"), plain(target), parameters=dict(given), cwd=plain(folder),
            kernel_name="python3", progress_bar=False, kernel_manager_class=kernels_over_sockets(),
        )  # fmt: skip
    except PapermillExecutionError as error:
        if error.ename == "KeyboardInterrupt":  # a terminal's Ctrl-C reaches the kernel too
            raise KeyboardInterrupt from None
        raise LabkitError(
            f"{error.ename}: {error.evalue}",
            where=f"{name}, cell {error.exec_count}",
            fix=f"the executed notebook shows it: {target}",
        ) from None
    seconds = time.monotonic() - began
    progress(f"✓ {name}: {seconds:.0f} s")
    return {"name": name, "seconds": round(seconds, 3), "status": "done"}


@contextmanager
def telling(state: State, lab: Lab, progress: Progress) -> Iterator[None]:
    """Say each blade's new stage while a run goes on."""
    over = threading.Event()
    after = max((event.seq for event in events.read(state.events)), default=0)

    def tell() -> None:
        now = folding.fold_all(events.read(state.events))
        for event in events.follow(state.events, after=after, every_s=0.5):
            if over.is_set():
                return
            if event is None or not event.blade:
                continue
            before, now = now, folding.fold(now, event)
            blade = now.blade(event.blade)
            if blade.stage != before.blade(event.blade).stage:
                took = f" after {blade.total_s:.0f} s" if blade.stage == "joined" else ""
                progress(f"  {blade.blade}: {blade.stage}{took}")

    thread = threading.Thread(target=tell, name="telling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


def _ask(blades: Mapping[str, str], port: int, chosen: Sequence[Blade]) -> Mapping[str, Answer]:
    """What nginx says through each blade. Where a chosen one does not answer all are asked again, for a while.

    A replica that was ended for being slow is missing from the mesh until another one has started: on a machine that is
    busy, emulated blades are that slow.
    """
    from labkit.swarm.services.http_probe import probe

    until = time.monotonic() + ANSWER_S
    while True:
        answers = {answer.blade: answer for answer in probe(blades, port)}
        if all(answers[blade.name].ok for blade in chosen) or time.monotonic() > until:
            return answers
        time.sleep(1)


def _last_table(
    running: client.RunningLab, chosen: Sequence[Blade], port: int | None, width: int | None = None
) -> tuple[int, str, dict[str, str]]:
    """Per blade its stages, and with a ``port`` its node, its page's address and what nginx said there.

    The status is 0 when the chosen ones answered, or nobody was to; the addresses are those that did, by blade.
    """
    from labkit.swarm import cluster

    if port is None:
        return 0, tables.table(running.lab, running.stages(), width=width), {}
    blades = {blade.name: str(blade.address) for blade in running.lab.blades}
    with running.engine() as engine:
        nodes = {node.blade: node for node in cluster.nodes(engine) if node.ready}
    answers = _ask(blades, port, chosen)
    links = next_steps.pages(running.lab, port, [name for name, answer in answers.items() if answer.ok])
    extra = {
        name: {
            "node": nodes[name].id[:12] if name in nodes else "-",
            "state": nodes[name].state if name in nodes else "-",
            "page": links.get(name, "-"),
            "nginx": answers[name].error or str(answers[name].status),
        }
        for name in blades
    }
    table = tables.table(running.lab, running.stages(), extra, width)
    return 0 if all(extra[blade.name]["nginx"] == "200" for blade in chosen) else 1, table, links
