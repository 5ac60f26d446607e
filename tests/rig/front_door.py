"""``./lab`` as the tests call it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labkit.lab.state import State
from labkit.servers.client import RunningLab, connect

from .person import Person

FRONT_DOOR = Path(__file__).resolve().parents[2] / "lab"

LAB = """\
name: tests
network:
  subnet: 10.79.0.0/24
  tls: true
storage:
  share: true
blades:
  - {name: blade1, boot: pxelinux}
  - {name: blade2, boot: ipxe, firmware: uefi}
  - {name: blade3, boot: lpxelinux}
"""


@dataclass(frozen=True)
class FrontDoor:
    """``./lab`` with a lab of the tests' own; ``prefix`` is what runs it somewhere else, or as ``person``."""

    folder: Path
    prefix: tuple[str, ...] = ()
    person: Person | None = None

    @property
    def root(self) -> Path:
        """The checkout that is used."""
        return self.person.clone if self.person is not None else FRONT_DOOR.parent

    @property
    def script(self) -> Path:
        return self.root / "lab"

    def own(self, name: str) -> None:
        """What tests have put into the folder under a name belongs to who uses it; the rest is the lab's."""
        if self.person is not None:
            self.person.own(self.folder / name)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def copies(self) -> Path:
        """The notebooks that ``./lab workbook`` opens."""
        return self.state / "workbook"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "LABKIT_LAB": str(self.folder / "lab.yaml"), "LABKIT_STATE": str(self.state)}

    def __call__(self, *words: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.prefix, self.script, *words], env=self.environment, cwd=self.folder, capture_output=True, text=True,
            timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, *words: str, stderr: int | None = None) -> subprocess.Popen[str]:
        """Begin it in a session of its own, with its output to be read."""
        return subprocess.Popen(
            [*self.prefix, self.script, *words], env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
        )  # fmt: skip

    def papermill(
        self, chapter: str, cwd: Path, notebooks: str, *parameters: str, timeout_s: float = 600, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Plain papermill, from a folder, on a chapter in the folder ``notebooks``; parameters are ``NAME=VALUE``.

        An empty value in ``environment`` takes the variable away.
        """
        words = [word for parameter in parameters for word in ("-p", *parameter.split("=", 1))]
        merged = {**self.environment, **environment}
        files = [f"{notebooks}/{chapter}.ipynb", str(self.folder / f"{chapter}.out.ipynb")]
        return subprocess.run(
            [*self.prefix, self.root / ".venv/bin/papermill", "--no-progress-bar", *files, *words],
            env={name: value for name, value in merged.items() if value}, cwd=cwd, capture_output=True, text=True,
            timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def up(self) -> RunningLab:
        """The lab, once it is up."""
        done = self("up")
        assert done.returncode == 0, done.stdout + done.stderr
        return self.connect()

    def connect(self) -> RunningLab:
        return connect(self.folder / "lab.yaml", self.state)

    def supervisor(self) -> list[int]:
        """The process ids of unshare(1) and of the supervisor itself."""
        return [pid for pid, words in self._processes() if b"labkit.servers.supervisor" in words]

    def leftovers(self) -> list[str]:
        """What of this lab is still on the machine: processes, network interfaces, mounts.

        A process that has ended and waits for this machine's init to notice has no command line any more.
        """
        left = [words.replace(b"\0", b" ").decode(errors="replace")[:200] for _, words in self._processes()]
        left += [link.name for link in Path("/sys/class/net").iterdir() if link.name == f"lab{self._tag}"]
        left += [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.state) in line]
        return left

    def _processes(self) -> list[tuple[int, bytes]]:
        """The processes whose command line names this lab's state folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
            except OSError:  # it ended while we looked
                continue
            if os.fsencode(self.state) in words and int(process.name) != os.getpid():
                found.append((int(process.name), words))
        return found

    @property
    def _tag(self) -> str:
        return State(self.state).tag


@contextmanager
def new_lab(folder: Path, text: str = LAB, person: Person | None = None) -> Iterator[FrontDoor]:
    """A lab that nobody has brought up yet, taken down whatever happens; of root's, or of somebody else's."""
    (folder / "lab.yaml").write_text(text)
    door = FrontDoor(folder, person.prefix if person is not None else (), person)
    door.own("lab.yaml")
    try:
        yield door
    finally:
        door("down", timeout_s=60)
