"""A word with a running blade over SSH, with the lab's own key, as ``./lab ssh`` has it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from labkit.lab import Blade
from labkit.lab.state import State
from labkit.swarm.observe.usage import Measured, read_measured

WAIT_S = 8.0
AT_ONCE = 16
MEASURE = "cat /proc/loadavg /proc/meminfo"


def ssh_command(state: State, blade: Blade) -> list[str]:
    """The command, without what is to be run there. It is to be run in the key's folder: ssh(1) reads more than a path
    into a key's name, such as ``%d`` and ``${HOME}``, so it is told a plain one.

    A diskless blade makes its host key anew at each boot, so remembering it would only raise false alarms.
    """
    options = ("IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    words = [word for option in (*options, "ConnectTimeout=10") for word in ("-o", option)]
    return ["ssh", "-i", state.ssh_key.name, *words, f"core@{blade.address}"]


def measure(state: State, blades: Sequence[Blade]) -> dict[str, Measured]:
    """What these blades measure, asked all at once; one that does not answer within `WAIT_S` is left out."""

    def ask(blade: Blade) -> Measured | None:
        host, command = f"core@{blade.address}", ssh_command(state, blade)
        try:
            told = subprocess.run(
                [*command[:-1], "-o", "BatchMode=yes", host, MEASURE], cwd=state.ssh_key.parent, timeout=WAIT_S,
                stdin=subprocess.DEVNULL, capture_output=True, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return read_measured(told.stdout.decode(errors="replace"))

    if not blades:
        return {}
    with ThreadPoolExecutor(min(len(blades), AT_ONCE)) as pool:
        found = zip(blades, pool.map(ask, blades), strict=True)
        return {blade.name: measured for blade, measured in found if measured is not None}
