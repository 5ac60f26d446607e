"""Images by their digest: what a registry says, and what is done where it says nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
import requests

from labkit.swarm.services import pinned_image
from labkit.swarm.services.pinned_image import pin
from labkit.swarm.services.spec import ServiceSpec

SPEC = ServiceSpec(name="web", image="10.77.0.1:5000/web:1")
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def engine(answer: object) -> Any:
    """A client whose engine says this of every image, or fails so."""
    asked: list[str] = []

    def get(url: str, timeout: float) -> object:
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        return answer

    api = SimpleNamespace(_url=lambda path, image: path.format(image), _get=get, _result=lambda one, json: one)
    return SimpleNamespace(api=api, asked=asked)


def there(image: str) -> dict[str, Any]:
    return {"Spec": {"TaskTemplate": {"ContainerSpec": {"Image": image}}}}


def test_a_tag_is_looked_up() -> None:
    client = engine({"Descriptor": {"digest": NEW}})
    assert pin(client, SPEC, None).image == f"{SPEC.image}@{NEW}"
    assert client.asked == ["/distribution/10.77.0.1:5000/web:1/json"]
    rebuilt = pin(client, SPEC, there(f"{SPEC.image}@{OLD}"))
    assert rebuilt.image == f"{SPEC.image}@{NEW}" and rebuilt.digest != SPEC.digest


def test_a_digest_is_what_it_is() -> None:
    client = engine({"Descriptor": {"digest": NEW}})
    pinned = pin(client, SPEC, None)
    assert pin(client, pinned, None) is pinned and len(client.asked) == 1


@pytest.mark.parametrize(
    "answer", [docker.errors.APIError("manifest unknown"), requests.ConnectionError("refused"), {}, None]
)
def test_a_registry_that_says_nothing_changes_nothing(answer: object) -> None:
    client = engine(answer)
    assert pin(client, SPEC, None) == SPEC
    assert pin(client, SPEC, there(f"{SPEC.image}@{OLD}")).image == f"{SPEC.image}@{OLD}"
    assert pin(client, SPEC, there(SPEC.image)) == SPEC
    assert pin(client, SPEC, there(f"10.77.0.1:5000/web:2@{OLD}")) == SPEC
    assert pinned_image.image_digest(client, SPEC.image) == ""
