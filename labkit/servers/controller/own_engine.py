"""This machine's own Docker engine, a real lab's manager, stopped and started as systemd has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from labkit.errors import SwarmError
from labkit.swarm.engine import connect
from labkit.swarm.recovery import renew
from labkit.swarm.recovery.recover import take_up

REAL_ENGINE_DATA = Path("/var/lib/docker")
UNITS = ("docker.socket", "docker.service")
"""Both: the socket starts the service again for whoever asks (systemd.socket(5))."""
START_S = 60.0


def renew_swarm(engine_data: Path, sock: Path, *, advertise: str) -> Path:
    """Bring back the swarm of this machine's engine whose certificate has run out; the folder of the copy.

    Containers of this machine end for as long as the engine is stopped. Raises SwarmError, with what to do by hand
    where this may not or cannot be done from here; the engine runs then as it did.
    """
    if os.geteuid() != 0 or shutil.which("systemctl") is None:
        raise SwarmError(
            "starting this machine's own Docker anew needs root, and systemd",
            fix="sudo ./lab swarm recover --yes; without systemd by hand: " + by_hand(engine_data, advertise),
        )
    _systemctl("stop", *UNITS)
    try:
        copy = renew.set_aside(engine_data)
    except SwarmError:
        _systemctl("start", *UNITS)
        raise
    try:
        _systemctl("start", *UNITS)
        _wait(sock)
        take_up(sock, advertise=advertise, copy=copy)
        renew.carried_through(engine_data)
    except BaseException:  # also Ctrl-C: an engine that seems to be in no swarm could be given another
        _systemctl("stop", *UNITS)
        renew.put_back(engine_data)
        _systemctl("start", *UNITS)
        raise
    return copy


def add_address(interface: str, address: str) -> Path:
    """Give a card of this machine another address, until it is started anew, and start its Docker engine again.

    A copy of the swarm's state is taken while the engine is stopped, and its folder returned. Raises SwarmError.
    """
    if os.geteuid() != 0 or shutil.which("systemctl") is None:
        raise SwarmError(
            "giving this machine another address needs root, and starting its Docker anew systemd",
            fix=f"sudo ./lab swarm move --keep-address; by hand: ip address add {address}/32 dev {interface}, then "
            "restart Docker",
        )
    done = subprocess.run(
        ["ip", "address", "replace", f"{address}/32", "dev", interface], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SwarmError(f"{interface} does not take {address}: {done.stderr.strip()}", fix="ip address shows why")
    _systemctl("stop", *UNITS)
    try:
        return renew.keep_copy(REAL_ENGINE_DATA)
    finally:
        _systemctl("start", *UNITS)


def by_hand(engine_data: Path, advertise: str) -> str:
    """The commands that do the same, for a person."""
    note = engine_data / "swarm" / renew.NOTE
    return (
        f"stop Docker; cp -a {note.parent} {note.parent}.before; mv {note} {note.parent.parent}/; start Docker; "
        f"docker swarm init --force-new-cluster --advertise-addr {advertise} --listen-addr {advertise}:2377"
    )


def _systemctl(verb: str, *units: str) -> None:
    done = subprocess.run(["systemctl", verb, *units], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SwarmError(
            f"systemctl {verb} {' '.join(units)} failed: {done.stderr.strip()[-300:]}",
            fix="journalctl -u docker says why; the swarm's state was not touched by that",
        )


def _wait(sock: Path) -> None:
    """Until the engine answers."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            connect(sock).close()
            return
        except SwarmError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.5)
