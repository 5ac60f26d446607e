"""Every verb with what nobody should give it: a sentence with its fix, a status that means something, no traceback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from labkit import events
from labkit.cli import commands, diagnosis
from labkit.errors import ControlError, DeniedError, FaultError, FileError, NotUpError, on_file
from labkit.lab.process import faults, rpc
from labkit.servers import client

LAB = "blades: [{name: blade1}, {name: blade2}]\n"
VERBS = (
    "up", "up --enable",
    "down", "status", "status --json", "run", "replay", "explain blade1", "power status", "power on blade1",
    "console blade1", "console blade1 --log", "ssh blade1", "events", "events blade1 --json", "doctor",
    "rehearse blade1", "why blade1", "boot-report", "swarm", "swarm nodes", "swarm prune", "swarm managers",
    "swarm admit blade1", "swarm roll", "swarm roll --dry-run --json", "swarm logs web", "swarm top", "docker ps",
    "docker-env", "swarm deploy stack.yaml",
    "forget blade1 --dry-run", "disk wipe blade1", "disk keep blade1",
    "swarm recover", "swarm move", "swarm backup b", "swarm restore b", "swarm gc", "swarm export web out",
    "images", "workbook", "clean --yes",
)  # fmt: skip


class Place:
    """A folder with a lab in it, and labkit called there without a process of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.lab = folder / "lab.yaml"
        self.state = folder / ".lab"
        self.capsys = capsys
        self.lab.write_text(LAB)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = commands.main(["--lab", str(self.lab), *words])
        said = self.capsys.readouterr()
        return status, said.out, said.err

    def refuses(self, *words: str) -> str:
        """What is said; it has a fix, the status of an error or a mistake, and nothing of Python's."""
        status, out, err = self(*words)
        assert status in (1, 2), f"{words}: {status} {out}{err}"
        assert "Traceback" not in out + err
        assert "fix: " in err, f"{words}: {out}{err}"
        return err


@pytest.fixture
def place(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        for name in ("LABKIT_LAB", "LABKIT_STATE", "JUPYTER_RUNTIME_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(threading, "excepthook", threading.excepthook)

        def become(*words: object) -> None:
            raise AssertionError(f"{words} was run in our place")

        monkeypatch.setattr(commands, "_parser", cache(commands._parser))  # a test may call every verb
        for name in ("execv", "execvp"):
            monkeypatch.setattr(os, name, become)
        yield Place(Path(folder), capsys)


# --- the lab file -----------------------------------------------------------------------------------------------------

LAB_FILES: dict[str, tuple[str, str]] = {
    "missing": ("rm lab.yaml", "there is no such file"),
    "empty": (": > lab.yaml", "the file is empty"),
    "broken": ("echo 'blades: [' > lab.yaml", "lab.yaml:2:1: "),
    "a list": ("echo '- 1' > lab.yaml", "lab.yaml:1:1: "),
    "a folder": ("rm lab.yaml; mkdir lab.yaml", "directory"),
    "no text": ("printf '\\377\\376\\0name' > lab.yaml", "lab.yaml:1:1: "),
    "a device": ("ln -sf /dev/zero lab.yaml", "larger than 1 MiB"),
    "a link to itself": ("rm lab.yaml; ln -s lab.yaml lab.yaml", "lab.yaml:1:1: "),
}
"""How a lab file gets wrong, for a shell in its folder, and what is said."""


@pytest.mark.parametrize("kind", LAB_FILES)
def test_what_is_wrong_with_the_lab_file_is_said(place: Place, kind: str) -> None:
    damage, said = LAB_FILES[kind]
    subprocess.run(["sh", "-c", damage], cwd=place.folder, check=True)
    for verb in VERBS:
        assert said in place.refuses(*verb.split()), verb


def test_an_empty_name_is_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is empty" in place.refuses("--state", "", "status")
    monkeypatch.setenv("LABKIT_LAB", "")
    monkeypatch.setenv("LABKIT_STATE", "")
    assert client.find_lab() == place.lab.resolve()
    assert client.find_state(place.lab).path == place.state


# --- what is given ----------------------------------------------------------------------------------------------------

MISTAKES = (
    "", "nothing", "--lab", "events blade9", "explain blade9", "why blade9", "boot-report blade1 blade9", "explain",
    "boot-report --svg /nope/x.svg", "boot-report --svg /", "boot-report --svg /dev/full",
    "explain blade1 --tree /dev/null/x", "explain blade1 --tree /proc/x", "explain blade1 --tree lab.yaml",
    "workbook --port 80000", "workbook --port 0", "workbook --port -1", "workbook --port x", "workbook --port 1e3",
    "workbook --port 99999999999999999999", "replay --speed -1", "replay --speed nan", "replay --speed inf",
    "replay --speed 1e-300", "replay --speed x", "replay nope", "replay /", "replay --runs /nope",
    "replay --runs lab.yaml",
    "run -p x", "run -p port=abc", "run -p port=99999999999999999999", "run -p nothing=1", "run -p blades=[\"blade9\"]",
    "run --compare a b", "run --compare a", "images burn", "power", "power fly", "power on blade9",
    "power on --json", "power status --json --dry-run", "console", "ssh",
    "rehearse", "rehearse blade1 --firmware x", "swarm burn", "swarm backup", "swarm backup /nope/x",
    "swarm restore /nope",
    "swarm restore /", "swarm export web", "swarm admit", "swarm roll --parallel 0",
    "swarm roll --parallel x", "swarm roll blade9", "swarm logs", "swarm logs web --tail x",
    "swarm logs web --replica 0",
    "swarm top blade1", "swarm deploy", "swarm deploy --name x",
    "swarm managers --none blade1", "up --port", "ignition",
    "up --dry-run", "up --enable --disable", "up --at-boot --dry-run",
    "ignition burn", "ignition transpile /nope", "ignition validate /", "ignition explain /proc/self/mem",
    "ignition migrate /nope/x", "ignition explain --diff /nope lab.yaml", "ignition transpile -o /nope/x good.bu",
    "clean", "clean --no",
    "adopt", "adopt --all 52:54:00:12:34:56", "adopt x", "adopt ff:ff:ff:ff:ff:ff", "adopt 52:54:00:12:34:56 --slot 0",
    "adopt 52:54:00:12:34:56 --slot 1", "adopt 52:54:00:12:34:56 --slot 51", "adopt 52:54:00:12:34:56 --name blade1",
    "adopt 52:54:00:12:34:56 --name B", "adopt 52:54:00:12:34:56 --bmc 10.77.0.11", "adopt --all --name x",
    "adopt --all --slot 1", "adopt --all --bmc 10.77.0.201", "adopt 52:54:00:12:34:56 --name a --prefix b",
    "adopt 52:54:4d:00:01", "forget", "forget blade9", "machines blade1",
    "export", "export bind9", "export matchbox", "export matchbox --to lab.yaml", "export nginx --to /proc/x",
    "export dnsmasq --files srv", "export nginx --files /srv/$x", "explain blade1 --every-firmware",
)  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_said_with_its_fix(place: Place, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.folder / "good.bu").write_text("variant: flatcar\nversion: 1.1.0\n")
    if words.startswith("ignition"):
        status = commands.main(words.split())
        said = place.capsys.readouterr()
        assert status in (1, 2) and "Traceback" not in said.err and "fix: " in said.err, said
    else:
        place.refuses(*words.split())


@pytest.mark.parametrize("target", ["{}", "{}/missing/x.svg", "/dev/full"])
def test_where_nothing_can_be_written_is_named(place: Place, target: str) -> None:
    target = target.format(place.folder)
    assert target in place.refuses("boot-report", "--svg", target)


def test_a_port_that_is_taken_is_said_before_it_is_printed(place: Place) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert f"port {port}: Address already in use" in place.refuses("workbook", "--port", port)


def test_a_blade_that_nothing_happened_to_is_a_blade_all_the_same(place: Place) -> None:
    assert place("events", "blade1") == (0, "", f"nothing has happened yet to blade1 in {place.state}\n")


# --- the state folder -------------------------------------------------------------------------------------------------

STATES = {
    "a file": "echo x > .lab",
    "a link to itself": "ln -s .lab .lab",
    "a folder of files": "mkdir .lab; touch .lab/run .lab/keys .lab/logs",
    "events that are none": "mkdir .lab; printf '\\377\\n{}\\n' > .lab/events.jsonl",
    "events that are a folder": "mkdir -p .lab/events.jsonl",
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_folder_that_is_none_ends_in_a_sentence(place: Place, kind: str) -> None:
    subprocess.run(["sh", "-c", STATES[kind]], cwd=place.folder, check=True)
    for verb in (*VERBS, "machines", "adopt --all", "adopt 52:54:00:12:34:56 --dry-run"):
        if verb.split()[0] in ("up", "run", "workbook", "doctor", "clean"):  # these would go on and start something
            continue
        status, out, err = place(*verb.split())
        assert status in (0, 1, 2), f"{verb}: {err}"
        assert "Traceback" not in out + err
        assert status == 0 or any(word in out + err for word in ("fix: ", "next: ", "up")), f"{verb}: {out}{err}"


# --- faults of ours ---------------------------------------------------------------------------------------------------


def fail(*_: object) -> int:
    raise RuntimeError("two\nlines")


@pytest.mark.parametrize("there", [True, False])
def test_a_fault_of_ours_is_a_sentence_and_a_file(place: Place, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(diagnosis, "tell_events", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(place.folder))
    if there:
        (place.state / "logs").mkdir(parents=True)
    status, out, err = place("events", "blade1")
    assert (status, out) == (os.EX_SOFTWARE, "")
    what, fix = err.splitlines()
    assert what.startswith("labkit has a fault of its own: RuntimeError: two lines (test_commands.py, line ")
    (kept,) = (place.state / "logs" if there else place.folder).glob("*fault-*.txt")
    assert fix == f"  fix: the details are in {kept}: please report the fault with that file"
    text = kept.read_text()
    assert "Traceback" in text and "events" in text and "Python 3." in text
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_fault_that_cannot_be_written_down_is_told_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "tell_events", fail)
    monkeypatch.setattr(tempfile, "tempdir", "/nope")
    assert "details could not be written down" in place("events")[2]


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("password=hunter2", "password=…"),
        ("--token=x", "--token=…"),
        ("API_KEY=x", "API_KEY=…"),
        ("https://me:hunter2@host/", "https://me:hunter2@…"),
        ("replicas=2", "replicas=2"),
    ],
)
def test_no_secret_is_written_down(word: str, kept: str) -> None:
    said = faults._without_secret(word)
    assert said == kept or ("hunter2" in word and "hunter2" not in said)


def test_a_fault_in_a_thread_is_told_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(_: object) -> int:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        return 0

    monkeypatch.setattr(diagnosis, "tell_events", begin)
    monkeypatch.setattr(tempfile, "tempdir", str(place.folder))
    assert place("events")[2].startswith("labkit has a fault of its own: RuntimeError")


def labkit(place: Place, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """labkit in a process of its own, as a shell starts it."""
    root = str(Path(commands.__file__).parents[2])
    return subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, cwd=place.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root, "P": sys.executable, **environment},
    )  # fmt: skip


def test_output_that_nobody_takes_ends_it_quietly(place: Place) -> None:
    explain = "$P -m labkit explain blade1"
    done = labkit(place, f"{explain} | true; {explain} >&-; {explain} <&- >&- 2>&-")
    assert done.stderr == ""


def test_a_file_that_took_the_place_of_a_closed_output_is_not_written_to(place: Place) -> None:
    (place.folder / "taken").write_text("kept\n")
    script = (
        "import os, sys; os.open('taken', os.O_RDWR); from labkit.lab.process import faults; "
        "sys.exit(faults.guard(lambda: print('said'), [], lambda: None))"
    )
    done = labkit(place, f'$P -c "{script}" >&-')
    assert (done.returncode, done.stderr) == (0, "")
    assert (place.folder / "taken").read_text() == "kept\n"


def test_a_full_disk_is_told(place: Place) -> None:
    done = labkit(place, "$P -m labkit explain blade1 >/dev/full", LC_ALL="C", TERM="dumb", HOME="/nope")
    assert (done.returncode, done.stderr) == (
        1, "No space left on device\n  fix: make room there, or name another place\n",
    )  # fmt: skip


# --- a lab that is up, or looks like it -------------------------------------------------------------------------------


@pytest.fixture
def control(place: Place) -> Iterator[socket.socket]:
    """Somebody listens where a supervisor does, and never answers."""
    (place.state / "run").mkdir(parents=True)
    with rpc.listen(place.state / "run/control.sock") as sock:
        yield sock


def test_not_there_left_over_silent_and_shut_are_told_apart(place: Place, control: socket.socket) -> None:
    path = place.state / "run/control.sock"
    with pytest.raises(ControlError, match="no answer to 'status' within") as silent:
        rpc.call(path, "status", timeout_s=0.01)
    assert not isinstance(silent.value, NotUpError) and "./lab down" in silent.value.fix
    control.close()
    with pytest.raises(NotUpError, match="not up any more"):
        rpc.call(path, "status")
    path.unlink()
    with pytest.raises(NotUpError, match="is not up\n"):
        rpc.call(path, "status")
    with pytest.raises(NotUpError, match="no lab's state folder"):
        rpc.call(place.lab / "run/control.sock", "status")


def test_who_may_not_open_the_socket_hears_whose_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", shut)
    with pytest.raises(DeniedError):
        rpc.call(place.state / "run/control.sock", "status")
    for verb in ("status", "power status", "why blade1", "swarm", "down", "rehearse blade1", "console blade1 --log"):
        said = place.refuses(*verb.split())
        assert "may not speak to this lab" in said and "belongs to" in said and "not up" not in said, verb


def test_a_fault_in_an_answer_is_an_answer(place: Place) -> None:
    with pytest.raises(ControlError, match="a fault of its own"):
        rpc._answer("status", Path("x"), json.dumps({"ok": False, "what": "a fault of its own"}).encode())


# --- errors of the system ---------------------------------------------------------------------------------------------


def test_the_systems_word_on_a_file_is_ours_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught, on_file(tmp_path / "x"):
        (tmp_path / "x/y").write_text("")
    what, fix = str(caught.value).splitlines()
    assert what == f"{tmp_path}/x/y: No such file or directory"
    assert fix == "  fix: make the folder first, or correct the name"
    assert not FileError.tells(ConnectionRefusedError(111, "refused"))
    assert isinstance(faults.named(OSError(5, "x"), [], lambda: tmp_path), FaultError)


def test_a_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"v": 1, "kind": "lab", "seq": 1, "state": "up"}\n\xff\xfe\n')
    with pytest.raises(FileError, match="not an event"):
        list(events.read(path))
