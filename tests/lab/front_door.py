"""``./lab`` as the tests call it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.client import RunningLab, connect
from labkit.state import State

FRONT_DOOR = Path(__file__).resolve().parents[2] / "lab"

LAB = """\
name: tests
network:
  subnet: 10.79.0.0/24
blades:
  - {name: blade1, boot: pxelinux}
  - {name: blade2, boot: ipxe}
  - {name: blade3, boot: ipxe}
"""


@dataclass(frozen=True)
class FrontDoor:
    """``./lab`` with a lab of the tests' own."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "LABKIT_LAB": str(self.folder / "lab.yaml"), "LABKIT_STATE": str(self.state)}

    def __call__(self, *words: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [FRONT_DOOR, *words], env=self.environment, cwd=self.folder, capture_output=True, text=True,
            timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def connect(self) -> RunningLab:
        return connect(self.folder / "lab.yaml", self.state)

    def leftovers(self, pids: Sequence[int] = ()) -> list[str]:
        """What of this lab is still on the machine: processes, network interfaces, mounts."""
        left = [f"process {pid}" for pid in pids if Path(f"/proc/{pid}").exists()]
        mark = os.fsencode(self.state)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if mark in words and int(process.name) != os.getpid():
                left.append(words.replace(b"\0", b" ").decode(errors="replace")[:200])
        left += [link.name for link in Path("/sys/class/net").iterdir() if link.name == f"lab{self._tag}"]
        left += [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.state) in line]
        return left

    @property
    def _tag(self) -> str:
        return State(self.state).tag


def new_front_door(folder: Path, text: str = LAB) -> FrontDoor:
    (folder / "lab.yaml").write_text(text)
    return FrontDoor(folder)
