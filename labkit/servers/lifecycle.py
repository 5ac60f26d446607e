"""Bringing a lab up and down from outside: what ``./lab up``, ``down`` and ``status`` do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from labkit import images
from labkit.errors import ControlError, DeniedError, FaultError, MachineError, NotUpError, on_file
from labkit.events.kept_inventories import told_mib
from labkit.images.build.tools import free_mib
from labkit.images.needs import ended_advice, least_mib, memory_advice
from labkit.lab import Lab, NetworkKind, certificates
from labkit.lab.process import control, rpc
from labkit.lab.state import State, owner_of, text_of, write_json, write_whole
from labkit.machines.host import memory, programs
from labkit.machines.host.sandbox import free_users
from labkit.machines.virtual import nat, network
from labkit.netboot import ports
from labkit.servers.parts import storage

Progress = Callable[[str], None]

LEAST_FREE_MIB = 200
READY_S = 120.0
TRUSTED = Path("/etc/docker/certs.d")
"""Where an engine looks for the authority of a registry: a folder for each, by its name."""
DOWN_S = 30.0
NOTE_S = 5.0


def up(lab: Lab, state: State, progress: Progress) -> bool:
    """Start a lab; False when it was up already.

    Needs root: for namespaces, privileged ports, and building images. Raises MachineError, ImageError or ControlError
    with the fix; a lab that did not come up leaves nothing behind.
    """
    running = control.status(state)
    if running is not None:
        if Path(running["lab"]) != lab.path:
            raise ControlError(
                f"another lab is up in {state.path}: {running['lab']}",
                fix="./lab down first, or choose another --state",
            )
        return False
    if os.geteuid() != 0:
        raise MachineError(
            "bringing a lab up needs root: it makes network namespaces and opens ports below 1024",
            fix="run it with sudo",
        )
    os.umask(0o022)  # what belongs to nobody but root is what we say so of, whatever the person's own habit
    programs.check_programs(lab)
    ports.check_stores(lab)
    short, fix = memory.shortage(lab, memory.available_mib(), least_mib(lab))
    if short:
        progress(f"not all blades can be on at once: {short}\n  fix: {fix}")
    for advice in (*memory_advice(lab, told_mib(state.inventory, lab.blades)), *ended_advice(lab)):
        progress(f"{advice.what}\n  fix: {advice.fix}")
    images.ensure_images(lab, progress=progress)
    for place, setting in ((state.path, "LABKIT_STATE"), (state.data, "LABKIT_DATA")):
        if free_mib(place) < LEAST_FREE_MIB:
            what = f"{free_mib(place):,} MiB are free for what the lab keeps, and {LEAST_FREE_MIB:,} are the least"
            raise MachineError(what, where=str(place), fix=f"make room there, or set {setting} to another place")
    with on_file(state.path):
        state.make()
        with _only_one(state, progress):
            if control.status(state) is not None:
                return False
            make_ssh_key(state)
            _remove_leftovers(state)
            _make_data(state)
            lacking = storage.ensure_stores(lab, state)
            if lacking:
                progress(lacking)
            if lab.network.kind is NetworkKind.INTERFACE:
                _trust_registry(lab, state, progress)
            progress("starting the lab's servers: network, boot server, engine, registry, chassis …")
            _start(lab, state)
    return True


def down(state: State, progress: Progress) -> bool:
    """End a lab and everything it started; False when nothing was there.

    Also clears up after a supervisor that was killed. Raises MachineError when something does not end.
    """
    pid = _supervisor_pid(state)
    asked = False
    try:
        if control.status(state) is not None:
            progress("stopping the lab …")
            rpc.call(state.control, "down", timeout_s=10)
            asked = True
    except DeniedError:
        raise
    except NotUpError:
        pass  # it went down by itself just now
    except ControlError as error:
        progress(f"{error.what}; ending it by force")
    if pid and not asked:
        _signal(pid, signal.SIGTERM)
    if pid and not _wait_gone(pid, DOWN_S):
        _signal(pid, signal.SIGKILL)
        if not _wait_gone(pid, 10):
            raise MachineError(f"the supervisor (process {pid}) does not end", fix=f"look at {state.logs}")
    left = _remove_leftovers(state)
    return asked or bool(pid) or left


def wait_for_end(state: State) -> bool:
    """Wait until a lab is down; False where it ended and nobody took it down, which leaves its note of itself."""
    if pid := _supervisor_pid(state):
        with contextlib.suppress(ProcessLookupError), os.fdopen(os.pidfd_open(pid)) as ended:
            select.select([ended], [], [])
    end = time.monotonic() + NOTE_S
    while state.pid.exists() and time.monotonic() < end:  # who ended it by force clears up a moment later
        time.sleep(0.05)
    return not state.pid.exists()


def clean(state: State, progress: Progress, *, keep: Collection[str] = ()) -> list[Path]:
    """Take the lab down and remove all it ever kept: its state and its data, with the swarm and the images in it.

    ``keep`` names what stays in the state folder. Returns the folders that were removed, or what was removed of them.
    Needs root where there are any. Raises MachineError.
    """
    inside = [path for path in state.path.iterdir() if path.name not in keep] if keep and state.path.is_dir() else []
    going = [path for path in (state.data, *(inside if keep else [state.path])) if path.exists()]
    if not going:
        return []
    if os.geteuid() != 0:
        raise MachineError("removing what a lab's servers keep needs root", fix="run it with sudo")
    down(state, progress)
    for path in (path for path in going if path.exists()):
        with on_file(path):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return going


def make_ssh_key(state: State) -> None:
    """The lab's own SSH key, made once. Raises MachineError for one that is damaged."""
    public = state.ssh_key.with_suffix(".pub")
    if state.ssh_key.exists():
        if not text_of(public).startswith("ssh-"):
            write_whole(public, _keygen(state.ssh_key, "-y", "-P", ""))
        return
    public.unlink(missing_ok=True)
    _keygen(state.ssh_key, "-q", "-t", "ed25519", "-N", "", "-C", "labkit")
    for path in (state.ssh_key, public):
        os.chown(path, *owner_of(state.keys))


def _keygen(key: Path, *words: str) -> str:
    command = ["ssh-keygen", *words, "-f", str(key)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        fix = "remove it: the next ./lab up makes another one, which blades know from their next boot on"
        raise MachineError("this key is damaged, or cannot be written", where=str(key), fix=fix)
    return done.stdout


def _make_data(state: State) -> None:
    """Have the folder of what the parts keep. It belongs to this state folder: another of its path is not the same."""
    mark, note = state.path / "id", state.data / "id"
    if state.data.exists() and text_of(mark) != text_of(note):
        if mark.exists() or state.events.exists():
            what = f"this file is damaged, or the swarm and the images in {state.data} are another lab's"
            good, bad = (note, mark) if note.exists() else (mark, note)
            fix = f"if they are this lab's: rm -rf {bad}; cp {good} {bad}; if not, ./lab clean removes them"
            raise MachineError(what, where=str(bad), fix=fix)
        shutil.rmtree(state.data)  # somebody deleted the state folder, and this with it
    state.data.mkdir(parents=True, exist_ok=True)
    if not note.exists():
        write_whole(mark, f"{time.time_ns():x}\n")
        write_whole(note, text_of(mark))


def _trust_registry(lab: Lab, state: State, progress: Progress) -> None:
    """Let this machine's own engine know the lab's authority, for what the lab serves alone; `down` takes it back."""
    targets = [TRUSTED / host / "ca.crt" for host in (lab.network.registry, lab.mirror) if host]
    write_json(state.trusted, {"files": [str(target) for target in targets]})
    for target in targets:
        progress(f"letting this machine's Docker trust what the lab serves: {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(certificates.ensure_ca(state).certificate.read_bytes())


def _distrust_registry(state: State) -> bool:
    try:
        targets = [Path(name) for name in json.loads(state.trusted.read_text())["files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    targets = [target for target in targets if target.parent.parent == TRUSTED]  # the note is its owner's, and we root
    for target in targets:
        target.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody else's file is beside it
            target.parent.rmdir()
    state.trusted.unlink()
    return True


# --- the supervisor's process -----------------------------------------------------------------------------------------


def _start(lab: Lab, state: State) -> None:
    virtual = lab.network.kind is NetworkKind.VIRTUAL
    ready_read, ready_write = os.pipe()
    host_net = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    # unshare stays as the parent outside the process namespace: its pid is the one this machine knows the lab by.
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["--net"] if virtual else []
    command += [
        sys.executable,
        "-P",
        "-m",
        "labkit.servers.supervisor",
        "--lab",
        str(lab.path),
        "--state",
        str(state.path),
    ]
    command += ["--ready", str(ready_write), "--host-net", str(host_net)]
    command += ["--users", str(free_users(int(state.tag, 16)).first)]
    log_path = state.logs / "supervisor.log"
    with log_path.open("ab") as log:
        os.chown(log_path, *owner_of(state.path))
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[ready_write, host_net],
            start_new_session=True, cwd="/",
        )  # fmt: skip
    os.close(ready_write)
    os.close(host_net)
    try:
        write_json(state.pid, {"pid": process.pid, "started": _start_time(process.pid)})
        if virtual:
            _wait_unshared(process.pid)
            network.make_way_in(lab, state.tag, process.pid)
            if lab.network.internet:
                nat.open_way_out(network.host_link(state.tag), state.tag, lab.network.subnet)
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
        word = _read_word(ready_read, log_path)
        if not word["ok"]:
            kind = FaultError if word.get("status") == FaultError.status else MachineError
            raise kind(word["what"], where=word.get("where", ""), fix=word.get("fix", ""))
    except BaseException:  # also Ctrl-C: a lab that is half up must not stay
        process.kill()
        process.wait()
        _remove_leftovers(state)
        raise
    # Nobody waits for it from here on; it belongs to init once this command has ended.
    process.returncode = 0


def _read_word(descriptor: int, log_path: Path) -> dict[str, Any]:
    with os.fdopen(descriptor) as stream:
        if not select.select([stream], [], [], READY_S)[0]:
            raise MachineError(f"the lab was not up within {READY_S:g} s", where=str(log_path))
        line = stream.readline()
    if not line:
        raise MachineError(f"the supervisor ended: {log_path.read_text()[-600:].strip()}", where=str(log_path))
    word = json.loads(line)
    assert isinstance(word, dict)
    return word


def _wait_unshared(pid: int) -> None:
    """Until unshare(1) has made its namespaces, a process is still in ours."""
    ours = os.readlink("/proc/self/ns/net")
    for _ in range(500):
        try:
            if os.readlink(f"/proc/{pid}/ns/net") != ours:
                return
        except OSError:
            break
        time.sleep(0.01)
    raise MachineError("the kernel did not give the lab its namespaces", fix="run it as root outside a container")


def _start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: field 22 of /proc/PID/stat (proc(5)); 0 when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


def _supervisor_pid(state: State) -> int:
    """The process id of a supervisor that still runs, 0 otherwise."""
    try:
        noted = json.loads(state.pid.read_text())
        pid, started = int(noted["pid"]), int(noted["started"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return pid if pid > 1 and _start_time(pid) == started else 0


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise MachineError("taking the lab down needs root", fix="run it with sudo") from None


def _wait_gone(pid: int, timeout_s: float) -> bool:
    started = _start_time(pid)
    end = time.monotonic() + timeout_s
    while started and _start_time(pid) == started:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _remove_leftovers(state: State) -> bool:
    """What a lab that is no more has left: the host's end of the way in, sockets, an engine's trust, what its parts
    needed while they ran. True when any was there.
    """
    if os.geteuid() == 0:
        nat.close_way_out(network.host_link(state.tag), state.tag)
    found = network.remove_way_in(state.tag)
    if os.geteuid() == 0:
        for folder in (state.roots, state.data / "chassis", *state.data.glob("bmc*")):
            shutil.rmtree(folder, ignore_errors=True)
        for log in state.logs.glob("*"):
            os.chown(log, *owner_of(state.path), follow_symlinks=False)
    found = _distrust_registry(state) or found
    if state.run.is_dir():
        for path in state.run.iterdir():
            if path.name != LOCK:
                path.unlink()
                found = True
    return found


LOCK = "up.lock"


@contextlib.contextmanager
def _only_one(state: State, progress: Progress) -> Iterator[None]:
    """Hold the state folder's lock, so that two commands at once do not bring up two labs; waits for the other."""
    with (state.run / LOCK).open("w") as file:
        os.chown(state.run / LOCK, *owner_of(state.path))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another command is bringing this lab up; waiting for it …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
