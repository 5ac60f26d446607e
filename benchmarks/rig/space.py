"""A place to measure in: namespaces of our own, where nothing reaches another machine and nothing is left behind.

A benchmark runs itself anew within new network, mount and process namespaces; when it ends, for whatever reason, the
kernel ends every server it started.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
INSIDE = "LABKIT_BENCHMARK_INSIDE"
SERVER = "10.77.0.1"
BLADES = 30
LAB = "blades:\n" + "".join(f"  - name: blade{number}\n" for number in range(1, BLADES + 1)) + "boot: pxelinux\n"
"""A lab file whose blades are where `addresses_on_loopback` puts them."""


def enter() -> None:
    """Go on in namespaces of our own; returns there."""
    if os.environ.get(INSIDE):
        return
    if os.geteuid() != 0:
        sys.exit("this needs root: it makes network namespaces and opens ports below 1024")
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    os.environ[INSIDE] = "1"
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


def run(*words: str) -> str:
    """The output of a command. Ends the benchmark when it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def addresses_on_loopback() -> None:
    """Ours and one for each of up to nine peers, and one a blade, all on loopback."""
    run("ip", "link", "set", "lo", "up")
    for number in (*range(1, 11), *range(11, 11 + BLADES)):
        run("ip", "address", "add", f"10.77.0.{number}/24", "dev", "lo")


def compile_c(name: str) -> Path:
    """The program of a C file beside this module, built where it is not yet or no longer there."""
    source = Path(__file__).with_name(f"{name}.c")
    program = ROOT / "build" / "benchmarks" / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        if shutil.which("cc") is None:
            sys.exit("there is no C compiler; as root: apt-get install gcc libc6-dev")
        program.parent.mkdir(parents=True, exist_ok=True)
        run("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source))
    return program


@contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory that everybody may read, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="labkit-benchmark-", dir="/dev/shm") as name:
        Path(name).chmod(0o755)
        yield Path(name)


class Meter:
    """CPU seconds of a server and of all it forks, from a control group of its own (version 1 or 2)."""

    def __init__(self, name: str) -> None:
        group = f"labkit-benchmark-{os.environ[INSIDE]}-{time.monotonic_ns()}-{name}"
        for base, file, unit in (("", "cpu.stat", 1e-6), ("cpuacct", "cpuacct.usage", 1e-9)):
            self.path, self._file, self._unit = Path("/sys/fs/cgroup", base, group), file, unit
            try:
                self.path.mkdir()
            except OSError:
                continue
            if (self.path / file).exists():
                return
            self.path.rmdir()
        sys.exit("no control group can be made below /sys/fs/cgroup: the CPU time of servers cannot be told")

    def cpu_s(self) -> float:
        """CPU seconds so far, system and user."""
        words = (self.path / self._file).read_text().split()
        return float(words[words.index("usage_usec") + 1] if "usage_usec" in words else words[0]) * self._unit

    def enter(self) -> None:
        """Put the calling process into the group."""
        (self.path / "cgroup.procs").write_text("0")

    def close(self) -> None:
        """Remove the group, once all its processes are gone."""
        until = time.monotonic() + 10
        while True:
            try:
                self.path.rmdir()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)


class Server:
    """A running server with its meter."""

    def __init__(self, name: str, words: Sequence[str], *, cwd: Path | None = None, log: Path | None = None) -> None:
        self.name, self._meter = name, Meter(name)
        self._log = (log or Path(os.devnull)).open("wb")
        self._process = subprocess.Popen(
            words, cwd=cwd, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL,
            preexec_fn=self._meter.enter, start_new_session=True,
        )  # fmt: skip

    def cpu_s(self) -> float:
        return self._meter.cpu_s()

    def pin(self, cores: set[int]) -> None:
        """Let all its threads run on these cores only."""
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def wait_ready(self, is_ready: Callable[[], bool], within_s: float = 20) -> None:
        """Until it answers. Ends the benchmark when it does not."""
        until = time.monotonic() + within_s
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{self.name} does not start: {self._process.args!r}")
            time.sleep(0.05)

    def close(self) -> None:
        """End the server with everything it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass
            try:
                self._process.wait(3)
                break
            except subprocess.TimeoutExpired:
                continue
        for left in (self._meter.path / "cgroup.procs").read_text().split():
            os.kill(int(left), signal.SIGKILL)
        self._meter.close()
        self._log.close()


def python() -> Path:
    """The Python in which labkit is installed."""
    found = ROOT / ".venv" / "bin" / "python"
    if not found.exists():
        sys.exit("labkit itself is not installed yet: ./lab setup")
    return found


def ours(lab: Path, state: Path, files: Path, how: str = "loopback") -> Server:
    """labkit's boot server over a folder of files, see `ours.py`; what it says goes to a file beside the state."""
    program = Path(__file__).with_name("ours.py")
    log = state.with_name("ours.log")
    return Server("labkit", [str(python()), str(program), *map(str, (lab, state, files, how))], log=log)


def hears_udp(address: str, port: int) -> bool:
    """Whether somebody has this port: nothing comes back to a datagram but a refusal where nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        sock.settimeout(0.05)
        try:
            sock.send(b"\0\5\0\0ready?\0")  # a TFTP error, which nobody may answer
            sock.recv(600)
        except TimeoutError:
            return True
        except ConnectionRefusedError:
            return False
        return True


def accepts_tcp(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True
