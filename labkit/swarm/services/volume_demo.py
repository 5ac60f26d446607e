"""Chapter 4's second service: nginx on every blade, its page on a mount, to show what a mount is worth."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from labkit.errors import SwarmError
from labkit.lab import Lab, nfs_share
from labkit.swarm.running import RunningLab
from labkit.swarm.services import deploy as service
from labkit.swarm.services.health import ServiceState
from labkit.swarm.services.http_probe import probe
from labkit.swarm.services.nginx import SITE, STOP, TARGET_PORT, deploy, image_of, joined_addresses
from labkit.swarm.services.ports import check_port, port_beside, taken_ports
from labkit.swarm.services.spec import ConfigFile, Mount, ServiceSpec, UpdatePolicy

NAME = "pages"
FOLDER = "/var/www/html"
FILE = "index.html"
BIND, SHARE = "/bind.txt", f"/share/{FILE}"
"""Where the service answers with the file it has by a bind, and with the one from the lab's share."""


def mounts(lab: Lab, *, share: bool) -> tuple[Mount, ...]:
    """A file that every blade has, and each has another one of; and the folder that all mount from the lab's server.

    The volume is named after its options: an engine that has one of a name keeps it, whatever options it shall have,
    and this lab's server may get another address.
    """
    options = nfs_share.volume_options(lab)
    name = f"share-{hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]}"
    bind = Mount(f"{FOLDER}{BIND}", "bind", "/etc/hostname", read_only=True)
    nfs = Mount(f"{FOLDER}/share", source=name, read_only=True, driver_options=options)
    return (bind, nfs) if share else (bind,)


def pages_spec(lab: Lab, *, port: int, share: bool) -> ServiceSpec:
    """One nginx on every blade, which answers for itself: published in host mode, past the mesh.

    Raises ParameterError for a port that the lab needs itself.
    """
    check_port(port, taken_ports(lab))
    return ServiceSpec(
        name=NAME,
        image=image_of(lab),
        replicas=None,
        ports=((port, TARGET_PORT),),
        publish="host",
        configs=(ConfigFile("/etc/nginx/sites-enabled/default", SITE),),
        mounts=mounts(lab, share=share),
        stop_signal=STOP,
        update=UpdatePolicy(parallelism=0, order="stop-first", monitor_s=1),
    )


def own_port(lab: Lab, port: int) -> int:
    """The port on which each blade answers for itself, near ``port`` on which it answers for all."""
    return port_beside(port, lab)


def ensure_pages(
    running: RunningLab,
    *,
    port: int,
    timeout_s: float = 300.0,
    progress: Callable[[ServiceState], None] | None = None,
) -> ServiceState:
    """Have every blade serve what is on the mounts, and wait until it does. Raises SwarmError with the reason."""
    spec = pages_spec(running.lab, port=port, share=not why_not_shared(running))
    with running.engine() as engine:
        state = deploy(running, engine, spec)
        check = running.part_check("registry", "share")
        return service.watch(engine, NAME, timeout_s, progress=progress, asked=state.asked, settle_s=0, check=check)


def remove_pages(running: RunningLab) -> bool:
    """Remove the service; False when there was none."""
    with running.engine() as engine:
        return service.remove_service(engine, NAME)


def read_pages(running: RunningLab, port: int, path: str, *, timeout_s: float = 30.0) -> dict[str, str]:
    """What each joined blade answers, by its name. Raises SwarmError when one does not answer within ``timeout_s``."""
    inside = joined_addresses(running)
    deadline = time.monotonic() + timeout_s
    while True:
        answers = probe(inside, port, path=path)
        silent = [answer for answer in answers if not answer.ok]
        if not silent:
            return {answer.blade: answer.body.strip() for answer in answers}
        if time.monotonic() > deadline:
            said = silent[0].error or f"status {silent[0].status}"
            what = f"{silent[0].blade} does not answer on port {port} for {path}: {said}"
            raise SwarmError(what, fix="./lab swarm nodes shows who is in")
        time.sleep(0.5)


def why_not_shared(running: RunningLab) -> str:
    """Why this lab shares no folder; empty when it does."""
    if not running.lab.storage.share:
        return "this lab shares no folder: share: true under storage: in lab.yaml makes it one"
    if running.status()["parts"].get("share"):
        return ""
    folder = nfs_share.folder_of(running.lab, running.state)
    return f"{folder} is not shared: {nfs_share.unservable(folder) or 'its server does not run, see logs/share.log'}"


def put_page(running: RunningLab, text: str) -> Path:
    """Write the page in the shared folder, for everybody to read. It is replaced at once, never half there."""
    page = nfs_share.folder_of(running.lab, running.state) / FILE
    fresh = page.with_name(f".{FILE}")
    fresh.unlink(missing_ok=True)
    with fresh.open("x", encoding="utf-8") as file:  # a new file, and nothing that a link of this name leads to
        file.write(f"{text}\n")
        os.fchmod(file.fileno(), 0o644)
    fresh.replace(page)
    return page


def wait_page(running: RunningLab, port: int, text: str, *, timeout_s: float = 15.0) -> float:
    """Wait until every blade answers with this text; the seconds it took. Raises SwarmError when one does not."""
    began = time.monotonic()
    while True:
        seen = read_pages(running, port, SHARE)
        if set(seen.values()) == {text}:
            return time.monotonic() - began
        if time.monotonic() - began > timeout_s:
            old = ", ".join(f"{blade}: {words!r}" for blade, words in seen.items() if words != text)
            raise SwarmError(f"not every blade has the new page after {timeout_s:g} s: {old}")
        time.sleep(0.2)
