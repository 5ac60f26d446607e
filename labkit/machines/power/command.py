"""Power by a program of one's own, as for smart plugs and power strips. No shell reads its words."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Sequence

from labkit.errors import PowerError
from labkit.lab import Bmc
from labkit.machines.power import ways

WORDS = {"on": "on", "1": "on", "true": "on", "off": "off", "0": "off", "false": "off"}
"""What a command may print for a blade's state, in any case, alone or before further words."""
TOLD = 300


def press(blade: str, bmc: Bmc, state: str, *, timeout_s: float) -> None:
    """Run ``bmc.on`` or ``bmc.off``. Raises PowerError naming the command, with its last words."""
    _run(blade, bmc, bmc.off if state == "off" else bmc.on, timeout_s)


def ask(blade: str, bmc: Bmc, *, timeout_s: float) -> str:
    """``on`` or ``off``, as ``bmc.state`` prints it. Raises PowerError."""
    printed = _run(blade, bmc, bmc.state, timeout_s).split()
    found = WORDS.get(printed[0].lower()) if printed else None
    if found is None:
        said = " ".join(printed)[:TOLD] or "nothing"
        raise _failed(blade, bmc, bmc.state, f"printed {said!r} and not on or off", "let it print one of the two")
    return found


def _run(blade: str, bmc: Bmc, words: Sequence[str], timeout_s: float) -> str:
    """What a command prints. What it started ends with it, when its time is up."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        what = f"cannot be run: {error.strerror}"
        raise _failed(blade, bmc, words, what, "a path with a slash starts from lab.yaml's folder") from None
    with process:
        try:
            out, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            what = f"did not end within {timeout_s:g} s"
            raise _failed(blade, bmc, words, what, "try it in a terminal") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        said = " ".join((errors or out).split())[-TOLD:] or "nothing"
        what = f"ended with status {process.returncode} and said: {said}"
        raise _failed(blade, bmc, words, what, "try it in a terminal")
    return out


def _failed(blade: str, bmc: Bmc, words: Sequence[str], what: str, fix: str) -> PowerError:
    return PowerError(f"the command '{shlex.join(words)}' {what}", where=ways.where(blade, bmc), fix=fix)
