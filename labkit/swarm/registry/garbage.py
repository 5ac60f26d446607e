"""Making room in the lab's registry: images that nobody needs are deleted, then their blobs are collected."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.errors import SwarmError
from labkit.lab.process import rpc
from labkit.swarm.engine import api
from labkit.swarm.registry.contents import Verdict, judge_images, read_contents, used_images
from labkit.swarm.registry.push_client import PushClient
from labkit.swarm.running import RunningLab

COLLECT_S = 360


def look_over(running: RunningLab) -> list[Verdict]:
    """Every image in the lab's registry, and whether it goes. Raises SwarmError where the services cannot be asked.

    Without knowing the services nothing may go.
    """
    with running.engine() as engine:
        services = api(engine).services()
    folder = running.state.data / "registry"
    try:
        return judge_images(read_contents(folder), used_images(services, running.lab.network.registry))
    except PermissionError as error:
        raise SwarmError(
            f"cannot be read: {error.strerror}", where=str(error.filename), fix="run it with sudo"
        ) from None


def collect(running: RunningLab, verdicts: Iterable[Verdict]) -> int:
    """Delete the images that go, and free what no other names; the number of bytes that were freed.

    Nobody can push for a second or two meanwhile; blades pull as ever. Raises SwarmError or ControlError; whatever was
    done by then leaves a registry that works, and `collect` called again does the rest. A list of images goes before
    its parts, so that none is ever left without them.
    """
    going = [verdict.manifest for verdict in verdicts if verdict.goes]
    registry = PushClient(running.state.push)
    for manifest in sorted(going, key=lambda one: not one.parts):
        registry.delete(manifest.repository, manifest.digest)
    return int(rpc.call(running.state.control, "collect", timeout_s=COLLECT_S)["freed_b"])
