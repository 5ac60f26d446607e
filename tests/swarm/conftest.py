"""The fleet of engines, formed into a swarm for each test that asks for it."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit import images
from labkit.lab import lab_yaml
from labkit.swarm import cluster, spec_changes
from labkit.swarm.engine import api, engine, read_local_swarm
from labkit.swarm.membership import managers, node_settings
from labkit.swarm.membership.local_state import LocalState
from labkit.swarm.registry.upload import ensure_image
from labkit.swarm.services.deploy import remove_service
from tests.rig.fleet import REGISTRY, Fleet, ensure_joined, heartbeat_s


@pytest.fixture(scope="session")
def tree() -> Path:
    """The blade OS's tree, built where it is not in the image cache, or the one LABKIT_TEST_TREE names."""
    if "LABKIT_TEST_TREE" in os.environ:
        return Path(os.environ["LABKIT_TEST_TREE"])
    images.ensure_images(lab_yaml.load(Path(__file__).parents[2] / "lab.yaml"), progress=print)
    return images.tree()


@pytest.fixture(scope="session")
def fleet(tree: Path) -> Iterator[Fleet]:
    fleet = Fleet(tree)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def swarm(fleet: Fleet) -> Fleet:
    """The fleet as one swarm: the controller drained, all three blades Ready workers, no service, no other node.

    Heartbeats are two seconds apart instead of five, so that the lost are missed sooner.
    """
    client = fleet.controller.client
    if read_local_swarm(client).state is LocalState.LEADERLESS:  # as a test left it that failed half-way
        managers.force_alone(client, advertise=fleet.controller.address)
    cluster.ensure_swarm(client, advertise=fleet.controller.address)
    heartbeat_s(fleet, 2)
    node_settings.write(client, {})  # or blades would bring along what earlier tests set on them
    spec_changes.change_swarm(client, forget_managers)
    for raw in api(client).services():
        remove_service(client, raw["Spec"]["Name"])
    joining = [threading.Thread(target=ensure_joined, args=(fleet, machine)) for machine in fleet.blades]
    for thread in joining:
        thread.start()
    for thread in joining:
        thread.join()
    names = [machine.name for machine in fleet.blades]
    mine = {node.id for node in cluster.wait_nodes(client, names, 20)}
    for node in cluster.nodes(client):
        if node.id in mine:
            spec_changes.change_node(client, node.id, lambda spec: spec.update(Availability="active", Labels={}))
        elif node.blade or node.hostname != "controller":
            cluster.remove_node(client, node.id)
    client.close()
    return fleet


def forget_managers(spec: dict[str, Any]) -> None:
    """Or blades would be awaited as managers that an earlier test has chosen."""
    spec["Labels"] = {key: value for key, value in (spec.get("Labels") or {}).items() if key != managers.LABEL}


SERVE = """\
#!/bin/sh
trap 'exit 0' TERM QUIT
httpd -f -p 80 -h /www &
wait
"""

WHO = """\
#!/bin/sh
echo "X-Replica: $(hostname)"
echo "Content-Type: text/plain"
echo
cat /www/page
"""


@pytest.fixture(scope="session")
def rootfs(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web server in a tar of 2 MB: busybox, and a page that says which replica it came from."""
    path = tmp_path_factory.mktemp("rootfs") / "web.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tree / "usr/bin/busybox", "bin/busybox")
        for name in ("sh", "httpd", "hostname", "cat", "echo", "sleep", "test"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, text in (("bin/serve", SERVE), ("www/cgi-bin/who", WHO), ("www/page", "plain\n")):
            file = tarfile.TarInfo(name)
            file.mode, file.size = 0o755, len(text)
            tar.addfile(file, io.BytesIO(text.encode()))
    return path


@pytest.fixture(scope="session")
def web(fleet: Fleet, rootfs: Path) -> str:
    """The web server's image, in the fleet's registry."""
    with engine(fleet.controller.sock) as client:
        ensure_image(client, rootfs, reference=f"{REGISTRY}/web:1", push=fleet.push, changes=['CMD ["/bin/serve"]'])
    return f"{REGISTRY}/web:1"
