"""Running the programs that build images, so that nothing of them is left when the building stops."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from labkit.errors import ImageError, MachineError

PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "unsquashfs": "squashfs-tools",
    "gpgv": "gpgv",
}
"""What having images needs, and the Debian package each program comes from."""

BUILDING = ("mmdebstrap", "mksquashfs", "unshare", "setpriv")

FULL = os.strerror(errno.ENOSPC)


def check_tools() -> None:
    """Raise MachineError when images cannot be built on this machine, with what to do about it."""
    if os.geteuid() != 0:
        raise MachineError(
            "building images needs root: packages are unpacked with their owners", fix="run it with sudo"
        )
    check_programs(BUILDING)


def check_programs(programs: Sequence[str]) -> None:
    """Raise MachineError when some of `PACKAGES` are not installed, with what to do about it."""
    missing = sorted(program for program in programs if shutil.which(program) is None)
    if missing:
        packages = " ".join(sorted({PACKAGES[program] for program in missing}))
        raise MachineError(
            f"not installed: {', '.join(missing)}",
            fix=f"./lab setup, or apt-get install --no-install-recommends {packages}",
        )


def run_tool(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run a program to its end and return what it said.

    Raises ImageError with the program's last lines when it fails, and OSError (ENOSPC) when the disk is full.
    """
    status, said = run_to_end(command, environment=environment, keep_open=keep_open, on_line=on_line)
    if status != 0:
        if any(FULL in line for line in said):
            raise OSError(errno.ENOSPC, FULL)
        raise ImageError(f"{command[0]} failed:\n    " + "\n    ".join([*said][-12:]), fix=_advice(said))
    return "\n".join(said)


def run_to_end(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    on_line: Callable[[str], None] | None = None,
    limit_s: float | None = None,
) -> tuple[int, Sequence[str]]:
    """Run a program; its exit status as a shell counts it (128 and more for a signal) and the last lines it said.

    It runs in mount and PID namespaces of its own, which end with it, with this process, or with an exception here: no
    mount and no process is left behind. ``keep_open`` are file descriptors it inherits. It is killed after ``limit_s``.
    """
    wrapped = [*("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"), *command]
    said: deque[str] = deque(maxlen=2000)
    process = subprocess.Popen(
        wrapped,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        pass_fds=tuple(keep_open),
        start_new_session=True,  # Ctrl-C is ours to handle
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    limit = threading.Timer(limit_s or 0, process.kill)
    with process.stdout:
        try:
            if limit_s is not None:
                limit.start()
            for line in process.stdout:
                said.append(line.rstrip())
                if on_line is not None:
                    on_line(said[-1])
        except BaseException:
            process.kill()
            process.stdout.read()  # ends when the last of its children has ended
            process.wait()
            raise
        finally:
            limit.cancel()
    status = process.wait()
    return (status if status >= 0 else 128 - status), said


def _advice(said: Sequence[str]) -> str:
    text = "\n".join(said)
    if "Could not resolve" in text or "Could not connect" in text or "Failed to fetch" in text:
        return "Debian's archive cannot be reached: check the network, and http_proxy if there is a proxy"
    if "NO_PUBKEY" in text or "keyring" in text:
        return "Debian's keys are missing: apt-get install debian-archive-keyring"
    return "the lines above say what is wrong; nothing half-made was left, so simply try again"


@contextmanager
def full_disk_named(folder: Path, need_mib: int) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" into an ImageError that names the folder, the need and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise full_disk(folder, need_mib) from error


def full_disk(folder: Path, need_mib: int) -> ImageError:
    """The error for a full disk."""
    return ImageError(
        f"the disk is full: building images needs {need_mib} MiB, {free_mib(folder)} MiB are free",
        where=str(folder),
        fix="free some space there, or set LABKIT_CACHE to a folder on another disk",
    )


def free_mib(folder: Path) -> int:
    """What a user may still write where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free >> 20
