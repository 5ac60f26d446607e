"""Chapter 4's second service: nginx on every blade, its page on a mount, to show what a mount is worth."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from labkit import images, shares
from labkit.client import RunningLab
from labkit.errors import SwarmError
from labkit.lab import Lab
from labkit.nginx import SITE, TARGET_PORT
from labkit.swarm import registry, service
from labkit.swarm.judge import ServiceState
from labkit.swarm.probe import probe
from labkit.swarm.spec import ConfigFile, HealthCheck, Mount, ServiceSpec, UpdatePolicy

NAME = "pages"
FOLDER = "/var/www/html"
FILE = "index.html"
BIND = Mount(f"{FOLDER}/{FILE}", "bind", "/etc/hostname", read_only=True)
"""A file that every blade has, and each has another one of."""


def nfs_mount(lab: Lab) -> Mount:
    """The lab's shared folder as nginx's: a volume that every blade mounts from the lab's server."""
    return Mount(FOLDER, source="share", read_only=True, driver_options=shares.volume_options(lab))


def pages_spec(lab: Lab, mount: Mount, *, port: int) -> ServiceSpec:
    """One nginx on every blade, which answers for itself: published in host mode, past the mesh."""
    replaced = UpdatePolicy(parallelism=0, order="stop-first", monitor_s=1)
    return ServiceSpec(
        name=NAME,
        image=f"{lab.network.registry}/nginx:labkit",
        replicas=None,
        ports=((port, TARGET_PORT),),
        publish="host",
        configs=(ConfigFile("/etc/nginx/sites-enabled/default", SITE),),
        mounts=(mount,),
        health=HealthCheck(("/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1/healthz"), every_s=2, retries=5),
        update=replaced,
    )


def ensure_pages(
    running: RunningLab,
    mount: Mount,
    *,
    port: int,
    timeout_s: float = 300.0,
    progress: Callable[[ServiceState], None] | None = None,
) -> ServiceState:
    """Have every blade serve what is on the mount, and wait until it does. Raises SwarmError with the reason."""
    with running.engine() as engine:
        spec = pages_spec(running.lab, mount, port=port)
        registry.ensure_image(engine, images.nginx_rootfs(), reference=spec.image, changes=images.NGINX_CHANGES)
        state = service.ensure_service(engine, spec)
        return service.watch(engine, NAME, timeout_s, progress=progress, asked=state.asked)


def remove_pages(running: RunningLab) -> bool:
    """Remove the service; False when there was none."""
    with running.engine() as engine:
        return service.remove_service(engine, NAME)


def read_pages(running: RunningLab, port: int) -> dict[str, str]:
    """What each joined blade answers, by its name. Raises SwarmError when one does not answer."""
    state = running.stages()
    inside = {one.name: str(one.address) for one in running.lab.blades if state.blade(one.name).stage == "joined"}
    answers = probe(inside, port)
    for answer in answers:
        if not answer.ok:
            said = answer.error or str(answer.status)
            raise SwarmError(f"{answer.blade} does not answer on port {port}: {said}", fix="labkit swarm nodes")
    return {answer.blade: answer.body.strip() for answer in answers}


def why_not_shared(running: RunningLab) -> str:
    """Why this lab shares no folder; empty when it does."""
    if not running.lab.storage.share:
        return "this lab shares no folder: share: true under storage: in lab.yaml makes it one"
    if running.status()["parts"].get("share"):
        return ""
    folder = shares.folder_of(running.lab, running.state)
    return f"{folder} is not shared: {shares.unservable(folder) or 'its server does not run, see logs/share.log'}"


def put_page(running: RunningLab, text: str) -> Path:
    """Write the page in the shared folder, for everybody to read. It is replaced at once, never half there."""
    page = shares.folder_of(running.lab, running.state) / FILE
    fresh = page.with_name(f".{FILE}")
    fresh.write_text(f"{text}\n", encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(page)
    return page


def wait_pages(running: RunningLab, port: int, text: str, *, timeout_s: float = 15.0) -> float:
    """Wait until every blade answers with this text; the seconds it took. Raises SwarmError when one does not."""
    began = time.monotonic()
    while True:
        seen = read_pages(running, port)
        if set(seen.values()) == {text}:
            return time.monotonic() - began
        if time.monotonic() - began > timeout_s:
            old = ", ".join(f"{blade}: {words!r}" for blade, words in seen.items() if words != text)
            raise SwarmError(f"not every blade has the new page after {timeout_s:g} s: {old}")
        time.sleep(0.2)
