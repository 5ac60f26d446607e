"""The images of services, pushed into the lab's registry and run by real engines."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import SwarmError
from labkit.swarm.engine import api, engine
from labkit.swarm.registry.upload import ensure_image
from labkit.swarm.services.deploy import ensure_service, remove_service, roll_back, watch
from labkit.swarm.services.spec import ServiceSpec
from tests.rig.fleet import REGISTRY, Fleet
from tests.rig.known import causes

pytestmark = pytest.mark.engine


def test_an_image_rebuilt_under_the_same_tag_is_a_change(
    swarm: Fleet, spec: ServiceSpec, rootfs: Path, web: str
) -> None:
    """All replicas run the new one then, and none runs it by chance, because its blade booted in between."""
    reference = f"{REGISTRY}/rebuilt:1"

    def build(greeting: str) -> str:
        with engine(swarm.controller.sock) as client:
            changes = ['CMD ["/bin/serve"]', f"LABEL greeting={greeting}"]
            return ensure_image(client, rootfs, reference=reference, push=swarm.push, changes=changes)

    wanted = replace(spec, image=reference)
    first = build("old")
    with engine(swarm.controller.sock) as client:
        ensure_service(client, wanted)
        before = watch(client, "web", 60)
        assert before.image == f"{reference}@{first}" and ensure_service(client, wanted).action == "found"
        second = build("new")
        assert second != first
        state = ensure_service(client, wanted)
        assert state.action == "updated"
        assert watch(client, "web", 90, asked=state.asked).image == f"{reference}@{second}"
        swarm.stop_registry()
        try:
            assert ensure_service(client, wanted).action == "found"  # as long as nobody knows better
        finally:
            swarm.start_registry()
        assert roll_back(client, "web").image == f"{reference}@{first}"
        watch(client, "web", 90)
        remove_service(client, "web")


def test_an_image_is_pushed_once(fleet: Fleet, rootfs: Path) -> None:
    """The engine that made it keeps none; an image that the registry has under its mark is only tagged again."""
    reference = f"{REGISTRY}/other:1"
    with engine(fleet.controller.sock) as client:

        def ensure(change: str) -> str:
            return ensure_image(client, rootfs, reference=reference, push=fleet.push, changes=[change])

        known = {image["Id"] for image in api(client).images(all=True)}
        first = ensure("EXPOSE 80")
        assert first.startswith("sha256:") and len(first) == 71
        assert ensure("EXPOSE 80") == first
        assert ensure("EXPOSE 81") != first
        assert ensure("EXPOSE 80") == first
        assert {image["Id"] for image in api(client).images(all=True)} == known
    with engine(fleet.blade("blade1").sock) as client:
        api(client).pull(f"{REGISTRY}/other", tag="1")
        assert "80/tcp" in api(client).inspect_image(reference)["Config"]["ExposedPorts"]


def test_what_can_go_wrong_with_an_image(fleet: Fleet, rootfs: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"this is no tar" * 1000)
    with engine(fleet.controller.sock) as client:
        with pytest.raises(SwarmError, match=r"the engine could not import it: .*invalid tar header"):
            ensure_image(client, broken, reference=f"{REGISTRY}/broken:1", push=fleet.push)
        with pytest.raises(SwarmError, match="cannot read it"):
            ensure_image(client, tmp_path / "missing.tar", reference=f"{REGISTRY}/missing:1", push=fleet.push)
        with pytest.raises(SwarmError, match="names no tag"):
            ensure_image(client, rootfs, reference=f"{REGISTRY}/web", push=fleet.push)
        fleet.stop_registry()
        try:
            with causes("registry-unreachable") as error:
                ensure_image(client, rootfs, reference=f"{REGISTRY}/web:1", push=fleet.push)
            assert re.search("cannot use the registry .*connection refused", error.value.what)
            assert "./lab status" in error.value.fix
        finally:
            fleet.start_registry()
        with pytest.raises(SwarmError, match="cannot use the registry"):
            ensure_image(client, rootfs, reference=f"{fleet.controller.address}:5001/web:1", push=fleet.push)
