"""The cache of another registry and making room in our own, with real registries and engines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from labkit import certs, stores
from labkit.state import State
from labkit.swarm.engine import api, engine
from labkit.swarm.registry import ensure_image
from labkit.swarm.shelf import judge_images, read_shelf
from labkit.treeroot import cache_command, collect_command, registry_command

from .fleet import REGISTRY, SERVER, Fleet, until

pytestmark = pytest.mark.engine

MIRROR = f"{SERVER}:5001"


def get(state: State, host: str, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(state.ca)
        accept = "application/vnd.docker.distribution.manifest.v2+json"
        return session.get(f"https://{host}{path}", headers={"Accept": accept}, timeout=20)


class Server:
    """A program in the fleet's own network."""

    def __init__(self, fleet: Fleet, command: list[str], log: Path) -> None:
        with log.open("ab") as file:
            words = ["ip", "netns", "exec", fleet.net, *command]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.make()
    return state


@pytest.fixture
def cache(fleet: Fleet, tree: Path, state: State) -> Iterator[State]:
    """A cache of the fleet's registry, which plays Docker Hub."""
    certs.ensure_cache(state, SERVER)
    upstream = f"http://{SERVER}:5002"
    command = cache_command(tree, state, address=MIRROR, upstream=upstream, resolver="")
    server = Server(fleet, command, state.logs / "cache.log")
    try:
        yield state
    finally:
        server.stop()
        print((state.logs / "cache.log").read_text()[-2000:])


@pytest.fixture
def hub(fleet: Fleet, tree: Path, web: str, tmp_path: Path) -> Iterator[Server]:
    """The data of the fleet's registry, as ``library/web``, over plain HTTP."""
    data = tmp_path / "hub"
    shutil.copytree(fleet.registry_data, data)
    repositories = data / "docker/registry/v2/repositories"
    (repositories / "library").mkdir()
    (repositories / "web").rename(repositories / "library/web")
    config = {
        "version": 0.1, "log": {"level": "error"}, "http": {"addr": f"{SERVER}:5002"},
        "storage": {"filesystem": {"rootdirectory": str(data)}},
    }  # fmt: skip
    (tmp_path / "hub.yml").write_text(json.dumps(config))
    program = str(tree / "usr/bin/docker-registry")
    server = Server(fleet, [program, "serve", str(tmp_path / "hub.yml")], tmp_path / "hub.log")
    yield server
    server.stop()


def test_an_image_is_fetched_once_for_all(fleet: Fleet, hub: Server, cache: State) -> None:
    """Two engines pull ``web:1`` by the mirror, the second once its origin is gone; its own registry goes on."""
    first, second = fleet.blade("blade1"), fleet.blade("blade2")
    fleet.trust(MIRROR, cache.ca)
    try:
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
    finally:
        fleet.distrust()


def answers(state: State, host: str, path: str) -> bool:
    try:
        return get(state, host, path).ok
    except requests.RequestException:
        return False


def test_room_is_made_and_what_stays_is_whole(
    fleet: Fleet, tree: Path, rootfs: Path, tmp_path: Path, state: State
) -> None:
    """Three pushes under one tag; the images before go, with their blobs, and what is left can be pulled."""
    address = f"{fleet.controller.address.rpartition('.')[0]}.1:5003"
    certs.ensure_registry(state, SERVER)
    server = Server(fleet, registry_command(tree, state, address=address), state.logs / "registry.log")
    fleet.trust(address, state.ca)
    try:
        fleet.blade("blade3").reboot("blade3g")
        until(lambda: fleet.inside(lambda: answers(state, address, "/v2/")), 30)
        with engine(fleet.blade("blade3").sock) as client:
            for number in (1, 2, 3):
                tar = tmp_path / f"{number}.tar"
                shutil.copy(rootfs, tar)
                with tar.open("ab") as file:
                    file.write(os.urandom(1 << 20))
                ensure_image(client, tar, reference=f"{address}/app:labkit", changes=[f"EXPOSE {number}"])
        manifests = list(read_shelf(state.path / "registry"))
        assert len(manifests) == 3
        goes = [verdict.manifest for verdict in judge_images(manifests, set()) if verdict.goes]
        assert len(goes) == 2
        assert fleet.inside(lambda: [delete(state, address, one.digest) for one in goes]) == [202, 202]
        server.stop()
        blobs = state.path / "registry/docker/registry/v2/blobs"
        before = stores.size_of(blobs)
        subprocess.run(collect_command(tree, state, address=address), check=True, capture_output=True)
        assert before > stores.size_of(blobs) > 0
        server = Server(fleet, registry_command(tree, state, address=address), state.logs / "registry.log")
        until(lambda: fleet.inside(lambda: answers(state, address, "/v2/")), 30)
        fleet.blade("blade3").reboot("blade3h")
        with engine(fleet.blade("blade3").sock) as client:
            api(client).pull(f"{address}/app", tag="labkit")
            assert "3/tcp" in api(client).inspect_image(f"{address}/app:labkit")["Config"]["ExposedPorts"]
            assert ensure_image(client, tmp_path / "1.tar", reference=f"{address}/app:labkit", changes=["EXPOSE 1"])
    finally:
        fleet.distrust()
        server.stop()


def delete(state: State, host: str, digest: str) -> int:
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(state.ca)
        return session.delete(f"https://{host}/v2/app/manifests/{digest}", timeout=20).status_code
