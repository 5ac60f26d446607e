"""``labkit VERB``: one thin command a verb, over the functions notebooks call too.

Everything a person should read goes to standard output, progress and errors to standard error. Exit status 0 is done,
1 did not work, 2 a mistake in what was asked, 70 a fault of labkit's own (`labkit.lab.process.faults`), 130
interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from labkit import events
from labkit.cli import arguments as words
from labkit.cli import diagnosis
from labkit.cli import swarm as swarm
from labkit.diagnosis.listeners import silent
from labkit.errors import MachineError, ParameterError, on_file
from labkit.events import stages
from labkit.lab import Lab, lab_yaml
from labkit.lab.process import control, faults
from labkit.lab.state import State
from labkit.servers import client, lifecycle


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit status is the error's own where there is one."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = argparse.Namespace(lab=None, state=None)
    return faults.guard(lambda: _run_words(given, options), given, lambda: _state(options).logs)


def _run_words(given: list[str], options: argparse.Namespace) -> int:
    if os.geteuid() == 0:  # what it makes is for the lab's owner and its servers to read
        os.umask(0o022)
    try:
        Path.cwd()
    except OSError:
        raise MachineError("the current folder is gone, or may not be read", fix="cd to another one") from None
    if "ignition" in given[:1]:
        from labkit.ignition.cli import main as ignition

        return ignition(given[1:])
    _parser().parse_args(given, options)
    return int(options.run(options) or 0)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(value: Any, as_json: bool, text: str) -> None:
    print(json.dumps(value, indent=1, default=str) if as_json else text)


def _lab_path(options: argparse.Namespace) -> Path:
    return client.find_lab(options.lab)


def _state(options: argparse.Namespace) -> State:
    return client.find_state(_lab_path(options), options.state)


def _lab(options: argparse.Namespace) -> Lab:
    return lab_yaml.load(_lab_path(options))


def _running(options: argparse.Namespace) -> client.RunningLab:
    return client.connect(options.lab, options.state)


# --- the lab ----------------------------------------------------------------------------------------------------------


def _up(options: argparse.Namespace) -> int:
    running = client.ensure_lab(options.lab, state_path=options.state, own_engine=options.yes, progress=_say)
    print(running)
    return 0


def _down(options: argparse.Namespace) -> int:
    was_up = lifecycle.down(_state(options), _say)
    if not was_up:
        _lab(options)  # with the wrong file we have looked in the wrong place
    print("the lab is down" if was_up else "the lab was not up")
    return 0


def _clean(options: argparse.Namespace) -> int:
    state = _state(options)
    if not options.yes and not _agrees(f"take the lab down, and remove its swarm, its images and all of {state.path}?"):
        raise ParameterError("nothing was removed", where=str(state.path), fix="./lab clean --yes")
    there = {path.name for path in state.path.iterdir()} if state.path.is_dir() else set()
    if (there and "run" not in there) or _lab_path(options).is_relative_to(state.path):
        fix = "remove by hand what may go"
        raise MachineError("this is not a folder of a lab's own", where=str(state.path), fix=fix)
    removed = lifecycle.clean(state, _say)
    if not removed:
        _lab(options)  # as with down
    print("\n".join(f"removed: {folder}" for folder in removed) or "there was nothing to remove")
    return 0


def _agrees(question: str) -> bool:
    """Ask a person; without a terminal nobody agrees."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _status(options: argparse.Namespace) -> int:
    lab, state = _lab(options), _state(options)
    status = control.status(state, ask=True)
    if status is None:
        _print({"up": False}, options.json, "the lab is not up; start it with ./lab up")
        return 1
    now = stages.fold_all(events.read(state.events))
    said = {name: silent(status["answers"], name) for name in status["parts"]} | {"unwritten": status["unwritten"]}
    parts = ", ".join(f"{name} {pid or 'DOWN'}" for name, pid in status["parts"].items())
    wrong = "".join(f"\n{name}: {why}" for name, why in said.items() if why)
    kind = status["accelerator"] or "real machines"
    text = f"lab '{status['name']}' is up ({kind})\nparts: {parts}{wrong}\n\n{stages.table(lab, now)}"
    rows = {blade.name: stages.summary(now.blade(blade.name)) for blade in lab.blades}
    _print({"up": True, **status, "blades": rows}, options.json, text)
    return 0 if all(status["parts"].values()) and not wrong else 1


def _run(options: argparse.Namespace) -> int:
    from labkit import workbook

    if options.compare:
        return _compare(options)
    given = dict(_parameter(word) for word in options.parameter)
    chapters = workbook.CHAPTERS if options.day_two else workbook.BRING_UP
    return workbook.run(_lab_path(options), _state(options), given, runs=options.runs, progress=_say, chapters=chapters)


def _runs(options: argparse.Namespace) -> Path:
    runs: Path = options.runs or _lab_path(options).parent / "runs"
    return runs


def _compare(options: argparse.Namespace) -> int:
    from labkit.workbook import compare, record

    before, after = (record.read_record(record.find_run(_runs(options), name)) for name in options.compare)
    text, same = compare.compare(before, after)
    print(text)
    return 0 if same else 1


def _replay(options: argparse.Namespace) -> int:
    from labkit.workbook import record, replay

    lab, folder = _lab(options), record.find_run(_runs(options), options.run_folder)
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


# --- blades -----------------------------------------------------------------------------------------------------------


def _explain(options: argparse.Namespace) -> int:
    from labkit.boot import ImageFile, plan_bare, resources, tree
    from labkit.boot.artifacts import cpio
    from labkit.lab.secret import Secret
    from labkit.netboot import plans

    lab = _lab(options)
    (blade,) = client.choose_blades(lab, [options.blade])
    plan, files = plans.prepare(lab, _state(options), blade, "‹boot›", Secret("‹ticket›"))
    if options.before:
        plan = plan_bare(lab, blade)
        files = resources(lab, blade, plan)
    if options.tree:
        return _write_tree(options.tree, tree(lab, blade, plan), lab)
    body: dict[str, Any] = {k: v for k, v in vars(plan).items() if k != "ignition"}
    body["files"] = {
        name: "on disk" if isinstance(resource, ImageFile) else len(resource.content)
        for name, resource in sorted(files.items())
    }
    lines = [f"{key:10} {value}" for key, value in body.items() if key != "files"]
    for name, resource in sorted(files.items()):
        if isinstance(resource, ImageFile):
            lines.append(f"\n--- {name}: a file on disk")
        elif resource.secret:
            lines.append(
                f"\n--- {name}: {len(resource.content)} bytes, only for {blade.name}\n{cpio.listing(resource.content)}"
            )
        else:
            lines.append(f"\n--- {name}: {len(resource.content)} bytes\n{resource.content.decode()}")
    _print(body, options.json, "\n".join(lines))
    return 0


def _write_tree(folder: Path, files: Any, lab: Any) -> int:
    from labkit import images
    from labkit.boot import Rendered
    from labkit.images.rootfs import inside

    catalogue = images.catalogue(lab)
    for name, resource in files.items():
        target = inside(folder, name, follow=False)
        with on_file(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # a link to a loader's own file is replaced, and not written through
            if isinstance(resource, Rendered):
                target.write_bytes(resource.content)
            else:
                shutil.copyfile(catalogue[resource.name], target)
        print(name)
    return 0


def _power(options: argparse.Namespace) -> int:
    running = _running(options)
    blades = client.choose_blades(running.lab, options.blade)
    if options.state_wanted in ("off", "reset", "shutdown") and not options.force:
        swarm.check_power(running, blades, in_order=options.state_wanted == "shutdown")
    for blade in blades:
        if options.state_wanted == "status":
            print(f"{blade.name}: {running.power_state(blade)}")
        else:
            running.power(blade, options.state_wanted)
            print(f"{blade.name}: {options.state_wanted}")
    return 0


def _console(options: argparse.Namespace) -> int:
    running = _running(options)
    (blade,) = client.choose_blades(running.lab, [options.blade])
    if options.log:
        path = running.state.console(blade.name)
        sys.stdout.write(path.read_text(errors="replace") if path.exists() else "")
        return 0
    _say(f"the serial port of {blade.name} over IPMI; leave with ~. at the start of a line")
    os.environ["IPMI_PASSWORD"] = client.bmc_password(running.lab, running.state, blade).reveal()
    bmc = blade.bmc
    command = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", bmc.address, "-p", str(bmc.port), "-U", bmc.user, "-E"]
    _become("ipmitool", [*command, "sol", "activate"])


def _ssh(options: argparse.Namespace) -> int:
    running = _running(options)
    (blade,) = client.choose_blades(running.lab, [options.blade])
    # A diskless blade makes its host key anew at each boot, so remembering it would only raise false alarms.
    # ssh(1) reads more than a path into a key's name, such as %d and ${HOME}: so it is told a plain one.
    key = running.state.ssh_key
    with on_file(key):
        os.chdir(key.parent)
    command = ["ssh", "-i", key.name, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]
    command += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"]
    _become("ssh", [*command, f"core@{blade.address}", *options.command])


def _become(program: str, command: list[str]) -> NoReturn:
    """Run a program in our place. Raises MachineError where it is not installed."""
    if shutil.which(program) is None:
        raise MachineError(f"{program} is not installed", fix="./lab setup installs what labkit uses")
    sys.stdout.flush()
    os.execvp(program, command)


def _events(options: argparse.Namespace) -> int:
    lab, state = _lab(options), _state(options)
    chosen = {blade.name for blade in client.choose_blades(lab, options.blade and [options.blade])}
    if options.follow:
        stream: Iterator[events.Event | None] = events.follow(state.events)
    else:
        stream = events.read(state.events)
    seen = False
    for event in stream:
        if event is None or (options.blade and event.blade not in chosen):
            continue
        seen = True
        print(events.encode(event) if options.json else events.describe(event), flush=options.follow)
    if not seen:
        _say(f"nothing has happened yet{f' to {options.blade}' if options.blade else ''} in {state.path}")
    return 0


# --- images -------------------------------------------------------------------------------------------------------


def _images(options: argparse.Namespace) -> int:
    from labkit import images

    lab = _lab(options)
    if options.action == "build":
        for line in images.ensure_images(lab, progress=_say):
            print(line)
    else:
        rows = [[name, str(path), "" if path.exists() else "missing"] for name, path in images.catalogue(lab).items()]
        print(stages.grid(["served as", "file", ""], rows))
    return 0


def _workbook(options: argparse.Namespace) -> int:
    from labkit.workbook import notebooks_folder
    from labkit.workbook.kernels import sockets_folder

    _lab(options)
    folder = notebooks_folder(_lab_path(options))
    if options.port:
        _check_port(options.port)
    os.environ["LABKIT_LAB"] = str(_lab_path(options))
    os.environ["LABKIT_STATE"] = str(_state(options).path)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(sockets_folder())
    paths = [str(Path(__file__).parents[1] / "workbook" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))  # ours asks nobody about news
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", "--no-browser", f"--notebook-dir={folder}"]
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


def _check_port(port: int) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            fix = f"another --port, above 1023; ss -lntp 'sport = :{port}' names who has it"
            raise MachineError(f"{error.strerror}", where=f"port {port}", fix=fix) from None


# --- words ------------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = words.Parser(prog="labkit", description="A lab workbook that boots blades.")
    parser.add_argument(
        "--lab", type=words.path, help="the lab file (default: $LABKIT_LAB, else lab.yaml here or above)"
    )
    parser.add_argument(
        "--state", type=words.path, help="the state folder (default: $LABKIT_STATE, else .lab beside the lab file)"
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(name: str, run: Any, said: str, *, as_json: bool = False) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=said, description=said)
        sub.set_defaults(run=run, json=False)
        if as_json:
            sub.add_argument("--json", action="store_true", help="print JSON")
        return sub

    sub = verb("up", _up, "start the lab: network, boot server, engine, registry, chassis")
    sub.add_argument("--yes", action="store_true", help="in a real lab: let this machine's own Docker be the manager")
    verb("down", _down, "end the lab and everything it started")
    sub = verb("clean", _clean, "end the lab and remove all it has made but runs/: its swarm, images, keys and logs")
    sub.add_argument("--yes", action="store_true", help="do not ask")
    verb("status", _status, "what runs, and how far each blade is", as_json=True)
    sub = verb("run", _run, "run the workbook, headless")
    sub.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a notebook parameter"
    )
    sub.add_argument(
        "--day-two", action="store_true", help="go on to the chapter that reboots blades and pulls the plug on one"
    )
    sub.add_argument("--runs", type=words.path, help="where runs are kept (default: runs/ beside the lab file)")
    sub.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="run nothing; say what changed from one run to another, 1 if so"
    )
    sub = verb("replay", _replay, "a run again, without a lab")
    sub.add_argument("run_folder", metavar="RUN", nargs="?", default="last", help="its folder or name (default: last)")
    sub.add_argument("--runs", type=words.path, help="where runs are kept (default: runs/ beside the lab file)")
    sub.add_argument(
        "--speed", type=words.speed, default=0, help="times as fast as it was; 0, the default, does not wait"
    )
    sub.add_argument(
        "--page", type=words.path, metavar="FILE", help="write an HTML page that plays it, to show to others"
    )
    sub = verb("explain", _explain, "a blade's plan and every file it may fetch", as_json=True)
    sub.add_argument("blade")
    sub.add_argument(
        "--tree", type=words.path, metavar="FOLDER", help="write the files into a folder as for a TFTP server"
    )
    sub.add_argument("--before", action="store_true", help="the boot without a config, the article's first step")
    sub = verb("power", _power, "press blades' power buttons over IPMI")
    sub.add_argument(
        "state_wanted",
        metavar="STATE",
        choices=["on", "off", "shutdown", "reset", "status"],
        help="on, off, shutdown, reset, status",
    )
    sub.add_argument("blade", nargs="*", help="blades (default: all)")
    sub.add_argument("--force", action="store_true", help="also where the swarm's managers lose their quorum by it")
    sub = verb("console", _console, "a blade's serial console")
    sub.add_argument("blade")
    sub.add_argument("--log", action="store_true", help="print what it has said so far")
    sub = verb("ssh", _ssh, "log in to a blade as core")
    sub.add_argument("blade")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    sub = verb("events", _events, "what has happened", as_json=True)
    sub.add_argument("blade", nargs="?")
    sub.add_argument("-f", "--follow", action="store_true", help="go on as things happen")
    diagnosis.add_verbs(verb)
    swarm.add_verbs(verb("swarm", swarm.nodes, "the swarm: nodes, managers, pruning, backup, export"))
    sub = verb("images", _images, "boot images: list or build")
    sub.add_argument("action", nargs="?", choices=["list", "build"], default="list")
    sub = verb("workbook", _workbook, "open the notebooks in JupyterLab on this machine's loopback")
    sub.add_argument("--port", type=words.port, help="default: 8888, or the next one that is free")
    verbs.add_parser("ignition", help="transpile, validate and migrate configs (see labkit ignition --help)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
