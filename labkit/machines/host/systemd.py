"""A lab's unit on this machine: written, enabled, removed, looked at; and what systemd is told by who it started."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from labkit.errors import MachineError, on_file
from labkit.lab.state import text_of, write_whole
from labkit.machines.host import unit
from labkit.machines.host.unit import AtBoot

FOLDER = Path("/etc/systemd/system")
"""Where an administrator's units are (systemd.unit(5))."""
RUNS = Path("/run/systemd/system")
"""Is there where systemd runs the machine (sd_booted(3))."""
WANTS = "multi-user.target.wants"
"""Where ``systemctl enable`` links what is to start at boot."""


def check(name: str, by_hand: str) -> None:
    """Raise MachineError where a unit cannot be written: no systemd (``by_hand`` starts the lab then), or one of this
    name that labkit did not write.
    """
    if not RUNS.is_dir():
        what = "systemd does not run this machine, as in a container: nothing here would start the lab at boot"
        raise MachineError(what, where=str(RUNS), fix=f"have whatever starts programs here run, as root: {by_hand}")
    check_ours(FOLDER / name)


def enable(name: str, text: str) -> Path:
    """Write a unit, and have it started at boot. Raises MachineError as `check` does, or where systemctl will not."""
    path = FOLDER / name
    check_ours(path)
    before = text_of(path)
    try:
        with on_file(path):
            write_whole(path, text)
        systemctl("daemon-reload")
        systemctl("enable", name)
    except BaseException:
        if not before:
            path.unlink(missing_ok=True)
        raise
    return path


def disable(name: str) -> Path | None:
    """Remove the unit, and its link; its path, or None where there was none. Raises MachineError as `enable` does."""
    path = FOLDER / name
    if not os.path.lexists(path):
        return None
    check_ours(path)
    systemctl("disable", name)
    with on_file(path):
        path.unlink()
    if RUNS.is_dir():
        systemctl("daemon-reload")
    return path


def look(name: str) -> AtBoot:
    """What starts the lab of this unit at boot, and which units of labkit's would start what is no more."""
    path, wrong = FOLDER / name, []
    is_linked = os.path.lexists(FOLDER / WANTS / name)
    if not os.path.lexists(path):
        found = AtBoot(False, "nothing starts it when this machine boots; ./lab up --enable would")
    else:
        what = f"{name} starts it when this machine boots" if is_linked else f"{name} is there, and switched off"
        found = AtBoot(is_linked, what)
        if not unit.is_ours(text_of(path)):
            wrong.append((f"{path} is not as labkit wrote it", "see whether it does what you want, or remove it"))
        elif not is_linked:
            wrong.append((found.what, f"systemctl enable {name}, or ./lab up --disable"))
    for other in sorted(FOLDER.glob(unit.name_of("*"))):
        for lost in filter(_is_gone, unit.starts(text_of(other))):
            by = "./lab up --enable writes it anew" if other == path else f"systemctl disable {other.name}; rm {other}"
            wrong.append((f"{other.name} starts what is no more (was it moved?): {lost}", by))
    return AtBoot(found.enabled, found.what, tuple(wrong))


def tell_ready() -> None:
    """Tell systemd, where it started this process, that what it waits for is there (sd_notify(3)).

    Nobody started from here on is mistaken for us.
    """
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def systemctl(*words: str) -> None:
    """Run systemctl(1). Raises MachineError with what it said."""
    command = ["systemctl", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise MachineError("there is no systemctl here", fix="install systemd, which has it") from None
    if done.returncode:
        what = f"{' '.join(command)} failed: {done.stderr.strip()[-300:] or f'status {done.returncode}'}"
        raise MachineError(what, fix="mend what it names, then do this again")


def check_ours(path: Path) -> None:
    """Raise MachineError for a unit that labkit did not write, or that somebody has changed since."""
    if os.path.lexists(path) and (path.is_symlink() or not unit.is_ours(text_of(path))):
        what = "there is a unit of this name that labkit did not write, or that somebody has changed since"
        fix = f"if nobody needs it: systemctl disable {path.name}; rm {path}; what is yours goes into systemctl edit"
        raise MachineError(what, where=str(path), fix=fix)


def _is_gone(path: str) -> bool:
    """Whether a file is not there; one that we may not look at may be."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
