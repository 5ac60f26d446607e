"""Making room in the lab's registry: images that nobody needs are deleted, then their blobs are collected."""

from __future__ import annotations

from collections.abc import Iterable

import requests

from labkit import rpc
from labkit.client import RunningLab
from labkit.errors import SwarmError
from labkit.swarm.engine import api
from labkit.swarm.shelf import Manifest, Verdict, judge_images, read_shelf, used_images

COLLECT_S = 360


def look_over(running: RunningLab) -> list[Verdict]:
    """Every image in the lab's registry, and whether it goes. Raises SwarmError where the services cannot be asked.

    Without knowing the services nothing may go.
    """
    with running.engine() as engine:
        services = api(engine).services()
    folder = running.state.data / "registry"
    try:
        return judge_images(read_shelf(folder), used_images(services, running.lab.network.registry))
    except PermissionError as error:
        raise SwarmError(
            f"cannot be read: {error.strerror}", where=str(error.filename), fix="run it with sudo"
        ) from None


def collect(running: RunningLab, verdicts: Iterable[Verdict]) -> int:
    """Delete the images that go, and free what no other names; the number of bytes that were freed.

    The registry is away for a second or two meanwhile: a pull then is tried again by the swarm, a push has to be made
    again. Raises SwarmError or ControlError; whatever was done by then leaves a registry that works, and `collect`
    called again does the rest. A list of images goes before its parts, so that none is ever left without them.
    """
    with requests.Session() as session:
        session.trust_env = False  # a proxy for the internet knows nothing of the lab
        session.verify = str(running.state.ca)
        going = [verdict.manifest for verdict in verdicts if verdict.goes]
        for manifest in sorted(going, key=lambda one: not one.parts):
            _delete(session, running.lab.network.registry, manifest)
    return int(rpc.call(running.state.control, "collect", timeout_s=COLLECT_S)["freed_b"])


def _delete(session: requests.Session, host: str, manifest: Manifest) -> None:
    """``DELETE /v2/<name>/manifests/<digest>``: the image with its tags. One that is gone already is no mistake."""
    try:
        url = f"https://{host}/v2/{manifest.repository}/manifests/{manifest.digest}"
        answer = session.delete(url, timeout=30)
    except requests.RequestException as error:
        raise SwarmError(f"the registry does not answer: {error}", fix="./lab status tells whether it runs") from None
    if answer.status_code not in (202, 404):
        raise SwarmError(f"the registry would not delete {manifest}: {answer.status_code} {answer.text[:200]}")
