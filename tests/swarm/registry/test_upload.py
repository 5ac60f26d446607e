"""The cache of another registry and making room in our own, with real registries and engines."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests

from labkit.diagnosis.doctor import probe
from labkit.errors import SwarmError
from labkit.lab import certificates
from labkit.lab.state import State
from labkit.machines.host.sandbox import give
from labkit.servers.parts import storage
from labkit.servers.parts.bundled import cache_command, collect_command, push_command, registry_command
from labkit.swarm.engine import api, engine
from labkit.swarm.registry.contents import judge_images, read_contents
from labkit.swarm.registry.push_client import PushClient
from labkit.swarm.registry.upload import ensure_image
from tests.rig.fleet import READER, REGISTRY, SERVER, WRITER, Fleet, listens, until
from tests.rig.intruder import files, let_in

pytestmark = pytest.mark.engine

MIRROR = f"{SERVER}:5001"
HUB = f"{SERVER}:5002"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Server:
    """A program in the fleet's own network."""

    def __init__(self, fleet: Fleet, command: Sequence[str], log: Path) -> None:
        with log.open("ab") as file:
            words = ["ip", "netns", "exec", fleet.net, *command]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.make()
    return state


def start_cache(fleet: Fleet, tree: Path, state: State) -> Server:
    command = cache_command(tree, state, READER, address=MIRROR, upstream=f"http://{HUB}", resolver="")
    give(state.data / "cache", READER)
    return Server(fleet, command.words(), state.logs / "cache.log")


@pytest.fixture
def cache(fleet: Fleet, tree: Path, state: State) -> Iterator[State]:
    """A cache of the fleet's registry, which plays Docker Hub."""
    certificates.ensure_cache(state, SERVER)
    server = start_cache(fleet, tree, state)
    try:
        yield state
    finally:
        server.stop()
        print((state.logs / "cache.log").read_text()[-2000:])


@pytest.fixture
def hub(fleet: Fleet, tree: Path, web: str, tmp_path: Path) -> Iterator[Server]:
    """The data of the fleet's registry, as ``library/web``, over plain HTTP; ``web:2`` is the same image."""
    data = tmp_path / "hub"
    shutil.copytree(fleet.registry_data, data)
    repositories = data / "docker/registry/v2/repositories"
    (repositories / "library").mkdir()
    (repositories / "web").rename(repositories / "library/web")
    tags = repositories / "library/web/_manifests/tags"
    shutil.copytree(tags / "1", tags / "2")
    config = {
        "version": 0.1, "log": {"level": "error"}, "http": {"addr": HUB},
        "storage": {"filesystem": {"rootdirectory": str(data)}},
    }  # fmt: skip
    (tmp_path / "hub.yml").write_text(json.dumps(config))
    server = start_hub(fleet, tree, tmp_path)
    yield server
    server.stop()


def start_hub(fleet: Fleet, tree: Path, folder: Path) -> Server:
    program = str(tree / "usr/bin/docker-registry")
    return Server(fleet, [program, "serve", str(folder / "hub.yml")], folder / "hub.log")


def test_an_image_is_fetched_once_for_all(fleet: Fleet, hub: Server, cache: State) -> None:
    """Two engines pull ``web:1`` by the mirror, the second once its origin is gone; its own registry goes on."""
    first, second = fleet.blade("blade1"), fleet.blade("blade2")
    with fleet.trusting(MIRROR, cache.ca):
        until(lambda: fleet.inside(lambda: answers(cache, MIRROR, "/v2/library/web/tags/list")), 30)
        first.reboot("blade1m")
        with engine(first.sock) as client:
            api(client).pull("web", tag="1")
            assert api(client).inspect_image("web:1")["RepoDigests"]
        hub.stop()
        second.reboot("blade2m")
        with engine(second.sock) as client:
            api(client).pull("web", tag="1")
            api(client).pull(f"{REGISTRY}/web", tag="1")


def test_a_cache_that_starts_without_its_origin_serves_what_it_has(
    fleet: Fleet, tree: Path, hub: Server, state: State, tmp_path: Path
) -> None:
    """Killed, and started again while its origin is away: what was fetched can be pulled, the rest is refused in words.

    Once the origin is back, so is the rest, without a restart.
    """
    certificates.ensure_cache(state, SERVER)
    cache, blade = start_cache(fleet, tree, state), fleet.blade("blade1")
    try:
        with fleet.trusting(MIRROR, state.ca):
            until(lambda: fleet.inside(lambda: answers(state, MIRROR, "/v2/library/web/manifests/1")), 30)
            blade.reboot("blade1k")
            with engine(blade.sock) as client:
                api(client).pull("web", tag="1")
            hub.stop()
            cache.kill()
            cache = start_cache(fleet, tree, state)
            until(lambda: fleet.inside(lambda: answers(state, MIRROR, "/v2/")), 30)
            blade.reboot("blade1n")
            with engine(blade.sock) as client:
                api(client).pull("web", tag="1")
                assert api(client).inspect_image("web:1")["RepoDigests"]
            with pytest.raises(SwarmError) as refused, engine(blade.sock) as client:
                api(client).pull("web", tag="2")
            assert "registry-1.docker.io" in refused.value.what
            log = (state.logs / "cache.log").read_text()
            assert f"http://{HUB} cannot be reached: only what was fetched before is served" in log
            hub = start_hub(fleet, tree, tmp_path)
            until(lambda: fleet.inside(lambda: answers(state, MIRROR, "/v2/library/web/manifests/2")), 30)
            with engine(blade.sock) as client:
                api(client).pull("web", tag="2")
    finally:
        cache.stop()
        hub.stop()
        print((state.logs / "cache.log").read_text()[-2000:])


def test_nobody_pushes_into_the_cache(fleet: Fleet, tree: Path, hub: Server, state: State) -> None:
    """From a blade's network, with its origin and without: all that it does is to fetch."""
    certificates.ensure_cache(state, SERVER)
    cache = start_cache(fleet, tree, state)
    data = state.data / "cache/docker/registry/v2"
    kept = data / "repositories/library/web/_manifests/revisions/sha256"

    def attack() -> list[tuple[str, int]]:
        with requests.Session() as session:
            session.trust_env, session.verify = False, str(state.ca)
            digest = f"sha256:{next(kept.iterdir()).name}"
            return let_in(session, f"https://{MIRROR}/v2/", "library/web", digest, "web/blobs/uploads/x?_state=x")

    try:
        until(lambda: fleet.inside(lambda: answers(state, MIRROR, "/v2/library/web/manifests/1")), 30)
        until(lambda: kept.exists() and list(kept.iterdir()))
        before = files(data / "blobs")
        assert before and fleet.inside(attack, fleet.blade("blade1").net) == []
        hub.stop()
        cache.kill()
        cache = start_cache(fleet, tree, state)
        until(lambda: fleet.inside(lambda: answers(state, MIRROR, "/v2/")), 30)
        assert fleet.inside(attack, fleet.blade("blade1").net) == []
        assert files(data / "blobs") == before and not list(data.rglob("new"))
    finally:
        cache.stop()


def test_an_engine_is_told_of_the_cache_while_it_runs(fleet: Fleet) -> None:
    """What the doctor has people write, with the reload it names (systemd sends SIGHUP): nothing is restarted."""
    fleet.blade("blade2").reboot("blade2d")
    blade = fleet.blade("blade2")
    assert probe.mirrors(blade.sock) == ()
    (pid,) = blade.inner()
    Path(f"/proc/{pid}/root/etc/docker/daemon.json").write_text(f'{{"registry-mirrors": ["https://{MIRROR}"]}}')
    os.kill(pid, signal.SIGHUP)
    until(lambda: probe.mirrors(blade.sock) == (f"https://{MIRROR}/",), 10)
    assert probe.mirrors(blade.sock.with_name("nothing")) is None


def answers(state: State, host: str, path: str) -> bool:
    """Whether a registry serves a path. requests would leave a socket behind when a server dies in the handshake."""
    trusted = ssl.create_default_context(cafile=state.ca)
    connection = http.client.HTTPSConnection(host, context=trusted, timeout=20)
    try:
        connection.request("GET", path, headers={"Accept": MANIFEST})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_room_is_made_and_what_stays_is_whole(
    fleet: Fleet, tree: Path, rootfs: Path, tmp_path: Path, state: State
) -> None:
    """Three pushes under one tag; the images before go, with their blobs, and what is left can be pulled."""
    address = f"{fleet.controller.address.rpartition('.')[0]}.1:5003"
    certificates.ensure_registry(state, SERVER)
    give(state.data / "registry", WRITER, 0o755)
    give(state.push.parent, WRITER, 0o711)
    command = registry_command(tree, state, READER, address=address).words()
    server = Server(fleet, command, state.logs / "registry.log")
    owner = Server(fleet, push_command(tree, state, WRITER).words(), state.logs / "registry-push.log")
    try:
        with fleet.trusting(address, state.ca):
            fleet.blade("blade3").reboot("blade3g")
            until(lambda: fleet.inside(lambda: answers(state, address, "/v2/")), 30)
            with engine(fleet.blade("blade3").sock) as client:
                for number in (1, 2, 3):
                    tar = tmp_path / f"{number}.tar"
                    shutil.copy(rootfs, tar)
                    with tar.open("ab") as file:
                        file.write(os.urandom(1 << 20))
                    changes = [f"EXPOSE {number}"]
                    ensure_image(client, tar, reference=f"{address}/app:labkit", push=state.push, changes=changes)
            manifests = list(read_contents(state.data / "registry"))
            assert len(manifests) == 3
            goes = [verdict.manifest for verdict in judge_images(manifests, set()) if verdict.goes]
            assert len(goes) == 2
            for one in goes:
                PushClient(state.push).delete("app", one.digest)
            owner.stop()
            blobs = state.data / "registry/docker/registry/v2/blobs"
            before = storage.size_of(blobs)
            subprocess.run(collect_command(tree, state, WRITER).words(), check=True, capture_output=True)
            assert before > storage.size_of(blobs) > 0
            fleet.blade("blade3").reboot("blade3h")
            with engine(fleet.blade("blade3").sock) as client:
                api(client).pull(f"{address}/app", tag="labkit")
                assert "3/tcp" in api(client).inspect_image(f"{address}/app:labkit")["Config"]["ExposedPorts"]
            owner = Server(fleet, push_command(tree, state, WRITER).words(), state.logs / "registry-push.log")
            until(lambda: listens(state.push), 30)
            with engine(fleet.blade("blade3").sock) as client:
                reference = f"{address}/app:labkit"
                assert ensure_image(
                    client, tmp_path / "1.tar", reference=reference, push=state.push, changes=["EXPOSE 1"]
                )
    finally:
        server.stop()
        owner.stop()
