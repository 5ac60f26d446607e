"""``./lab run``, ``replay`` and ``workbook``: the chapters, headless or by hand, and what is kept of a run."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.cli import arguments
from labkit.cli.answers import find_state, lab_path, load_lab, say, terminal_width
from labkit.cli.machines import power
from labkit.cli.phases import Phases
from labkit.errors import ParameterError, on_file
from labkit.servers import client


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words, as_json=…)``, which gives their parsers."""
    sub = verb("run", run_chapters, "run the workbook, headless")
    sub.add_argument("chapter", nargs="*", help="only these chapters, as in 04; each brings up what it builds on")
    sub.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a notebook parameter"
    )
    sub.add_argument(
        "--day-two", action="store_true", help="go on to the chapter that reboots blades and pulls the plug on one"
    )
    sub.add_argument("--dry-run", action="store_true", help=f"check what was given; {power.DRY_RUN}")
    sub.add_argument("--runs", type=arguments.path, help="where runs are kept (default: runs/ beside the lab file)")
    sub.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="run nothing; say what changed from one run to another, 1 if so"
    )
    sub = verb("replay", replay, "a run again, without a lab")
    sub.add_argument("run_folder", metavar="RUN", nargs="?", default="last", help="its folder or name (default: last)")
    sub.add_argument("--runs", type=arguments.path, help="where runs are kept (default: runs/ beside the lab file)")
    sub.add_argument(
        "--speed", type=arguments.speed, default=0, help="times as fast as it was; 0, the default, does not wait"
    )
    sub.add_argument(
        "--page", type=arguments.path, metavar="FILE", help="write an HTML page that plays it, to show to others"
    )
    sub = verb("workbook", open_workbook, "open your copies of the notebooks in JupyterLab on this machine's loopback")
    sub.add_argument("--port", type=arguments.port, help="default: 8888, or the next one that is free")
    sub.add_argument(
        "--reset", nargs="+", default=[], metavar="CHAPTER",
        help="open nothing; make these chapters anew, as in 02, or all; what you had there is kept beside them",
    )  # fmt: skip


def run_chapters(options: argparse.Namespace) -> int:
    """Run chapters; the status is the run's."""
    from labkit import workbook

    if options.compare:
        return compare(options)
    if options.chapter and options.day_two:
        raise ParameterError("--day-two and chapters contradict each other", fix="name 05 among the chapters")
    given = dict(_parameter(word) for word in options.parameter)
    chapters = workbook.CHAPTERS if options.day_two else workbook.BRING_UP
    chapters = workbook.choose_chapters(options.chapter) if options.chapter else chapters
    if options.dry_run:
        lab = load_lab(options)
        workbook.check_parameters(workbook.notebooks_folder(lab.path), given, lab, chapters)
        blades = client.choose_blades(lab, given.get("blades"))
        print("\n".join(power.run_presses(blades, day_two=options.day_two)))
        return 0
    path, state = lab_path(options), find_state(options)
    with Phases() as progress:
        return workbook.run(
            path, state, given, runs=options.runs, progress=progress, chapters=chapters, width=terminal_width()
        )


def _runs(options: argparse.Namespace) -> Path:
    runs: Path = options.runs or lab_path(options).parent / "runs"
    return runs


def compare(options: argparse.Namespace) -> int:
    """Say what changed from one run to another; 1 where something did."""
    from labkit.workbook import compare, record

    before, after = (record.read_record(record.find_run(_runs(options), name)) for name in options.compare)
    text, same = compare.compare(before, after)
    print(text)
    return 0 if same else 1


def replay(options: argparse.Namespace) -> int:
    """Print a run's events as they came, or write the page that plays them."""
    from labkit.workbook import record, replay

    lab, folder = load_lab(options), record.find_run(_runs(options), options.run_folder)
    stream = replay.read_events(folder)
    if options.page:
        with on_file(options.page):
            options.page.write_text(replay.replay_page(lab, stream, f"Run {folder.name}"), encoding="utf-8")
        print(options.page)
        return 0
    for line in replay.replay_lines(lab, stream, lambda s: time.sleep(s / options.speed if options.speed else 0)):
        print(line, flush=True)
    return 0


def _parameter(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals:
        raise ParameterError(f"a parameter is NAME=VALUE, not {word!r}", fix="-p replicas=2")
    try:
        return name, json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or a number or a nesting beyond Python's limits
        return name, text


def open_workbook(options: argparse.Namespace) -> int:
    """Become JupyterLab, on loopback, or only make chapters anew. Raises MachineError where the port is taken."""
    from labkit.workbook import copies, next_steps
    from labkit.workbook.kernels import sockets_folder

    load_lab(options)
    made = copies.make_copies(lab_path(options), find_state(options), reset=options.reset)
    if told := made.told():
        say(told)
    if options.reset:
        print(f"as it came: {', '.join(options.reset)}\n\n{next_steps.after_reset()}")
        return 0
    if options.port:
        from labkit.workbook.watch.server import listen  # brings aiohttp

        listen(options.port).close()  # or it says who has the port
    os.environ["LABKIT_LAB"] = str(lab_path(options))
    os.environ["LABKIT_STATE"] = str(find_state(options).path)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(sockets_folder())
    paths = [str(Path(__file__).parents[1] / "workbook" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))  # ours asks nobody about news
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", "--no-browser", f"--notebook-dir={made.folder}"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    command += [
        f"--port={options.port or 8888}",
        f"--port-retries={0 if options.port else 50}",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.default_url=/lab/tree/00-start.ipynb",
        "--KernelManager.transport=ipc",  # Unix sockets, which nobody else on this machine can reach
    ]
    os.execv(sys.executable, command)
