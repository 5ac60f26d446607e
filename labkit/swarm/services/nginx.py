"""The service the workbook ends with: nginx on the swarm, saying which replica answered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import docker

from labkit import events, images
from labkit.errors import SwarmError
from labkit.lab import Lab
from labkit.swarm.registry import upload
from labkit.swarm.running import RunningLab
from labkit.swarm.services import deploy as service
from labkit.swarm.services.all_services import start_anew
from labkit.swarm.services.health import ServiceState
from labkit.swarm.services.http_probe import Answer, probe
from labkit.swarm.services.ports import check_port, taken_ports
from labkit.swarm.services.spec import ConfigFile, HealthCheck, ServiceSpec

NAME = "web"
TARGET_PORT = 80
STOP = "SIGQUIT"
"""With which nginx finishes the requests it has; SIGTERM ends them (nginx(8))."""

# $hostname is the replica's own, which the service sets to service.slot.blade.
SITE = b"""\
server {
    listen 80 default_server;
    root /var/www/html;
    add_header X-Replica $hostname always;
    location = /healthz { access_log off; return 200 "well\\n"; }
    location / { try_files $uri $uri/ =404; }
}
"""


def page(text: str) -> bytes:
    """A small page with a sentence on it."""
    return f"<!doctype html><meta charset=utf-8><title>labkit</title><h1>{text}</h1>\n".encode()


def image_of(lab: Lab) -> str:
    """nginx in the lab's registry, as services name it."""
    return f"{lab.network.registry}/nginx:labkit"


def deploy(running: RunningLab, engine: docker.DockerClient, spec: ServiceSpec) -> ServiceState:
    """Have the registry serve nginx, and ask the swarm for a service of it.

    Raises ParameterError for a service that cannot be, ImageError where the image is not built, SwarmError.
    """
    spec.check()
    upload.ensure_image(
        engine, images.nginx_rootfs(), reference=spec.image, push=running.state.push, changes=images.NGINX_CHANGES
    )
    return service.ensure_service(engine, spec)


def joined_addresses(running: RunningLab) -> dict[str, str]:
    """The addresses of the blades that have joined, by name."""
    state = running.stages()
    return {one.name: str(one.address) for one in running.lab.blades if state.blade(one.name).stage == "joined"}


def nginx_spec(running: RunningLab, *, replicas: int, port: int, text: str) -> ServiceSpec:
    """What the service shall be: page and site are swarm configs, so no blade needs a volume.

    Without the health check a replica counts as running before nginx listens, and who is sent to it meanwhile is
    refused: some requests in each update. Raises ParameterError for a port that the lab needs itself.
    """
    check_port(port, taken_ports(running.lab))
    return ServiceSpec(
        name=NAME,
        image=image_of(running.lab),
        replicas=replicas,
        ports=((port, TARGET_PORT),),
        configs=(
            ConfigFile("/etc/nginx/sites-enabled/default", SITE),
            ConfigFile("/var/www/html/index.html", page(text)),
        ),
        stop_signal=STOP,
        health=HealthCheck(("/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1/healthz")),
    )


def ensure_nginx(
    running: RunningLab,
    *,
    replicas: int,
    port: int,
    text: str = "It works, from a blade without a disk.",
    timeout_s: float = 300.0,
    progress: Callable[[ServiceState], None] | None = None,
) -> ServiceState:
    """Have the registry serve the image and the swarm run the service, and wait until it does.

    Raises ParameterError for a port or a number that cannot be, ImageError where the image is not built, SwarmError
    with the reason when the service does not come up.
    """
    with running.engine() as engine:
        state = deploy(running, engine, nginx_spec(running, replicas=replicas, port=port, text=text))
        if state.action != "found":
            running.emit(events.Service(name=NAME, action=state.action, detail=f"{replicas} replicas"))
    return watch_nginx(running, timeout_s=timeout_s, progress=progress, asked=state.asked)


def watch_nginx(
    running: RunningLab,
    *,
    timeout_s: float = 300.0,
    progress: Callable[[ServiceState], None] | None = None,
    asked: str = "",
) -> ServiceState:
    """Wait until the service is whole, and put into the stream on which blades its replicas run.

    ``asked`` is as in `labkit.swarm.services.deploy.watch`. Raises SwarmError with the reason when it does not become
    whole.
    """
    with running.engine() as engine:
        check = running.part_check("registry")
        try:
            done = service.watch(engine, NAME, timeout_s, progress=progress, asked=asked, check=check)
        except SwarmError as error:
            running.emit(events.Service(name=NAME, action="failed", detail=error.what.splitlines()[0]))
            raise
    running.emit(events.Service(name=NAME, action="converged"))
    for replica, blade in sorted(done.places.items()):
        running.emit(events.Service(blade=blade, name=NAME, action="running", detail=replica))
    return done


@dataclass(frozen=True)
class Busy:
    """A blade and the replicas on it; ``spread`` says that the service was spread anew, since none was on any asked
    for."""

    blade: str
    replicas: tuple[str, ...]
    spread: bool = False

    def __str__(self) -> str:
        head = "no replica ran on these blades, so the service was spread anew; " if self.spread else ""
        return f"{head}{self.blade} runs {', '.join(self.replicas)}"


def find_busy(places: Mapping[str, str], blades: Sequence[str], *, avoid: str = "") -> Busy | None:
    """One of these blades that runs a replica; ``avoid`` only where no other does. None where none does."""
    found = [blade for blade in blades if blade in places.values()]
    found.sort(key=lambda blade: blade == avoid)
    if not found:
        return None
    return Busy(found[0], tuple(sorted(replica for replica, blade in places.items() if blade == found[0])))


def ensure_busy(running: RunningLab, blades: Sequence[str], *, avoid: str = "", timeout_s: float = 300.0) -> Busy:
    """`find_busy` once the service is whole; where no replica is on these blades it is spread anew, as ``docker service
    update --force`` does. Raises SwarmError where none comes to them then, too.
    """
    if (busy := find_busy(watch_nginx(running, timeout_s=timeout_s).places, blades, avoid=avoid)) is not None:
        return busy
    with running.engine() as engine:
        start_anew(engine, NAME)
    places = watch_nginx(running, timeout_s=timeout_s).places
    if (busy := find_busy(places, blades, avoid=avoid)) is None:
        what = f"all replicas run on {', '.join(sorted(set(places.values())))}, and none on {', '.join(blades)}"
        raise SwarmError(what, fix="./lab swarm nodes shows which of them take tasks")
    return replace(busy, spread=True)


def roll_back(
    running: RunningLab, *, timeout_s: float = 300.0, progress: Callable[[ServiceState], None] | None = None
) -> ServiceState:
    """Take the service back to what it was before its last update, and wait until it is. Raises SwarmError."""
    with running.engine() as engine:
        state = service.roll_back(engine, NAME)
        running.emit(events.Service(name=NAME, action="rolled back"))
    return watch_nginx(running, timeout_s=timeout_s, progress=progress, asked=state.asked)


def ask_blades(running: RunningLab, port: int, *, rounds: int = 1, settle_s: float = 60.0) -> list[Answer]:
    """Ask every joined blade on its published port, ``rounds`` times, also those without a replica.

    A node learns by gossip, some seconds later, of the port, of replicas that run now and of those that no longer do:
    there are ``settle_s`` seconds until all answer in all rounds. Raises SwarmError when one does not answer then.
    Whether an update loses requests is another question (`labkit.swarm.services.http_probe.under_load`).
    """
    addresses = joined_addresses(running)
    deadline = time.monotonic() + settle_s
    while True:
        answers = probe(addresses, port, rounds=rounds)
        silent = [answer for answer in answers if not answer.ok]
        if not silent or time.monotonic() >= deadline:
            break
        time.sleep(0.5)
    if silent:
        first = silent[0]
        raise SwarmError(
            f"{len(silent)} of {len(answers)} requests were not answered, first {first.blade} "
            f"({first.address}:{port}): {first.error or first.status}",
            fix=f"./lab swarm nodes shows who is in; ./lab console {first.blade} --log what it says",
        )
    for (blade, replica), count in Counter((answer.blade, answer.replica) for answer in answers).items():
        running.emit(events.Service(blade=blade, name=NAME, action="answered", detail=replica, count=count))
    return answers
