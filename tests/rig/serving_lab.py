"""Three blades that serve nginx, for tests that ask it for pages while something happens to blades."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.servers.client import RunningLab, ensure_blades
from labkit.swarm import cluster
from labkit.swarm.services.nginx import ask_blades, ensure_nginx

from .front_door import FrontDoor, new_lab

NAMES = ("blade1", "blade2", "blade3")
PORT = 8080


@contextmanager
def ran_lab(folder: Path, text: str) -> Iterator[FrontDoor]:
    """A lab of `NAMES` on which the whole workbook has run."""
    with new_lab(folder, text) as door:
        done = door("run", "--runs", str(door.folder / "runs"))
        assert done.returncode == 0, done.stdout + done.stderr
        yield door


def whole(door: FrontDoor, *, replicas: int) -> RunningLab:
    """The lab with all blades in, so many replicas of nginx, and each blade answering."""
    running = door.connect()
    ensure_blades(running, running.lab.blades, until="joined")
    with running.engine() as engine:
        cluster.wait_in_order(engine, NAMES, 60)
    ensure_nginx(running, replicas=replicas, port=PORT)
    ask_blades(running, PORT)
    return running


def addresses(running: RunningLab) -> dict[str, str]:
    """The blades' addresses, by name."""
    return {blade.name: str(blade.address) for blade in running.lab.blades}
